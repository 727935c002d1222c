//! What every namespace has, written by the two callers that upstream knows.

use std::sync::Arc;

use client::Key;
use controllers::{
    Plan, Verb,
    serviceaccounts::{self, View},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};

use super::namespace;
use crate::{Caches, Controller, Wakes};

const ROOT_CA: &str = "kube-root-ca.crt";

pub(super) struct Defaults {
    name: &'static str,
    kind: &'static str,
    ca_pem: Arc<str>,
}

impl Defaults {
    pub(super) fn accounts(ca_pem: &Arc<str>) -> Self {
        let ca_pem = Arc::clone(ca_pem);
        Self { name: "service-account-controller", kind: "ServiceAccount", ca_pem }
    }

    pub(super) fn certificates(ca_pem: &Arc<str>) -> Self {
        let ca_pem = Arc::clone(ca_pem);
        Self { name: "root-ca-cert-publisher", kind: "ConfigMap", ca_pem }
    }
}

impl Controller for Defaults {
    type View = View;

    fn name(&self) -> &'static str {
        self.name
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        wakes.on_each::<Namespace>();
        wakes.reads::<ServiceAccount>();
        wakes.reads::<ConfigMap>();
        if self.kind == "ServiceAccount" {
            wakes.on::<ServiceAccount>(|account| {
                let ours = account.metadata.name.as_deref() == Some("default");
                let space = Key::new("", namespace(&account.metadata));
                ours.then_some(space).into_iter().collect()
            });
        } else {
            wakes.on::<ConfigMap>(|map| {
                let ours = map.metadata.name.as_deref() == Some(ROOT_CA);
                let space = Key::new("", namespace(&map.metadata));
                ours.then_some(space).into_iter().collect()
            });
        }
    }

    fn view(&self, key: &Key, caches: &Caches, _now: Timestamp) -> Option<View> {
        Some(View {
            namespace: caches.of::<Namespace>().get("", &key.name)?,
            default_account: caches.of::<ServiceAccount>().get(&key.name, "default"),
            root_ca: caches.of::<ConfigMap>().get(&key.name, ROOT_CA),
            ca_pem: Arc::clone(&self.ca_pem),
        })
    }

    fn reconcile(&self, view: &View) -> Plan {
        let mut plan = serviceaccounts::reconcile(view);
        plan.actions.retain(|action| match &action.verb {
            Verb::Create(object) | Verb::Update { object, .. } => object.kind() == self.kind,
            _ => true,
        });
        plan
    }
}
