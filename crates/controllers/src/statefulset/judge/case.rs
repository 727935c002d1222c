//! A view and its plan, laid out for the second judge's questions.

use std::collections::BTreeMap;

use api::k8s::{
    api::{
        apps::v1::{StatefulSet, StatefulSetCondition, StatefulSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::super::View;
use super::law::{Law, share};
use crate::{Plan, Target, Verb};

/// What a pod looks like from outside.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) pod: &'a Pod,
    pub(super) going: bool,
    pub(super) ended: bool,
    pub(super) available: bool,
    /// It never starts: its node waits for a claim that waits for it.
    pub(super) stranded: bool,
}

/// A view and its plan, laid out for questions.
pub(super) struct Case<'a> {
    pub(super) view: &'a View,
    pub(super) plan: &'a Plan,
    pub(super) set: &'a StatefulSet,
    pub(super) law: Law<'a>,
    /// The wanted ordinals, ascending.
    pub(super) wanted: Vec<i64>,
    pub(super) ordered: bool,
    pub(super) rolling: bool,
    /// The first ordinal that a rollout may touch.
    pub(super) first: i64,
    /// The set's pods that are wanted, and those that are not.
    pub(super) replicas: BTreeMap<i64, Seen<'a>>,
    pub(super) surplus: BTreeMap<i64, Seen<'a>>,
    pub(super) created: Vec<(i64, &'a Pod)>,
    pub(super) deleted: Vec<(i64, &'a Target)>,
    pub(super) status: Option<&'a StatefulSetStatus>,
    /// The set as the plan changes it, status aside.
    pub(super) returned: Option<&'a StatefulSet>,
}

impl<'a> Case<'a> {
    pub(super) fn new(view: &'a View, plan: &'a Plan) -> Self {
        let set = &*view.set;
        let spec = set.spec.as_ref();
        let (law, wanted) = Law::of(view);
        let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let (mut replicas, mut surplus) = (BTreeMap::new(), BTreeMap::new());
        for pod in &view.pods {
            let Some(ordinal) = ordinal(set, pod.metadata.name.as_deref()) else { continue };
            if controller(pod.metadata.owner_references.as_deref()) != set.metadata.uid.as_deref() {
                continue;
            }
            let kind =
                if wanted.binary_search(&ordinal).is_ok() { &mut replicas } else { &mut surplus };
            kind.insert(ordinal, look(view, pod));
        }
        let verbs = || plan.actions.iter().map(|action| &action.verb);
        let created = verbs().filter_map(|verb| {
            let Verb::Create(object) = verb else { return None };
            let pod: &Pod = object.as_any().downcast_ref()?;
            Some((ordinal(set, pod.metadata.name.as_deref()).unwrap_or(-1), pod))
        });
        let deleted = verbs().filter_map(|verb| match verb {
            Verb::Delete { target, .. } if target.kind == "Pod" => {
                Some((ordinal(set, Some(&target.name)).unwrap_or(-1), target))
            }
            _ => None,
        });
        let status = verbs().find_map(|verb| match verb {
            Verb::Update { object, subresource: Some("status") } => {
                object.as_any().downcast_ref::<StatefulSet>()?.status.as_ref()
            }
            _ => None,
        });
        let returned = verbs().find_map(|verb| match verb {
            Verb::Update { object, subresource: None } => object.as_any().downcast_ref(),
            _ => None,
        });
        let held = usize::try_from(partition).unwrap_or(0);
        Self {
            view,
            plan,
            set,
            law,
            returned,
            ordered: spec.and_then(|spec| spec.pod_management_policy.as_deref())
                != Some("Parallel"),
            rolling: strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete"),
            first: wanted.get(held).copied().unwrap_or(i64::MAX),
            wanted,
            replicas,
            surplus,
            created: created.collect(),
            deleted: deleted.collect(),
            status,
        }
    }

    /// Pods that are deleted although they are wanted, have not ended and may yet start.
    pub(super) fn rolled(&self) -> impl Iterator<Item = (i64, Seen<'a>)> + '_ {
        self.deleted.iter().filter_map(|(ordinal, _)| {
            let seen = self.replicas.get(ordinal).filter(|seen| !seen.ended && !seen.stranded)?;
            Some((*ordinal, *seen))
        })
    }

    /// How many pods a rollout may take.
    pub(super) fn budget(&self) -> usize {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let own = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let own = own.filter(|_| self.many());
        let said = self.law.rollout.max_unavailable.as_ref().or(own);
        said.map_or(1, |said| share(said, self.wanted.len()))
    }

    /// A rollout goes by a budget, not pod by pod.
    pub(super) fn many(&self) -> bool {
        self.view.options.max_unavailable || self.law.rollout.max_unavailable.is_some()
    }

    /// All that is missing may be made at once: asked for, in a rollout, within its budget.
    pub(super) fn together(&self) -> bool {
        if self.law.rollout.creation.as_deref() != Some("Batched") {
            return false;
        }
        let update = self.named(|status| status.update_revision.as_deref());
        let under_way = self.named(|status| status.current_revision.as_deref()) != update
            || self.replicas.values().any(|seen| revision(seen.pod) != update);
        let down = self.wanted.iter().filter(|ordinal| !self.up(**ordinal)).count();
        self.rolling && under_way && down <= self.budget()
    }

    pub(super) fn up(&self, ordinal: i64) -> bool {
        self.replicas.get(&ordinal).is_some_and(|pod| pod.available && !pod.going)
    }

    pub(super) fn all_up(&self) -> bool {
        self.wanted.iter().all(|ordinal| self.up(*ordinal))
    }

    pub(super) fn updated(&self, ordinal: i64) -> bool {
        let update = self.named(|status| status.update_revision.as_deref());
        self.replicas.get(&ordinal).is_some_and(|seen| revision(seen.pod) == update)
    }

    pub(super) fn outdated(&self) -> bool {
        let reached = self.wanted.iter().filter(|ordinal| **ordinal >= self.first);
        self.rolling && reached.into_iter().any(|ordinal| !self.updated(*ordinal))
    }

    /// A name in the status: as the plan writes it, else as it was.
    pub(super) fn named(
        &self,
        which: impl Fn(&'a StatefulSetStatus) -> Option<&'a str>,
    ) -> &'a str {
        let old = self.set.status.as_ref();
        self.status.or(old).and_then(which).unwrap_or_default()
    }
}

fn look<'a>(view: &View, pod: &'a Pod) -> Seen<'a> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|c| c.type_ == "Ready" && c.status == "True");
    let seconds = view.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let long = ready.is_some_and(|ready| {
        let since = ready.last_transition_time.as_ref();
        seconds <= 0
            || since.is_some_and(|since| {
                let least = jiff::SignedDuration::from_secs(i64::from(seconds));
                view.now.duration_since(since.0) >= least
            })
    });
    Seen {
        pod,
        going: pod.metadata.deletion_timestamp.is_some(),
        ended: matches!(phase, "Failed" | "Succeeded"),
        available: phase == "Running" && long,
        stranded: phase == "Pending" && stranded(view, pod),
    }
}

/// It has a node, no container of it ever ran and none may, for one of its claims is being deleted.
fn stranded(view: &View, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let status = pod.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    let mounts = conditions.any(|c| c.type_ == "PodReadyToStartContainers" && c.status == "True");
    let mut containers =
        status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let untouched = containers.all(|one| {
        let only_waits =
            one.state.as_ref().is_none_or(|s| s.running.is_none() && s.terminated.is_none());
        let never =
            one.last_state.as_ref().is_none_or(|s| s.terminated.is_none() && s.running.is_none());
        only_waits && never && one.restart_count == 0
    });
    let own = |claim: &str| {
        let set = view.set.spec.iter();
        let mut templates = set.flat_map(|s| s.volume_claim_templates.iter().flatten());
        templates.any(|template| {
            let (template, pod) = (&template.metadata.name, &pod.metadata.name);
            let (template, pod) = (template.as_deref(), pod.as_deref());
            format!("{}-{}", template.unwrap_or_default(), pod.unwrap_or_default()) == claim
        })
    };
    let mut claims =
        spec.volumes.iter().flatten().filter_map(|volume| {
            Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str())
        });
    let goes = |claim: &str| {
        let claim = view.claims.get(claim);
        claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_some())
    };
    let placed = spec.node_name.as_ref().is_some_and(|node| !node.is_empty());
    placed && !mounts && untouched && claims.any(|claim| own(claim) && goes(claim))
}

pub(super) fn ordinal(set: &StatefulSet, pod: Option<&str>) -> Option<i64> {
    let (stem, digits) = pod?.rsplit_once('-')?;
    let ordinal: i64 = digits.parse().ok()?;
    (Some(stem) == set.metadata.name.as_deref() && ordinal.to_string() == digits).then_some(ordinal)
}

pub(super) fn controller(owners: Option<&[OwnerReference]>) -> Option<&str> {
    owners?.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

pub(super) fn revision(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get("controller-revision-hash")).map_or("", String::as_str)
}

/// The status's condition of this type.
pub(super) fn said<'a>(
    status: &'a StatefulSetStatus,
    kind: &str,
) -> Option<&'a StatefulSetCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}
