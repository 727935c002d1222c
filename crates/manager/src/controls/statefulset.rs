//! StatefulSets: woken by the set, its pods, claims and revisions, and by who bears their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use api::selector::Labels;
use client::{Cache, Key};
use controllers::{
    Plan,
    statefulset::{self, Options, View},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{controller_of, name, namespace};
use crate::{Caches, Controller, Wakes};

/// Index of revisions: the namespace of those without a controller.
const OWNERLESS: &str = "ownerless";

pub(super) struct Sets {
    options: Options,
    sets: OnceLock<Cache<StatefulSet>>,
}

impl Sets {
    pub(super) fn new(options: Options) -> Self {
        Self { options, sets: OnceLock::new() }
    }

    /// The sets whose pods or claims could have this name: every part of it between dashes, as
    /// far as a set is called so. A foreign object under a set's name concerns the set, too (E1).
    fn named_in(&self, meta: &ObjectMeta) -> Vec<Key> {
        let Some(sets) = self.sets.get() else { return Vec::new() };
        let Some((stem, ordinal)) = name(meta).rsplit_once('-') else { return Vec::new() };
        if ordinal.is_empty() || !ordinal.bytes().all(|byte| byte.is_ascii_digit()) {
            return Vec::new();
        }
        let starts = std::iter::once(0).chain(stem.match_indices('-').map(|(at, _)| at + 1));
        starts
            .map(|start| &stem[start..])
            .filter(|set| sets.get(namespace(meta), set).is_some())
            .map(|set| Key::new(namespace(meta), set))
            .collect()
    }

    fn pod_concerns(&self, pod: &Pod) -> Vec<Key> {
        let owner = controller_of(&pod.metadata, "StatefulSet");
        owner.into_iter().chain(self.named_in(&pod.metadata)).collect()
    }

    fn revision_concerns(&self, revision: &ControllerRevision) -> Vec<Key> {
        let meta = &revision.metadata;
        if let Some(owner) = controller_of(meta, "StatefulSet") {
            return vec![owner];
        }
        let Some(sets) = self.sets.get() else { return Vec::new() };
        let selecting = sets.in_namespace(namespace(meta));
        let selecting = selecting.iter().filter(|set| selects(set, meta));
        selecting.map(|set| Key::of(&set.metadata)).collect()
    }
}

impl Controller for Sets {
    type View = View;

    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let sets = wakes.reads::<StatefulSet>();
        self.sets.get_or_init(|| sets);
        wakes.reads_by::<ControllerRevision>((OWNERLESS, |revision| {
            let meta = &revision.metadata;
            let mut owners = meta.owner_references.iter().flatten();
            let owned = owners.any(|owner| owner.controller == Some(true));
            meta.namespace.clone().filter(|_| !owned).into_iter().collect()
        }));
        wakes.on_each::<StatefulSet>();
        let me = Arc::clone(self);
        wakes.on::<Pod>(move |pod| me.pod_concerns(pod));
        let me = Arc::clone(self);
        wakes.on::<PersistentVolumeClaim>(move |claim| me.named_in(&claim.metadata));
        let me = Arc::clone(self);
        wakes.on::<ControllerRevision>(move |revision| me.revision_concerns(revision));
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<View> {
        let set = caches.of::<StatefulSet>().get(&key.namespace, &key.name)?;
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let (space, prefix) = (key.namespace.as_str(), format!("{}-", key.name));
        let pods = caches.of::<Pod>();
        let pods =
            together(pods.owned_by(uid), pods.named_like(space, &prefix), |pod| &pod.metadata);
        let revisions = caches.of::<ControllerRevision>();
        let adoptable = revisions.by(OWNERLESS, space).into_iter();
        let adoptable = adoptable.filter(|revision| selects(&set, &revision.metadata));
        let named = revisions.named_like(space, &prefix).into_iter().chain(adoptable);
        let revisions =
            together(revisions.owned_by(uid), named.collect(), |revision| &revision.metadata);
        let mut claims = BTreeMap::new();
        for template in templates(&set) {
            let like = format!("{template}-{prefix}");
            for claim in caches.of::<PersistentVolumeClaim>().named_like(space, &like) {
                claims.insert(name(&claim.metadata).to_owned(), claim);
            }
        }
        Some(View { set, pods, claims, revisions, now, options: self.options })
    }

    fn reconcile(&self, view: &View) -> Plan {
        statefulset::reconcile(view)
    }
}

fn templates(set: &StatefulSet) -> impl Iterator<Item = &str> {
    let templates = set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten());
    templates.map(|template| name(&template.metadata))
}

fn selects(set: &StatefulSet, meta: &ObjectMeta) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    Labels::from_object(selector)
        .is_ok_and(|labels| !labels.is_everything() && labels.matches(meta.labels.as_ref()))
}

/// Both lists, each object once, ordered by name.
fn together<K>(
    one: Vec<Arc<K>>,
    two: Vec<Arc<K>>,
    meta: impl Fn(&K) -> &ObjectMeta,
) -> Vec<Arc<K>> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Arc<K>> =
        one.into_iter().chain(two).filter(|object| seen.insert(meta(object).uid.clone())).collect();
    all.sort_by(|a, b| meta(a).name.cmp(&meta(b).name));
    all
}
