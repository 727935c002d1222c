//! Claims and volumes: three controllers, as each decides for one object.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use client::{Cache, Key};
use controllers::{
    Plan,
    volumes::{LOCAL_PATH, claim, growth, volume},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use scheduler::claim_names;

use super::{name, namespace};
use crate::{Caches, Controller, Wakes};

/// As upstream's binder calls.
const BINDER: &str = "persistent-volume-binder";
/// As upstream's binder signs its events.
const COMPONENT: &str = "persistentvolume-controller";
/// Index of pods: namespace and name of each claim they use.
const USES: &str = "uses-claim";

/// Claims: binding, provisioning, protection.
#[derive(Default)]
pub(super) struct Claims {
    claims: OnceLock<Cache<PersistentVolumeClaim>>,
}

impl Controller for Claims {
    type View = claim::View;

    fn name(&self) -> &'static str {
        BINDER
    }

    fn component(&self) -> &'static str {
        COMPONENT
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let claims = wakes.reads::<PersistentVolumeClaim>();
        self.claims.get_or_init(|| claims);
        wakes.on_each::<PersistentVolumeClaim>();
        wakes.reads_by::<Pod>((USES, |pod| used_by(pod).iter().map(Key::to_string).collect()));
        wakes.on_change::<Pod>(|old, new| {
            let parts = |pod: &Arc<Pod>| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                let ended = matches!(phase, Some("Succeeded" | "Failed"));
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                (pod.metadata.uid.clone(), node, ended, pod.metadata.deletion_timestamp.is_some())
            };
            if old.map(parts) == new.map(parts) {
                return Vec::new();
            }
            old.into_iter().chain(new).flat_map(|pod| used_by(pod)).collect()
        });
        let me = Arc::clone(self);
        wakes.on_change::<PersistentVolume>(move |old, new| {
            let all = old.into_iter().chain(new);
            all.flat_map(|volume| me.about(volume)).collect::<BTreeSet<_>>().into_iter().collect()
        });
        let me = Arc::clone(self);
        wakes.on::<StorageClass>(move |class| me.unbound_of(name(&class.metadata)));
        let me = Arc::clone(self);
        wakes.on_change::<Node>(move |old, new| {
            let folder = |node: &Arc<Node>| {
                let annotations = node.metadata.annotations.as_ref();
                annotations.and_then(|all| all.get(LOCAL_PATH)).cloned()
            };
            let same = old.and_then(folder) == new.and_then(folder);
            if same { Vec::new() } else { me.unbound(|_| true) }
        });
    }

    fn view(&self, key: &Key, caches: &Caches, _now: Timestamp) -> Option<claim::View> {
        let claim = caches.of::<PersistentVolumeClaim>().get(&key.namespace, &key.name)?;
        let class = class_of(&claim);
        Some(claim::View {
            class: caches.of::<StorageClass>().get("", class),
            volumes: caches.of::<PersistentVolume>().list(),
            users: caches.of::<Pod>().by(USES, &key.to_string()),
            nodes: caches.of::<Node>().list(),
            claim,
        })
    }

    fn reconcile(&self, view: &claim::View) -> Plan {
        claim::reconcile(view)
    }
}

impl Claims {
    /// The claim that a volume names or that names it; one that is free concerns its class.
    fn about(&self, volume: &PersistentVolume) -> Vec<Key> {
        let spec = volume.spec.as_ref();
        match spec.and_then(|spec| spec.claim_ref.as_ref()) {
            Some(reference) => vec![Key::new(
                reference.namespace.as_deref().unwrap_or_default(),
                reference.name.as_deref().unwrap_or_default(),
            )],
            None => {
                let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
                let wanted = name(&volume.metadata);
                let mut keys = self.unbound_of(class.unwrap_or_default());
                keys.extend(self.all(|claim| volume_of(claim) == wanted));
                keys
            }
        }
    }

    fn unbound_of(&self, class: &str) -> Vec<Key> {
        self.unbound(|claim| class_of(claim) == class)
    }

    fn unbound(&self, which: impl Fn(&PersistentVolumeClaim) -> bool) -> Vec<Key> {
        self.all(|claim| volume_of(claim).is_empty() && which(claim))
    }

    fn all(&self, which: impl Fn(&PersistentVolumeClaim) -> bool) -> Vec<Key> {
        let claims = self.claims.get().map(Cache::list).unwrap_or_default();
        let chosen = claims.iter().filter(|claim| which(claim));
        chosen.map(|claim| Key::of(&claim.metadata)).collect()
    }
}

/// Volumes: phase, release, protection.
pub(super) struct Volumes;

impl Controller for Volumes {
    type View = volume::View;

    fn name(&self) -> &'static str {
        BINDER
    }

    fn component(&self) -> &'static str {
        COMPONENT
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let volumes = wakes.reads::<PersistentVolume>();
        wakes.on_each::<PersistentVolume>();
        wakes.on::<PersistentVolumeClaim>(move |claim| {
            let named = Some(volume_of(claim)).filter(|volume| !volume.is_empty());
            let named = named.map(|volume| Key::new("", volume));
            let referring = volumes.list().into_iter().filter(|volume| refers(volume, claim));
            named.into_iter().chain(referring.map(|volume| Key::of(&volume.metadata))).collect()
        });
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<volume::View> {
        let volume = caches.of::<PersistentVolume>().get("", &key.name)?;
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let claim = reference.and_then(|reference| {
            let (namespace, name) = (reference.namespace.as_ref()?, reference.name.as_ref()?);
            caches.of::<PersistentVolumeClaim>().get(namespace, name)
        });
        Some(volume::View { volume, claim, now })
    }

    fn reconcile(&self, view: &volume::View) -> Plan {
        volume::reconcile(view)
    }
}

/// Claims that ask for more than they have.
pub(super) struct Growth;

impl Controller for Growth {
    type View = growth::View;

    fn name(&self) -> &'static str {
        "expand-controller"
    }

    fn component(&self) -> &'static str {
        "external-resizer stead.io/local"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        wakes.reads::<PersistentVolumeClaim>();
        wakes.on_each::<PersistentVolumeClaim>();
        wakes.reads::<PersistentVolume>();
        wakes.on::<PersistentVolume>(|volume| {
            let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            let key = reference.and_then(|claim| {
                Some(Key::new(claim.namespace.as_deref()?, claim.name.as_deref()?))
            });
            key.into_iter().collect()
        });
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<growth::View> {
        let claim = caches.of::<PersistentVolumeClaim>().get(&key.namespace, &key.name)?;
        let volume = caches.of::<PersistentVolume>().get("", volume_of(&claim));
        Some(growth::View { claim, volume, now })
    }

    fn reconcile(&self, view: &growth::View) -> Plan {
        growth::reconcile(view)
    }
}

fn used_by(pod: &Pod) -> Vec<Key> {
    let space = namespace(&pod.metadata);
    claim_names(pod).iter().map(|claim| Key::new(space, claim)).collect()
}

fn refers(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace
    })
}

fn volume_of(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

fn class_of(claim: &PersistentVolumeClaim) -> &str {
    controllers::volumes::fit::claim_class(claim)
}
