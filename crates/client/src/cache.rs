//! What one watch of a kind has shown so far: ordered, indexed, shared, and honest about its age.
//!
//! A change wakes subscribers with keys and no facts: they look at the cache again. Objects are
//! kept without `managedFields`, and cut down by `trim` to what readers need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::sync::Notify;

use crate::BackOff;

/// Between the first failure of a watch and the next attempt; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A server that is down for long is asked twice a minute.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Which object, or whatever else is worked on by name; orders by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Only where one queue holds keys of several kinds; otherwise empty.
    pub kind: &'static str,
}

impl Key {
    /// An object's key; the namespace is empty for cluster-scoped ones.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), kind: "" }
    }

    /// The key of the object with this metadata.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() { "" } else { " " };
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{}{kind}{}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// An index: its name, and the values under which an object is found.
pub type Index<K> = (&'static str, fn(&K) -> Vec<String>);

/// Which keys an object concerns.
pub type Concerns<K> = Box<dyn Fn(&K) -> Vec<Key> + Send + Sync>;

/// Takes a key to look at again; quick, and never waits.
pub type Wake = Arc<dyn Fn(Key) + Send + Sync>;

/// What a cache must show before whoever wrote decides again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Of the written object; empty for cluster-scoped ones.
    pub namespace: String,
    /// Of the written object.
    pub name: String,
    /// Of the written object; once this uid is gone there is nothing to wait for.
    pub uid: String,
    /// The version the server answered; `u64::MAX` after a deletion: only absence will do.
    pub version: u64,
    /// How many lists the cache had begun when the answer came; filled by [`AnyCache::expect`].
    pub lists: Option<u64>,
}

/// The version of an object as a number; 0 when it has none.
#[must_use]
pub fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().map_or(0, parse_version)
}

pub(crate) fn parse_version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// A cache whose type of object is forgotten.
pub trait AnyCache: Send + Sync {
    /// Whether the first list is complete.
    fn is_synced(&self) -> bool;
    /// Notes when an expectation began, so that a later list also satisfies it.
    fn expect(&self, expectation: &mut Expectation);
    /// Whether the write behind the expectation shows.
    fn shows(&self, expectation: &Expectation) -> bool;
    /// Rings on every change.
    fn changes(&self) -> &Notify;
    /// The metadata of every object, in order.
    fn metas(&self) -> Vec<ObjectMeta>;
    /// The metadata of one object.
    fn meta(&self, key: &Key) -> Option<ObjectMeta>;
    /// Calls `wake` for the keys that `map` gives, before and after each change.
    fn subscribe_meta(&self, map: Concerns<ObjectMeta>, wake: Wake);
}

impl dyn AnyCache + '_ {
    /// Returns when the first list is complete.
    pub async fn synced(&self) {
        self.until(|| self.is_synced()).await;
    }

    /// Returns when the write behind the expectation shows.
    pub async fn seen(&self, expectation: &Expectation) {
        self.until(|| self.shows(expectation)).await;
    }

    async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.changes().notified());
            changed.as_mut().enable();
            if done() {
                return;
            }
            changed.await;
        }
    }
}

/// The objects of one kind; clones are the same cache.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Cache")
            .field("objects", &state.objects.len())
            .field("synced", &state.synced)
            .finish_non_exhaustive()
    }
}

struct Shared<K> {
    state: RwLock<State<K>>,
    subscribers: Mutex<Vec<Subscriber<K>>>,
    indexes: Vec<Index<K>>,
    trim: Option<fn(&mut K)>,
    changed: Notify,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// What the list in progress has shown so far.
    listing: Option<BTreeMap<Key, Arc<K>>>,
    by_owner: BTreeMap<String, BTreeSet<Key>>,
    by_index: Vec<BTreeMap<String, BTreeSet<Key>>>,
    synced: bool,
    /// Lists begun, and which of them ended last.
    lists_begun: u64,
    last_list: u64,
    /// The highest version that an event has shown.
    highest: u64,
}

struct Subscriber<K> {
    map: Concerns<K>,
    wake: Wake,
}

/// An object before and after one change.
type Change<K> = (Option<Arc<K>>, Option<Arc<K>>);

impl<K> Cache<K>
where
    K: kube::Resource + Send + Sync + 'static,
{
    /// An empty cache with these indexes; `trim` drops from each object what no reader needs.
    #[must_use]
    pub fn new(indexes: Vec<Index<K>>, trim: Option<fn(&mut K)>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            listing: None,
            by_owner: BTreeMap::new(),
            by_index: indexes.iter().map(|_| BTreeMap::new()).collect(),
            synced: false,
            lists_begun: 0,
            last_list: 0,
            highest: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(state),
                subscribers: Mutex::new(Vec::new()),
                indexes,
                trim,
                changed: Notify::new(),
            }),
        }
    }

    /// The object, if it exists.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read(|state| state.objects.get(&Key::new(namespace, name)).cloned())
    }

    /// All objects, ordered by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read(|state| state.objects.values().cloned().collect())
    }

    /// The objects of one namespace, ordered by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read(|state| {
            let from = Key::new(namespace, "");
            let same = |(key, _): &(&Key, &Arc<K>)| key.namespace == namespace;
            state.objects.range(from..).take_while(same).map(|(_, o)| Arc::clone(o)).collect()
        })
    }

    /// The objects that name `uid` among their owners, ordered.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.read(|state| state.pick(state.by_owner.get(uid)))
    }

    /// The objects found under `value` in the index of this name; none when there is no such index.
    #[must_use]
    pub fn by(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        let at = self.shared.indexes.iter().position(|(name, _)| *name == index);
        self.read(|state| state.pick(at.and_then(|at| state.by_index[at].get(value))))
    }

    /// Calls `wake` for each key that `map` gives, for the object before and after each change.
    ///
    /// `map` and `wake` run on the watch's task: they must be quick and must not wait.
    pub fn subscribe(&self, map: impl Fn(&K) -> Vec<Key> + Send + Sync + 'static, wake: Wake) {
        let subscriber = Subscriber { map: Box::new(map), wake };
        self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }

    /// Follows a watch for as long as it is polled; errors are retried with back-off.
    ///
    /// The stream is kube's [`watcher`], which lists, watches, resumes and lists anew after 410.
    pub async fn follow(
        &self,
        what: &str,
        seed: u64,
        stream: impl Stream<Item = watcher::Result<Event<K>>>,
    ) {
        let mut stream = pin!(stream);
        let mut back_off = BackOff::new(FIRST_RETRY, LAST_RETRY, seed);
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, Event::Init) {
                        back_off.succeeded();
                    }
                    self.apply(event);
                }
                Err(error) => {
                    let wait = back_off.failed();
                    tracing::warn!(what, error = %chain(&error), ?wait, "the watch failed");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Takes one event in and wakes who asked for it.
    pub fn apply(&self, event: Event<K>) {
        let changes = {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            self.change(&mut state, event)
        };
        if changes.is_empty() {
            self.shared.changed.notify_waiters();
            return;
        }
        let mut wakes: Vec<(Wake, BTreeSet<Key>)> = Vec::new();
        for subscriber in
            self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let objects = changes.iter().flat_map(|(old, new)| old.iter().chain(new.iter()));
            let keys = objects.flat_map(|object| (subscriber.map)(object)).collect();
            wakes.push((Arc::clone(&subscriber.wake), keys));
        }
        for (wake, keys) in wakes {
            keys.into_iter().for_each(|key| wake(key));
        }
        self.shared.changed.notify_waiters();
    }

    fn change(&self, state: &mut State<K>, event: Event<K>) -> Vec<Change<K>> {
        match event {
            Event::Init => {
                state.lists_begun += 1;
                state.listing = Some(BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let object = self.trimmed(object);
                state.highest = state.highest.max(version_of(object.meta()));
                if let Some(listing) = &mut state.listing {
                    listing.insert(Key::of(object.meta()), object);
                }
                Vec::new()
            }
            Event::InitDone => {
                let listing = state.listing.take().unwrap_or_default();
                state.synced = true;
                state.last_list = state.lists_begun;
                self.replace(state, listing)
            }
            Event::Apply(object) => {
                let object = self.trimmed(object);
                state.highest = state.highest.max(version_of(object.meta()));
                let key = Key::of(object.meta());
                self.put(state, key, Some(object)).into_iter().collect()
            }
            Event::Delete(object) => {
                state.highest = state.highest.max(version_of(object.meta()));
                let key = Key::of(object.meta());
                self.put(state, key, None).into_iter().collect()
            }
        }
    }

    fn replace(&self, state: &mut State<K>, listing: BTreeMap<Key, Arc<K>>) -> Vec<Change<K>> {
        let gone: Vec<Key> =
            state.objects.keys().filter(|key| !listing.contains_key(key)).cloned().collect();
        let mut changes: Vec<Change<K>> =
            gone.into_iter().filter_map(|key| self.put(state, key, None)).collect();
        for (key, object) in listing {
            changes.extend(self.put(state, key, Some(object)));
        }
        changes
    }

    /// Puts or removes one object with its index entries; `None` when nothing changed.
    fn put(&self, state: &mut State<K>, key: Key, new: Option<Arc<K>>) -> Option<Change<K>> {
        let old = state.objects.get(&key).cloned();
        if let (Some(old), Some(new)) = (&old, &new)
            && old.meta().uid == new.meta().uid
            && old.meta().resource_version == new.meta().resource_version
        {
            return None;
        }
        if let Some(old) = &old {
            self.index(state, &key, old, false);
        }
        match &new {
            Some(new) => {
                self.index(state, &key, new, true);
                state.objects.insert(key, Arc::clone(new));
            }
            None => {
                state.objects.remove(&key);
            }
        }
        (old.is_some() || new.is_some()).then_some((old, new))
    }

    fn index(&self, state: &mut State<K>, key: &Key, object: &K, add: bool) {
        let owners = object.meta().owner_references.iter().flatten();
        for owner in owners {
            enter(&mut state.by_owner, owner.uid.clone(), key, add);
        }
        for ((_, values), index) in self.shared.indexes.iter().zip(&mut state.by_index) {
            for value in values(object) {
                enter(index, value, key, add);
            }
        }
    }

    fn trimmed(&self, mut object: K) -> Arc<K> {
        object.meta_mut().managed_fields = None;
        if let Some(trim) = self.shared.trim {
            trim(&mut object);
        }
        Arc::new(object)
    }

    fn read<R>(&self, read: impl FnOnce(&State<K>) -> R) -> R {
        read(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K> State<K> {
    fn pick(&self, keys: Option<&BTreeSet<Key>>) -> Vec<Arc<K>> {
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key).cloned()).collect()
    }
}

fn enter(index: &mut BTreeMap<String, BTreeSet<Key>>, value: String, key: &Key, add: bool) {
    if add {
        index.entry(value).or_default().insert(key.clone());
    } else if let Some(keys) = index.get_mut(&value) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(&value);
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl<K> AnyCache for Cache<K>
where
    K: kube::Resource + Send + Sync + 'static,
{
    fn is_synced(&self) -> bool {
        self.read(|state| state.synced)
    }

    fn expect(&self, expectation: &mut Expectation) {
        expectation.lists = Some(self.read(|state| state.lists_begun));
    }

    fn shows(&self, wanted: &Expectation) -> bool {
        self.read(|state| {
            if wanted.lists.is_some_and(|begun| state.last_list > begun) {
                return true;
            }
            match state.objects.get(&Key::new(&wanted.namespace, &wanted.name)) {
                Some(object) if object.meta().uid.as_deref() == Some(&wanted.uid) => {
                    version_of(object.meta()) >= wanted.version
                }
                // A namesake came later than the one we deleted or wrote, or is the older one
                // that our new object replaced: the highest version tells.
                Some(_) | None if wanted.version == u64::MAX => true,
                Some(_) | None => state.highest >= wanted.version,
            }
        })
    }

    fn changes(&self) -> &Notify {
        &self.shared.changed
    }

    fn metas(&self) -> Vec<ObjectMeta> {
        self.read(|state| state.objects.values().map(|object| object.meta().clone()).collect())
    }

    fn meta(&self, key: &Key) -> Option<ObjectMeta> {
        self.get(&key.namespace, &key.name).map(|object| object.meta().clone())
    }

    fn subscribe_meta(&self, map: Concerns<ObjectMeta>, wake: Wake) {
        self.subscribe(move |object| map(object.meta()), wake);
    }
}

#[cfg(test)]
mod tests;
