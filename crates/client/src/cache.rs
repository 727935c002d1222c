//! What one watch of a kind has shown so far: ordered, indexed, shared, and honest about its age.
//!
//! A change wakes subscribers with keys and no facts: they look at the cache again. Objects are
//! kept without `managedFields`, and cut down by `trim` to what readers need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::sync::{Notify, oneshot};

use self::{
    fault::{chain, is_absent},
    index::Values,
    waiting::Waiting,
};
use crate::{
    BackOff,
    key::{Concerns, Expectation, Index, Key, Wake, version_of},
};

/// Between the first failure of a watch and the next attempt; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A server that is down for long is asked twice a minute, and so is one that lacks a kind.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A cache whose type of object is forgotten.
pub trait AnyCache: Send + Sync {
    /// Whether the first list is complete.
    fn is_synced(&self) -> bool;
    /// Notes when an expectation began, so that a later list also satisfies it.
    fn expect(&self, expectation: &mut Expectation);
    /// Whether the write behind the expectation shows.
    fn shows(&self, expectation: &Expectation) -> bool;
    /// `None` once the write behind the expectation shows; else ends when it is worth another look.
    fn look_later(&self, expectation: &Expectation) -> Option<oneshot::Receiver<()>>;
    /// Rings on every change.
    fn changes(&self) -> &Notify;
    /// The metadata of every object, in order.
    fn metas(&self) -> Vec<ObjectMeta>;
    /// The metadata of every object in a namespace, in order.
    fn metas_in(&self, namespace: &str) -> Vec<ObjectMeta>;
    /// The metadata of every object that names `uid` among its owners, in order.
    fn metas_owned_by(&self, uid: &str) -> Vec<ObjectMeta>;
    /// The metadata of one object.
    fn meta(&self, key: &Key) -> Option<ObjectMeta>;
    /// Calls `wake` for the keys that `map` gives for each change.
    fn subscribe_meta(&self, map: Concerns<ObjectMeta>, wake: Wake);
}

impl dyn AnyCache + '_ {
    /// Returns when the first list is complete.
    pub async fn synced(&self) {
        loop {
            let mut changed = pin!(self.changes().notified());
            changed.as_mut().enable();
            if self.is_synced() {
                return;
            }
            changed.await;
        }
    }

    /// Returns when the write behind the expectation shows.
    pub async fn seen(&self, expectation: &Expectation) {
        while let Some(later) = self.look_later(expectation) {
            // Its end says all: nothing is sent.
            drop(later.await);
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
    trim: Option<fn(&mut K)>,
    /// Whether a server that does not know the kind is as good as one without objects of it.
    may_be_absent: AtomicBool,
    changed: Notify,
    waiting: Mutex<Waiting>,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// What the list in progress has shown so far.
    listing: Option<BTreeMap<Key, Arc<K>>>,
    by_owner: Values<K>,
    by_index: Vec<(Index<K>, Values<K>)>,
    synced: bool,
    /// Lists begun, and which of them ended last.
    lists_begun: u64,
    last_list: u64,
    /// The highest version that an event has shown.
    highest: u64,
}

struct Subscriber<K> {
    map: Concerns<Arc<K>>,
    wake: Wake,
}

/// An object before and after one change.
type Change<K> = (Option<Arc<K>>, Option<Arc<K>>);

impl<K> Cache<K>
where
    K: kube::Resource + Send + Sync + 'static,
{
    /// An empty cache; `trim` drops from each object what no reader needs.
    #[must_use]
    pub fn new(trim: Option<fn(&mut K)>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            listing: None,
            by_owner: Values::default(),
            by_index: Vec::new(),
            synced: false,
            lists_begun: 0,
            last_list: 0,
            highest: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(state),
                subscribers: Mutex::new(Vec::new()),
                trim,
                may_be_absent: AtomicBool::new(false),
                changed: Notify::new(),
                waiting: Mutex::default(),
            }),
        }
    }

    /// Keeps one more index; a second one of the same name changes nothing.
    pub fn add_index(&self, index: Index<K>) {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.by_index.iter().any(|((name, _), _)| *name == index.0) {
            return;
        }
        let mut values = Values::default();
        for (key, object) in &state.objects {
            for value in index.1(object) {
                values.enter(&value, key, object);
            }
        }
        state.by_index.push((index, values));
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

    /// The objects of one namespace whose names begin with `prefix`, ordered by name.
    #[must_use]
    pub fn named_like(&self, namespace: &str, prefix: &str) -> Vec<Arc<K>> {
        self.read(|state| {
            let from = Key::new(namespace, prefix);
            let same = |(key, _): &(&Key, &Arc<K>)| {
                key.namespace == namespace && key.name.starts_with(prefix)
            };
            state.objects.range(from..).take_while(same).map(|(_, o)| Arc::clone(o)).collect()
        })
    }

    /// The objects that name `uid` among their owners, ordered.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.read(|state| state.by_owner.under(uid))
    }

    /// The objects found under `value` in the index of this name; none when there is no such index.
    #[must_use]
    pub fn by(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        self.read(|state| {
            let found = state.by_index.iter().find(|((name, _), _)| *name == index);
            found.map(|(_, values)| values.under(value)).unwrap_or_default()
        })
    }

    /// Calls `wake` for each key that `map` gives for a change, from the object before and after.
    ///
    /// `map` and `wake` run on the watch's task, in the order of changes: they must be quick and
    /// must not wait.
    pub fn subscribe(
        &self,
        map: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) -> Vec<Key> + Send + Sync + 'static,
        wake: Wake,
    ) {
        let subscriber = Subscriber { map: Box::new(map), wake };
        self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }

    /// A server that does not serve this kind (404) has no objects of it, and may serve it later:
    /// the cache is empty and synced then, and the server is asked again twice a minute.
    pub fn may_be_absent(&self) {
        self.shared.may_be_absent.store(true, Ordering::Relaxed);
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
        let mut absent = false;
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, Event::Init) {
                        back_off.succeeded();
                        if std::mem::take(&mut absent) {
                            tracing::info!(what, "the API serves this kind now");
                        }
                    }
                    self.apply(event);
                }
                Err(error)
                    if is_absent(&error) && self.shared.may_be_absent.load(Ordering::Relaxed) =>
                {
                    if !std::mem::replace(&mut absent, true) {
                        tracing::info!(what, "the API does not serve this kind; going on without");
                    }
                    self.apply(Event::Init);
                    self.apply(Event::InitDone);
                    tokio::time::sleep(LAST_RETRY).await;
                }
                // The client's own end: nothing will ever come of it again.
                Err(error) if is_closed(&error) => {
                    return tracing::debug!(what, "the watch ended with its client");
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
        let key = match &event {
            Event::Apply(object) | Event::Delete(object) => Some(Key::of(object.meta())),
            Event::InitDone => None,
            Event::Init | Event::InitApply(_) => {
                let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
                self.change(&mut state, event);
                return;
            }
        };
        let (changes, highest) = {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            (self.change(&mut state, event), state.highest)
        };
        self.wake(&changes);
        self.shared.changed.notify_waiters();
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match key {
            Some(key) => waiting.ring(&key, highest),
            None => waiting.ring_all(),
        }
    }

    fn wake(&self, changes: &[Change<K>]) {
        if changes.is_empty() {
            return;
        }
        let mut wakes: Vec<(Wake, BTreeSet<Key>)> = Vec::new();
        for subscriber in
            self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let keys = changes.iter();
            let keys = keys.flat_map(|(old, new)| (subscriber.map)(old.as_ref(), new.as_ref()));
            let keys = keys.collect();
            wakes.push((Arc::clone(&subscriber.wake), keys));
        }
        for (wake, keys) in wakes {
            keys.into_iter().for_each(|key| wake(key));
        }
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
                Self::replace(state, listing)
            }
            Event::Apply(object) => {
                let object = self.trimmed(object);
                state.highest = state.highest.max(version_of(object.meta()));
                let key = Key::of(object.meta());
                Self::put(state, key, Some(object)).into_iter().collect()
            }
            Event::Delete(object) => {
                state.highest = state.highest.max(version_of(object.meta()));
                let key = Key::of(object.meta());
                Self::put(state, key, None).into_iter().collect()
            }
        }
    }

    fn replace(state: &mut State<K>, listing: BTreeMap<Key, Arc<K>>) -> Vec<Change<K>> {
        let gone: Vec<Key> =
            state.objects.keys().filter(|key| !listing.contains_key(key)).cloned().collect();
        let mut changes: Vec<Change<K>> =
            gone.into_iter().filter_map(|key| Self::put(state, key, None)).collect();
        for (key, object) in listing {
            changes.extend(Self::put(state, key, Some(object)));
        }
        changes
    }

    /// Puts or removes one object with its index entries; `None` when nothing changed.
    fn put(state: &mut State<K>, key: Key, new: Option<Arc<K>>) -> Option<Change<K>> {
        let old = state.objects.get(&key).cloned();
        if let (Some(old), Some(new)) = (&old, &new)
            && old.meta().uid == new.meta().uid
            && old.meta().resource_version == new.meta().resource_version
        {
            return None;
        }
        if let Some(old) = &old {
            state.leave(&key, old);
        }
        match &new {
            Some(new) => {
                state.enter(&key, new);
                state.objects.insert(key, Arc::clone(new));
            }
            None => {
                state.objects.remove(&key);
            }
        }
        (old.is_some() || new.is_some()).then_some((old, new))
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

/// Whether the client below has ended, as all do when a process ends.
fn is_closed(error: &watcher::Error) -> bool {
    let mut causes =
        std::iter::successors(Some(error as &dyn std::error::Error), |e| (*e).source());
    causes.any(|cause| cause.is::<tower::buffer::error::Closed>())
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

    fn look_later(&self, expectation: &Expectation) -> Option<oneshot::Receiver<()>> {
        // Held over the look: whoever rings does so after the change, and waits for this.
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.shows(expectation)).then(|| waiting.enter(expectation))
    }

    fn changes(&self) -> &Notify {
        &self.shared.changed
    }

    fn metas(&self) -> Vec<ObjectMeta> {
        self.read(|state| state.objects.values().map(|object| object.meta().clone()).collect())
    }

    fn metas_in(&self, namespace: &str) -> Vec<ObjectMeta> {
        self.in_namespace(namespace).iter().map(|object| object.meta().clone()).collect()
    }

    fn metas_owned_by(&self, uid: &str) -> Vec<ObjectMeta> {
        self.owned_by(uid).iter().map(|object| object.meta().clone()).collect()
    }

    fn meta(&self, key: &Key) -> Option<ObjectMeta> {
        self.get(&key.namespace, &key.name).map(|object| object.meta().clone())
    }

    fn subscribe_meta(&self, map: Concerns<ObjectMeta>, wake: Wake) {
        let map = move |old: Option<&Arc<K>>, new: Option<&Arc<K>>| {
            map(old.map(|object| object.meta()), new.map(|object| object.meta()))
        };
        self.subscribe(map, wake);
    }
}

mod fault;
mod index;
#[cfg(test)]
mod tests;
mod waiting;
