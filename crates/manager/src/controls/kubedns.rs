//! The Service `kube-dns` and the slice behind it.

use std::sync::Arc;

use client::Key;
use controllers::{
    Plan,
    kubedns::{self, View},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{Caches, Controller, Wakes, start::Dns};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";

pub(super) struct KubeDns {
    pub(super) dns: Dns,
}

impl Controller for KubeDns {
    type View = View;

    fn name(&self) -> &'static str {
        "kube-dns-publisher"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        wakes.on::<Service>(|service| ours(&service.metadata));
        wakes.on::<EndpointSlice>(|slice| ours(&slice.metadata));
        wakes.at_start(Key::new(NAMESPACE, NAME));
    }

    fn view(&self, _key: &Key, caches: &Caches, _now: Timestamp) -> Option<View> {
        let Dns { cluster_ip, server, port } = self.dns;
        Some(View {
            service: caches.of::<Service>().get(NAMESPACE, NAME),
            slice: caches.of::<EndpointSlice>().get(NAMESPACE, NAME),
            cluster_ip,
            server,
            port,
        })
    }

    fn reconcile(&self, view: &View) -> Plan {
        kubedns::reconcile(view)
    }
}

fn ours(meta: &ObjectMeta) -> Vec<Key> {
    let ours = meta.namespace.as_deref() == Some(NAMESPACE) && meta.name.as_deref() == Some(NAME);
    ours.then(|| Key::new(NAMESPACE, NAME)).into_iter().collect()
}
