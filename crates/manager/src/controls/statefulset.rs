//! StatefulSets: woken by the set, its pods, claims, revisions and policies, and by who bears their names.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use api::{policy::StatefulSetPolicy, quantity, selector::Labels};
use client::{Cache, Key};
use controllers::{
    Action, Plan, Verb,
    statefulset::{self, Options, Refused, Rules, View},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{PersistentVolumeClaim, Pod, ResourceQuota},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{controller_of, name, namespace};
use crate::{
    Caches, Controller, Failed, Wakes,
    budgets::{Budget, Budgets},
};

/// Index of policies: namespace and name of the set that they name.
const NAMES: &str = "names";
/// Index of revisions: the namespace of those without a controller.
const OWNERLESS: &str = "ownerless";

/// For how long the end of a claim is told to the planner, which minds it for a second.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(10);

pub(super) struct Sets {
    options: Options,
    plan: fn(&View) -> Plan,
    /// Whether quotas are watched, too.
    quotas: bool,
    budgets: Budgets,
    sets: OnceLock<Cache<StatefulSet>>,
    /// What was last refused to each set, and since when, once that was looked at.
    refused: Mutex<BTreeMap<Key, (String, Option<Timestamp>)>>,
    /// Claims named like a set's that have gone, and since when, once that was looked at; until they
    /// are back, the set has seen it for [`REMEMBERED`], or is gone.
    gone: Mutex<BTreeMap<Key, Option<Timestamp>>>,
}

impl Sets {
    /// With `quotas`, a set that a quota has stopped goes on as soon as there is room.
    pub(super) fn new(
        options: Options,
        plan: fn(&View) -> Plan,
        quotas: bool,
        budgets: Budgets,
    ) -> Self {
        let (sets, refused, gone) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Self { options, plan, quotas, budgets, sets, refused, gone }
    }

    /// The sets that lack pods, where a quota goes or leaves more room than before.
    fn let_on(
        &self,
        old: Option<&Arc<ResourceQuota>>,
        new: Option<&Arc<ResourceQuota>>,
    ) -> Vec<Key> {
        let (Some(sets), Some(old)) = (self.sets.get(), old) else { return Vec::new() };
        if new.is_some_and(|new| !leaves_more(old, new)) {
            return Vec::new();
        }
        let lacking = sets.in_namespace(namespace(&old.metadata)).into_iter().filter(|set| {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            set.status.as_ref().is_none_or(|status| status.replicas < wanted)
        });
        lacking.map(|set| Key::of(&set.metadata)).collect()
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

    fn refused(&self, key: &Key, now: Timestamp) -> Option<Refused> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (error, since) = refused.get_mut(key)?;
        // Conditions tell it to people, in whole seconds as the API has its times.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Some(Refused { error: error.clone(), since: *since.get_or_insert(now) })
    }

    /// A claim has come, gone or changed: which sets that concerns.
    fn claim_concerns(
        &self,
        old: Option<&Arc<PersistentVolumeClaim>>,
        new: Option<&Arc<PersistentVolumeClaim>>,
    ) -> Vec<Key> {
        let Some(claim) = new.or(old) else { return Vec::new() };
        let concerned = self.named_in(&claim.metadata);
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::of(&claim.metadata);
        if new.is_some() {
            gone.remove(&key);
        } else if !concerned.is_empty() {
            gone.insert(key, None);
        }
        concerned
    }

    /// Those of these claims that are gone, by name, with when that was first seen.
    fn gone(&self, space: &str, like: &[String], now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |key: &Key| {
            key.namespace == space
                && like.iter().any(|like| {
                    let ordinal = key.name.strip_prefix(like.as_str());
                    ordinal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
                })
        };
        let mut seen = BTreeMap::new();
        gone.retain(|key, since| {
            if !own(key) {
                return true;
            }
            let since = *since.get_or_insert(now);
            let fresh = now.duration_since(since) < REMEMBERED;
            if fresh {
                seen.insert(key.name.clone(), since);
            }
            fresh
        });
        seen
    }

    /// What went under the name of a set that is gone itself.
    fn forget(&self, set: &Key) {
        let stem = format!("-{}", set.name);
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|key, _| {
            let named = key.name.rsplit_once('-').is_some_and(|(name, _)| name.ends_with(&stem));
            key.namespace != set.namespace || !named
        });
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

/// Whether anything is limited less, or used less, than before.
fn leaves_more(old: &ResourceQuota, new: &ResourceQuota) -> bool {
    let list = |quota: &ResourceQuota, used: bool| {
        let status = quota.status.clone().unwrap_or_default();
        if used { status.used } else { status.hard }.unwrap_or_default()
    };
    let (hard, used) = (list(new, false), list(new, true));
    list(old, false).keys().any(|name| {
        let room = |quota: &ResourceQuota| {
            let at = |used| quantity::in_list(Some(&list(quota, used)), name);
            at(false) - at(true)
        };
        !hard.contains_key(name) || !used.contains_key(name) || room(new) > room(old)
    })
}

/// What there is under a set's name.
pub(super) enum Sight {
    /// The set.
    Set(Box<View>),
    /// No set, but policies that name it.
    Policies { set: String, policies: Vec<Arc<StatefulSetPolicy>>, now: Timestamp },
}

impl Controller for Sets {
    type View = Sight;

    fn name(&self) -> &'static str {
        crate::STATEFULSET
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
        wakes.reads_if_served::<StatefulSetPolicy>();
        wakes.reads_by::<StatefulSetPolicy>((NAMES, |policy| vec![named_by(policy).to_string()]));
        wakes.on::<StatefulSetPolicy>(|policy| vec![named_by(policy)]);
        let me = Arc::clone(self);
        wakes.on::<Pod>(move |pod| me.pod_concerns(pod));
        let me = Arc::clone(self);
        wakes.on_change::<PersistentVolumeClaim>(move |old, new| me.claim_concerns(old, new));
        let me = Arc::clone(self);
        wakes.on::<ControllerRevision>(move |revision| me.revision_concerns(revision));
        if self.quotas {
            let me = Arc::clone(self);
            wakes.reads::<ResourceQuota>();
            wakes.on_change::<ResourceQuota>(move |old, new| me.let_on(old, new));
        }
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<Sight> {
        let policies = caches.of::<StatefulSetPolicy>().by(NAMES, &key.to_string());
        let Some(set) = caches.of::<StatefulSet>().get(&key.namespace, &key.name) else {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            self.budgets.set(key, None);
            self.forget(key);
            let set = key.name.clone();
            return (!policies.is_empty()).then_some(Sight::Policies { set, policies, now });
        };
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
        let like: Vec<String> =
            templates(&set).map(|template| format!("{template}-{prefix}")).collect();
        let mut claims = BTreeMap::new();
        for like in &like {
            for claim in caches.of::<PersistentVolumeClaim>().named_like(space, like) {
                claims.insert(name(&claim.metadata).to_owned(), claim);
            }
        }
        let gone = self.gone(space, &like, now);
        let refused = self.refused(key, now);
        let rules = Rules::of(&set, &policies);
        let options = self.options;
        let view =
            View { set, pods, claims, gone, revisions, policies, rules, refused, now, options };
        self.budgets.set(key, budget(&view));
        Some(Sight::Set(Box::new(view)))
    }

    fn reconcile(&self, sight: &Sight) -> Plan {
        match sight {
            Sight::Set(view) => (self.plan)(view),
            Sight::Policies { set, policies, now } => statefulset::without_set(set, policies, *now),
        }
    }

    /// Keeps what the API server says to a pod or claim that it does not let in.
    fn carried_out(&self, key: &Key, plan: &Plan, failed: Option<&Failed>) {
        let makes = |action: &Action| match &action.verb {
            Verb::Create(object) => matches!(object.kind(), "Pod" | "PersistentVolumeClaim"),
            _ => false,
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match failed {
            None => drop(refused.remove(key)),
            Some(failed) if failed.race || !plan.actions.iter().any(makes) => (),
            Some(failed) => {
                let same = refused.get(key).is_some_and(|(error, _)| *error == failed.error);
                if !same {
                    refused.insert(key.clone(), (failed.error.clone(), None));
                }
            }
        }
    }
}

/// What there is to say of a set's budget, if it has one.
fn budget(view: &View) -> Option<Budget> {
    let (max_unavailable, unavailable) = statefulset::unavailability(view)?;
    let policy = view.set.spec.as_ref().and_then(|spec| spec.pod_management_policy.clone());
    Some(Budget {
        namespace: namespace(&view.set.metadata).to_owned(),
        name: name(&view.set.metadata).to_owned(),
        pod_management_policy: policy.unwrap_or_else(|| "OrderedReady".to_owned()),
        max_unavailable,
        unavailable,
    })
}

/// The set that a policy names.
fn named_by(policy: &StatefulSetPolicy) -> Key {
    Key::new(namespace(&policy.metadata), &policy.spec.stateful_set_name)
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

/// Both lists, each object once, ordered by name. Each list holds a name once.
fn together<K>(
    mut one: Vec<Arc<K>>,
    two: Vec<Arc<K>>,
    meta: impl Fn(&K) -> &ObjectMeta,
) -> Vec<Arc<K>> {
    one.extend(two);
    one.sort_by(|a, b| meta(a).name.cmp(&meta(b).name));
    one.dedup_by(|later, earlier| {
        let (later, earlier) = (meta(later), meta(earlier));
        later.name == earlier.name && later.uid == earlier.uid
    });
    one
}
