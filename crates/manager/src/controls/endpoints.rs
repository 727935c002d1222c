//! Endpoints and EndpointSlices of Services: one decision, written by two callers as upstream's.

use std::sync::{Arc, OnceLock};

use api::selector::Labels;
use client::{Cache, Key};
use controllers::{
    Plan, Verb,
    endpoints::{self, View},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Endpoints as LegacyEndpoints, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{name, namespace};
use crate::{Caches, Controller, Wakes};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SLICES: &str = "endpointslice-controller";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Index of slices: namespace and Service.
const OF_SERVICE: &str = "of-service";

/// One of the two callers; each carries out its own kind's part of the plan.
pub(super) struct Endpoints {
    name: &'static str,
    kind: &'static str,
    services: OnceLock<Cache<Service>>,
}

impl Endpoints {
    pub(super) fn slices() -> Self {
        Self { name: SLICES, kind: "EndpointSlice", services: OnceLock::new() }
    }

    pub(super) fn legacy() -> Self {
        Self { name: "endpoint-controller", kind: "Endpoints", services: OnceLock::new() }
    }

    fn selecting(&self, pod: &Pod) -> Vec<Key> {
        let Some(services) = self.services.get() else { return Vec::new() };
        let all = services.in_namespace(namespace(&pod.metadata));
        let selecting = all.iter().filter(|service| selects(service, &pod.metadata));
        selecting.map(|service| Key::of(&service.metadata)).collect()
    }

    fn every_service(&self) -> Vec<Key> {
        let all = self.services.get().map(Cache::list).unwrap_or_default();
        all.iter().map(|service| Key::of(&service.metadata)).collect()
    }
}

impl Controller for Endpoints {
    type View = View;

    fn name(&self) -> &'static str {
        self.name
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let services = wakes.reads::<Service>();
        self.services.get_or_init(|| services);
        wakes.on_each::<Service>();
        let me = Arc::clone(self);
        wakes.on::<Pod>(move |pod| me.selecting(pod));
        let me = Arc::clone(self);
        wakes.on_change::<Node>(move |old, new| {
            let changed = old.and_then(|node| zone(node)) != new.and_then(|node| zone(node));
            if changed { me.every_service() } else { Vec::new() }
        });
        wakes.reads_by::<EndpointSlice>((OF_SERVICE, |slice| {
            service_of(slice).map(|key| key.to_string()).into_iter().collect()
        }));
        wakes.reads::<LegacyEndpoints>();
        if self.kind == "Endpoints" {
            wakes.on_each::<LegacyEndpoints>();
        } else {
            wakes.on::<EndpointSlice>(|slice| service_of(slice).into_iter().collect());
        }
    }

    fn view(&self, key: &Key, caches: &Caches, _now: Timestamp) -> Option<View> {
        let service = caches.of::<Service>().get(&key.namespace, &key.name);
        let pods = match &service {
            Some(service) => caches
                .of::<Pod>()
                .in_namespace(&key.namespace)
                .into_iter()
                .filter(|pod| selects(service, &pod.metadata))
                .collect(),
            None => Vec::new(),
        };
        let nodes = caches.of::<Node>().list();
        let zones = nodes
            .iter()
            .filter_map(|node| Some((name(&node.metadata).to_owned(), zone(node)?.to_owned())));
        Some(View {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            service,
            pods,
            slices: caches.of::<EndpointSlice>().by(OF_SERVICE, &key.to_string()),
            endpoints: caches.of::<LegacyEndpoints>().get(&key.namespace, &key.name),
            zones: zones.collect(),
        })
    }

    fn reconcile(&self, view: &View) -> Plan {
        let mut plan = endpoints::reconcile(view);
        plan.actions.retain(|action| match &action.verb {
            Verb::Create(object) | Verb::Update { object, .. } => object.kind() == self.kind,
            Verb::Patch { target, .. }
            | Verb::Delete { target, .. }
            | Verb::Bind { target, .. }
            | Verb::Confirm(target)
            | Verb::ConfirmGone(target) => target.kind == self.kind,
            Verb::Note => true,
        });
        plan
    }
}

fn selects(service: &Service, meta: &ObjectMeta) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
    let Some(labels) = selector.filter(|labels| !labels.is_empty()) else { return false };
    let selector = LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    Labels::from_object(Some(&selector)).is_ok_and(|s| s.matches(meta.labels.as_ref()))
}

fn zone(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(ZONE).map(String::as_str)
}

/// The Service of a slice that this controller manages.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by.starts_with(SLICES));
    let service = labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(Key::new(namespace(&slice.metadata), service))
}
