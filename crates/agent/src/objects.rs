//! ConfigMaps and Secrets that pods of this node name, each watched by its own name only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use client::{AnyCache, Cache};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::AbortHandle};

/// Watched objects of one kind.
pub(crate) struct Objects<K> {
    client: kube::Client,
    entries: Mutex<BTreeMap<(String, String), Entry<K>>>,
}

struct Entry<K> {
    cache: Cache<K>,
    users: Arc<Mutex<BTreeMap<String, Arc<Notify>>>>,
    task: AbortHandle,
}

impl<K> Objects<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync,
    K: 'static,
    <K as Resource>::DynamicType: Default,
{
    pub(crate) fn new(client: kube::Client) -> Objects<K> {
        Objects { client, entries: Mutex::default() }
    }

    /// The pod `uid` uses exactly `names`; `wake` rings when one of them changes. Returns when
    /// all of them have been read once.
    pub(crate) async fn want(
        &self,
        uid: &str,
        namespace: &str,
        names: &BTreeSet<String>,
        wake: &Arc<Notify>,
    ) {
        let caches: Vec<Cache<K>> = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            drop_user(&mut entries, uid, |(at, name)| at == namespace && names.contains(name));
            names
                .iter()
                .map(|name| {
                    let key = (namespace.to_owned(), name.clone());
                    let entry =
                        entries.entry(key).or_insert_with(|| watch(&self.client, namespace, name));
                    let mut users = entry.users.lock().unwrap_or_else(PoisonError::into_inner);
                    users.insert(uid.to_owned(), Arc::clone(wake));
                    entry.cache.clone()
                })
                .collect()
        };
        for cache in caches {
            (&cache as &dyn AnyCache).synced().await;
        }
    }

    /// The pod `uid` uses none any more.
    pub(crate) fn release(&self, uid: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        drop_user(&mut entries, uid, |_| false);
    }

    /// The object as last seen, if it exists.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(&(namespace.to_owned(), name.to_owned()))
            .and_then(|entry| entry.cache.get(namespace, name))
    }
}

/// Takes `uid` off all entries but those to keep; an entry without users ends its watch.
fn drop_user<K>(
    entries: &mut BTreeMap<(String, String), Entry<K>>,
    uid: &str,
    keep: impl Fn(&(String, String)) -> bool,
) {
    entries.retain(|key, entry| {
        let mut users = entry.users.lock().unwrap_or_else(PoisonError::into_inner);
        if !keep(key) {
            users.remove(uid);
        }
        let used = !users.is_empty();
        if !used {
            entry.task.abort();
        }
        used
    });
}

fn watch<K>(client: &kube::Client, namespace: &str, name: &str) -> Entry<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync,
    K: 'static,
    <K as Resource>::DynamicType: Default,
{
    let cache: Cache<K> = Cache::new(None);
    let users: Arc<Mutex<BTreeMap<String, Arc<Notify>>>> = Arc::default();
    let ring = Arc::clone(&users);
    cache.subscribe(
        |old, new| old.or(new).map(|object| client::Key::of(object.meta())).into_iter().collect(),
        Arc::new(move |_| {
            for wake in ring.lock().unwrap_or_else(PoisonError::into_inner).values() {
                wake.notify_one();
            }
        }),
    );
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let follower = cache.clone();
    let what = format!("{} {namespace}/{name}", K::kind(&K::DynamicType::default()));
    let task = tokio::spawn(async move {
        follower.follow(&what, seed(&what), watcher(api, config)).await;
    });
    Entry { cache, users, task: task.abort_handle() }
}

/// A number of the name, so that watches of many objects do not retry all at once.
fn seed(what: &str) -> u64 {
    what.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
