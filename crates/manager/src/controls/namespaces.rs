//! Namespaces that are being deleted: woken by everything that still is in them.

use std::sync::{Arc, OnceLock};

use client::{Cache, Key};
use controllers::{
    Plan, Target,
    meta::Meta,
    namespaces::{self, View},
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::namespace;
use crate::{Caches, Controller, Wakes};

pub(super) struct Namespaces;

impl Controller for Namespaces {
    type View = View;

    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let spaces = OnceLock::new();
        spaces.get_or_init(|| wakes.reads::<Namespace>());
        wakes.on_each::<Namespace>();
        wakes.on_all(move |_, old, new| going(&spaces, old.or(new)).into_iter().collect());
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<View> {
        let found = caches.of::<Namespace>().get("", &key.name)?;
        found.metadata.deletion_timestamp.as_ref()?;
        let mut content = Vec::new();
        for (resource, cache) in caches.all().filter(|(resource, _)| resource.namespaced()) {
            let metas = cache.metas_in(&key.name).into_iter();
            content.extend(metas.map(|meta| meta_of(resource, meta)));
        }
        Some(View { namespace: found, content, now })
    }

    fn reconcile(&self, view: &View) -> Plan {
        namespaces::reconcile(view)
    }
}

/// The object's namespace, if it is being deleted.
fn going(spaces: &OnceLock<Cache<Namespace>>, meta: Option<&ObjectMeta>) -> Option<Key> {
    let name = namespace(meta?);
    let space = spaces.get()?.get("", name)?;
    space.metadata.deletion_timestamp.as_ref().map(|_| Key::new("", name))
}

/// An object of this kind, by its metadata.
pub(super) fn meta_of(resource: &'static dyn api::Resource, meta: ObjectMeta) -> Meta {
    let names = resource.names();
    let target = Target {
        group: names.group.to_owned(),
        kind: names.kind.to_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    };
    Meta { target, meta: Arc::new(meta) }
}
