//! The watch of one namespace, for a kind that only its table entry knows to live in one.
//!
//! kube lets a namespace be named for types whose scope it knows when they are compiled; ours are
//! generic over kinds of every scope.

use std::borrow::Cow;

use futures::{Stream, StreamExt as _};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::{Deserialize, de::DeserializeOwned};

/// `K`, said to live in a namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct Namespaced<K>(K);

impl<K: Resource<DynamicType = ()>> Resource for Namespaced<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// kube's [`watcher`] over the objects of one namespace; `K` must live in namespaces.
pub fn within<K>(
    client: kube::Client,
    namespace: &str,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api = Api::<Namespaced<K>>::namespaced(client, namespace);
    watcher(api, config).map(|event| {
        event.map(|event| match event {
            Event::Apply(object) => Event::Apply(object.0),
            Event::Delete(object) => Event::Delete(object.0),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(object.0),
            Event::InitDone => Event::InitDone,
        })
    })
}
