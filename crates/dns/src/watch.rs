//! Keeps the zone as the API says: one Service's records at a time.

use std::sync::{Arc, PoisonError, RwLockWriteGuard, Weak};

use client::{AnyCache, Cache, Key, Wake};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, runtime::watcher};
use network::records::service_records;
use tokio::sync::watch as signal;

use crate::{Shared, zone::Zone};

/// The label that leads from a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The index of slices by `namespace/service`.
const BY_SERVICE: &str = "service";

/// The three kinds that the zone is made of.
#[derive(Debug, Clone)]
pub(crate) struct Caches {
    pub(crate) services: Cache<Service>,
    pub(crate) slices: Cache<EndpointSlice>,
    pub(crate) namespaces: Cache<Namespace>,
}

impl Caches {
    /// Empty caches that put every change into the zone before they take the next.
    pub(crate) fn new(shared: &Weak<Shared>, domain: &str) -> Self {
        let caches = Self {
            services: Cache::new(None),
            slices: Cache::new(None),
            namespaces: Cache::new(None),
        };
        caches.slices.add_index((BY_SERVICE, |slice| {
            service_of(slice).iter().map(ToString::to_string).collect()
        }));
        let update: Wake = {
            let (shared, domain) = (Weak::clone(shared), domain.to_owned());
            Arc::new(move |key| {
                if let Some(shared) = shared.upgrade() {
                    shared.caches.update(&mut write(&shared), &key, &domain);
                }
            })
        };
        caches.services.subscribe(
            |old, new| old.or(new).map(|it| Key::of(&it.metadata)).into_iter().collect(),
            Arc::clone(&update),
        );
        // A slice may be given another label: then both Services change.
        caches.slices.subscribe(
            |old, new| [old, new].into_iter().flatten().filter_map(|it| service_of(it)).collect(),
            update,
        );
        let shared = Weak::clone(shared);
        caches.namespaces.subscribe(
            |old, new| old.or(new).map(|it| Key::of(&it.metadata)).into_iter().collect(),
            Arc::new(move |key: Key| {
                if let Some(shared) = shared.upgrade() {
                    let mut zone = write(&shared);
                    let exists = shared.caches.namespaces.get("", &key.name).is_some();
                    zone.set_namespace(&key.name, exists);
                }
            }),
        );
        caches
    }

    /// Under the zone's lock, so that of two watches the later sees what the earlier saw.
    fn update(&self, zone: &mut Zone, key: &Key, domain: &str) {
        let records = self.services.get(&key.namespace, &key.name).map(|service| {
            let slices = self.slices.by(BY_SERVICE, &key.to_string());
            service_records(&service, &slices, domain)
        });
        zone.replace(&key.namespace, &key.name, &records.unwrap_or_default());
    }

    async fn synced(&self) {
        let all: [&dyn AnyCache; 3] = [&self.services, &self.slices, &self.namespaces];
        for cache in all {
            cache.synced().await;
        }
    }
}

/// Watches until it is dropped, and says when the first lists are complete.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    client: kube::Client,
    seed: u64,
    ready: signal::Sender<bool>,
) {
    let caches = &shared.caches;
    let config = || watcher::Config::default().streaming_lists();
    let services = watcher(Api::<Service>::all(client.clone()), config());
    let slices = watcher(Api::<EndpointSlice>::all(client.clone()), config());
    let namespaces = watcher(Api::<Namespace>::all(client), config());
    let complete = async {
        caches.synced().await;
        write(&shared).is_complete = true;
        ready.send_replace(true);
    };
    tokio::join!(
        caches.services.follow("services", seed, services),
        caches.slices.follow("endpointslices", seed.wrapping_add(1), slices),
        caches.namespaces.follow("namespaces", seed.wrapping_add(2), namespaces),
        complete,
    );
}

fn write(shared: &Shared) -> RwLockWriteGuard<'_, Zone> {
    shared.zone.write().unwrap_or_else(PoisonError::into_inner)
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}
