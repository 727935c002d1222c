//! One cache a kind for all controllers, and who is woken by it.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
};

use api::{Resource, object::Typed, resource};
use client::{AnyCache, Cache, Index, Key, Wake, kube};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    api::{Api, ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::watcher,
};

/// Every kind's cache, of those that some controller reads.
#[derive(Default)]
pub struct Caches {
    typed: BTreeMap<TypeId, Box<dyn Any + Send + Sync>>,
    named: BTreeMap<(&'static str, &'static str), Followed>,
}

struct Followed {
    resource: &'static dyn Resource,
    cache: Arc<dyn AnyCache>,
    follow: Follow,
}

type Follow = Box<
    dyn Fn(kube::Client, u64, &Scope) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync,
>;

/// How caches get the objects that are there when they begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lists {
    /// In the watch itself: cheaper, and never older than what was written before.
    #[default]
    Streamed,
    /// In pages of a list, which servers of every version have.
    Paged,
}

/// What of a cluster is watched, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) lists: Lists,
    /// Only this namespace, of kinds that live in one.
    pub(crate) namespace: Option<String>,
}

impl Scope {
    fn watcher(&self) -> watcher::Config {
        match self.lists {
            Lists::Streamed => watcher::Config::default().streaming_lists(),
            Lists::Paged => watcher::Config::default(),
        }
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named.keys()).finish()
    }
}

impl Caches {
    /// The cache of a kind that the caller has registered with [`Wakes`].
    ///
    /// # Panics
    ///
    /// When it was not registered: a programmer's mistake that any first use shows.
    #[must_use]
    pub fn of<K>(&self) -> &Cache<K>
    where
        K: kube::Resource + Send + Sync + 'static,
    {
        let found = self.typed.get(&TypeId::of::<K>()).and_then(|cache| cache.downcast_ref());
        found.unwrap_or_else(|| panic!("{} is not read", std::any::type_name::<K>()))
    }

    /// The cache of the kind of this group, if it is read.
    #[must_use]
    pub fn named(&self, group: &str, kind: &str) -> Option<&Arc<dyn AnyCache>> {
        let found = self.named.iter().find(|((g, k), _)| *g == group && *k == kind);
        found.map(|(_, followed)| &followed.cache)
    }

    /// Every kind that is read, with its cache, ordered by group and kind.
    pub fn all(&self) -> impl Iterator<Item = (&'static dyn Resource, &Arc<dyn AnyCache>)> {
        self.named.values().map(|followed| (followed.resource, &followed.cache))
    }

    /// One watch for each cache; they end when dropped.
    pub(crate) fn follow(
        &self,
        client: &kube::Client,
        seed: u64,
        scope: &Scope,
    ) -> Vec<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let watches = self.named.values().zip(seed..);
        watches.map(|(followed, seed)| (followed.follow)(client.clone(), seed, scope)).collect()
    }

    fn add<K>(&mut self) -> Cache<K>
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        if let Some(cache) = self.typed.get(&TypeId::of::<K>()).and_then(|c| c.downcast_ref()) {
            return Cache::clone(cache);
        }
        let cache = Cache::<K>::new(None);
        let resource = resource::of::<K>();
        let names = resource.names();
        let follow: Follow = {
            let cache = cache.clone();
            Box::new(move |client, seed, scope| {
                let (cache, config) = (cache.clone(), scope.watcher());
                match scope.namespace.as_deref().filter(|_| resource.namespaced()) {
                    Some(namespace) => {
                        let stream = client::within::<K>(client, namespace, config);
                        Box::pin(async move { cache.follow(names.plural, seed, stream).await })
                    }
                    None => {
                        let stream = watcher(Api::<K>::all(client), config);
                        Box::pin(async move { cache.follow(names.plural, seed, stream).await })
                    }
                }
            })
        };
        let any: Arc<dyn AnyCache> = Arc::new(cache.clone());
        self.named.insert((names.group, names.kind), Followed { resource, cache: any, follow });
        self.typed.insert(TypeId::of::<K>(), Box::new(cache.clone()));
        cache
    }

    /// Every kind that can be watched, by metadata where no one reads more.
    pub(crate) fn add_all(&mut self) {
        for &resource in resource::all() {
            let names = resource.names();
            let watched = resource.alias().is_none() && resource.verbs().contains(&"watch");
            if !watched || self.named.contains_key(&(names.group, names.kind)) {
                continue;
            }
            let cache = Cache::<DynamicObject>::new(Some(|object| object.data = ().into()));
            let kind = GroupVersionKind::gvk(names.group, names.version, names.kind);
            let kind = ApiResource::from_gvk_with_plural(&kind, names.plural);
            let follow: Follow = {
                let cache = cache.clone();
                Box::new(move |client, seed, scope| {
                    let cache = cache.clone();
                    let all = match scope.namespace.as_deref().filter(|_| resource.namespaced()) {
                        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
                        None => Api::<DynamicObject>::all_with(client, &kind),
                    };
                    let stream = watcher(all, scope.watcher());
                    Box::pin(async move { cache.follow(names.plural, seed, stream).await })
                })
            };
            let cache: Arc<dyn AnyCache> = Arc::new(cache);
            self.named.insert((names.group, names.kind), Followed { resource, cache, follow });
        }
    }
}

/// Which keys a change of metadata concerns, in a cache of whatever kind.
pub(crate) type AnyConcerns = Arc<
    dyn Fn(&'static dyn Resource, Option<&ObjectMeta>, Option<&ObjectMeta>) -> Vec<Key>
        + Send
        + Sync,
>;

/// Where a controller says what it reads and what wakes it.
pub struct Wakes<'a> {
    pub(crate) caches: &'a mut Caches,
    pub(crate) wake: Wake,
    /// Subscriptions to all kinds, made once all kinds are known.
    pub(crate) to_all: &'a mut Vec<(AnyConcerns, Wake)>,
    /// Called once all kinds are known.
    pub(crate) then: &'a mut Vec<Then>,
}

/// Learns which caches there are.
pub(crate) type Then = Box<dyn FnOnce(&Caches)>;

impl fmt::Debug for Wakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakes").field("caches", &self.caches).finish_non_exhaustive()
    }
}

impl Wakes<'_> {
    /// Reads this kind, without being woken by it.
    pub fn reads<K>(&mut self) -> Cache<K>
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        self.caches.add()
    }

    /// Reads this kind, with one more index.
    pub fn reads_by<K>(&mut self, index: Index<K>) -> Cache<K>
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        let cache = self.caches.add();
        cache.add_index(index);
        cache
    }

    /// Reads this kind where the API serves it, and goes on without where it does not.
    ///
    /// The kind's cache is then empty; it fills when the API serves the kind later.
    pub fn reads_if_served<K>(&mut self) -> Cache<K>
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        let cache = self.caches.add();
        cache.may_be_absent();
        cache
    }

    /// Is woken for the keys that `map` gives for an object, before and after each change.
    pub fn on<K>(&mut self, map: impl Fn(&K) -> Vec<Key> + Send + Sync + 'static)
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        self.on_change::<K>(move |old, new| {
            old.into_iter().chain(new).flat_map(|object| map(object)).collect()
        });
    }

    /// Is woken for the object's own key.
    pub fn on_each<K>(&mut self)
    where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        self.on::<K>(|object| vec![Key::of(object.metadata())]);
    }

    /// Is woken for the keys that `map` gives for a change, from the object before and after it.
    pub fn on_change<K>(
        &mut self,
        map: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) -> Vec<Key> + Send + Sync + 'static,
    ) where
        K: kube::Resource<DynamicType = ()> + Typed,
    {
        self.caches.add::<K>().subscribe(map, Arc::clone(&self.wake));
    }

    /// Is woken by changes of metadata of every kind.
    pub fn on_all(
        &mut self,
        map: impl Fn(&'static dyn Resource, Option<&ObjectMeta>, Option<&ObjectMeta>) -> Vec<Key>
        + Send
        + Sync
        + 'static,
    ) {
        self.to_all.push((Arc::new(map), Arc::clone(&self.wake)));
    }

    /// Is woken for this key when everything starts, whether or not there is such an object.
    pub fn at_start(&mut self, key: Key) {
        (self.wake)(key);
    }

    /// Calls back once it is known which kinds are read.
    pub fn then(&mut self, learn: impl FnOnce(&Caches) + 'static) {
        self.then.push(Box::new(learn));
    }
}

/// Makes the subscriptions to all kinds, once all controllers have said what they read.
pub(crate) fn subscribe_all(
    caches: &mut Caches,
    to_all: Vec<(AnyConcerns, Wake)>,
    then: Vec<Then>,
) {
    if !to_all.is_empty() {
        caches.add_all();
    }
    for learn in then {
        learn(caches);
    }
    for (map, wake) in to_all {
        for (resource, cache) in caches.all() {
            let map = Arc::clone(&map);
            let map = Box::new(move |old: Option<&ObjectMeta>, new: Option<&ObjectMeta>| {
                map(resource, old, new)
            });
            cache.subscribe_meta(map, Arc::clone(&wake));
        }
    }
}
