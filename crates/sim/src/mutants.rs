//! Planners that are wrong in one way each, and the invariant that must catch each.
//!
//! They live in a cluster in clear weather, with a person who is busy.

use std::sync::Arc;

use controllers::{
    Action, Plan, Target, Verb,
    statefulset::{View, member_ordinal, reconcile},
};
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetCondition},
    core::v1::Pod,
};

use crate::{Invariant, Script, Weather};

/// A wrong planner.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What it does.
    pub name: &'static str,
    /// It.
    pub planner: fn(&View) -> Plan,
    /// What must be the first to catch it.
    pub caught_by: Invariant,
    /// Sets on which it shows: replicas, whether Parallel, whether with claims.
    pub sets: &'static [(u64, bool, bool)],
}

/// One ordered set without claims, and one with.
const ORDERED: &[(u64, bool, bool)] = &[(3, false, false), (3, false, true)];

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "takes every set for Parallel",
        planner: takes_every_set_for_parallel,
        caught_by: Invariant::OrderedCreation,
        sets: ORDERED,
    },
    Mutant {
        name: "does not look at health",
        planner: does_not_look_at_health,
        caught_by: Invariant::OrderedCreation,
        sets: ORDERED,
    },
    Mutant {
        name: "shrinks from below",
        planner: shrinks_from_below,
        caught_by: Invariant::DescendingDeletion,
        sets: ORDERED,
    },
    Mutant {
        name: "updates all at once",
        planner: updates_all_at_once,
        caught_by: Invariant::Budget,
        sets: ORDERED,
    },
    Mutant {
        name: "forgets the partition",
        planner: forgets_the_partition,
        caught_by: Invariant::Partition,
        sets: ORDERED,
    },
    Mutant {
        name: "deletes claims with their pods",
        planner: deletes_claims,
        caught_by: Invariant::ClaimsKept,
        sets: &[(3, false, true)],
    },
    Mutant {
        name: "gives every pod the claim of the first",
        planner: shares_the_first_claim,
        caught_by: Invariant::ClaimsOwned,
        sets: &[(3, false, true)],
    },
    Mutant {
        name: "fills pods with the first template",
        planner: fills_with_the_first_template,
        caught_by: Invariant::RevisionTrue,
        sets: ORDERED,
    },
    Mutant {
        name: "says that all are ready",
        planner: says_that_all_are_ready,
        caught_by: Invariant::StatusTrue,
        sets: ORDERED,
    },
    Mutant {
        name: "deletes by force",
        planner: deletes_by_force,
        caught_by: Invariant::AtMostOne,
        sets: &[(4, true, false), (3, false, false)],
    },
    Mutant {
        name: "does not fill holes",
        planner: does_not_fill_holes,
        caught_by: Invariant::Convergence,
        sets: ORDERED,
    },
    Mutant {
        name: "writes every ten seconds that it looked",
        planner: writes_that_it_looked,
        caught_by: Invariant::Quiet,
        sets: &[(2, false, false)],
    },
];

impl Mutant {
    /// What it is seen in.
    #[must_use]
    pub fn script(&self, seed: u64) -> Script {
        Script {
            planner: self.planner,
            storm_s: 100,
            weather: Weather::Person,
            sets: Some(self.sets.to_vec()),
            ..Script::of(seed)
        }
    }
}

/// The plan for a set that looks otherwise.
fn set_seems(truth: &View, change: impl Fn(&mut StatefulSet)) -> Plan {
    let mut lie = truth.clone();
    change(Arc::make_mut(&mut lie.set));
    reconcile(&lie)
}

fn takes_every_set_for_parallel(truth: &View) -> Plan {
    set_seems(truth, |set| {
        set.spec.get_or_insert_default().pod_management_policy = Some("Parallel".to_owned());
    })
}

fn does_not_look_at_health(truth: &View) -> Plan {
    let mut lie = truth.clone();
    for pod in &mut lie.pods {
        let status = Arc::make_mut(pod).status.get_or_insert_default();
        status.phase = Some("Running".to_owned());
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|one| one.type_ != "Ready");
        conditions.push(k8s_openapi::api::core::v1::PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: truth.set.metadata.creation_timestamp.clone(),
            ..Default::default()
        });
    }
    reconcile(&lie)
}

fn forgets_the_partition(truth: &View) -> Plan {
    set_seems(truth, |set| {
        let strategy = set.spec.get_or_insert_default().update_strategy.get_or_insert_default();
        strategy.rolling_update.get_or_insert_default().partition = Some(0);
    })
}

fn ordinal(truth: &View, pod: &Pod) -> Option<i64> {
    let set = truth.set.metadata.name.as_deref()?;
    member_ordinal(set, pod.metadata.name.as_deref()?)
}

fn replicas(truth: &View) -> i64 {
    i64::from(truth.set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
}

/// Living pods of the set, by ordinal.
fn members(truth: &View) -> Vec<(i64, &Pod)> {
    let uid = truth.set.metadata.uid.as_deref();
    let own = |pod: &&Arc<Pod>| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        pod.metadata.deletion_timestamp.is_none()
            && owners.any(|owner| Some(owner.uid.as_str()) == uid)
    };
    let pods = truth.pods.iter().filter(own);
    let mut pods: Vec<(i64, &Pod)> =
        pods.filter_map(|pod| Some((ordinal(truth, pod)?, pod.as_ref()))).collect();
    pods.sort_by_key(|(ordinal, _)| *ordinal);
    pods
}

fn deleted_pod(action: &mut Action) -> Option<(&mut Target, &mut Option<i64>)> {
    match &mut action.verb {
        Verb::Delete { target, grace_period_s, .. } if target.kind == "Pod" => {
            Some((target, grace_period_s))
        }
        _ => None,
    }
}

fn created_pod(action: &mut Action) -> Option<&mut Pod> {
    match &mut action.verb {
        Verb::Create(object) => object.as_any_mut().downcast_mut(),
        _ => None,
    }
}

fn shrinks_from_below(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let lowest = members(truth).into_iter().find(|(ordinal, _)| *ordinal >= replicas(truth));
    let Some((_, lowest)) = lowest else { return plan };
    for (target, _) in plan.actions.iter_mut().filter_map(deleted_pod) {
        let name = target.name.clone();
        let set = truth.set.metadata.name.as_deref().unwrap_or_default();
        if member_ordinal(set, &name).is_some_and(|ordinal| ordinal >= replicas(truth)) {
            *target = Target::of(lowest);
        }
    }
    plan
}

fn updates_all_at_once(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let update = truth.set.status.as_ref().and_then(|status| status.update_revision.clone());
    let partition = truth
        .set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref()?.partition);
    let Some(update) = update.filter(|_| truth.set.metadata.deletion_timestamp.is_none()) else {
        return plan;
    };
    for (ordinal, pod) in members(truth) {
        let labels = pod.metadata.labels.as_ref();
        let revision = labels.and_then(|labels| labels.get("controller-revision-hash"));
        let from = i64::from(partition.unwrap_or(0));
        if revision != Some(&update) && (from..replicas(truth)).contains(&ordinal) {
            plan.actions.push(Action::delete(Target::of(pod), "outdated").in_group(50));
        }
    }
    plan
}

fn deletes_claims(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let deleted: Vec<String> = plan
        .actions
        .iter_mut()
        .filter_map(|action| deleted_pod(action).map(|(target, _)| target.name.clone()))
        .collect();
    for name in deleted {
        if let Some(claim) = truth.claims.get(&format!("data-{name}")) {
            plan.actions.push(Action::delete(Target::of(claim.as_ref()), "tidy").in_group(50));
        }
    }
    plan
}

fn shares_the_first_claim(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let set = truth.set.metadata.name.as_deref().unwrap_or_default();
    for pod in plan.actions.iter_mut().filter_map(created_pod) {
        let spec = pod.spec.get_or_insert_default();
        for volume in spec.volumes.iter_mut().flatten() {
            if let Some(claim) = &mut volume.persistent_volume_claim {
                claim.claim_name = format!("data-{set}-0");
            }
        }
    }
    plan
}

fn fills_with_the_first_template(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let first = truth.revisions.iter().min_by_key(|revision| revision.revision);
    let image = first.and_then(|revision| {
        let data = &revision.data.as_ref()?.0;
        data["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned)
    });
    for pod in plan.actions.iter_mut().filter_map(created_pod) {
        for container in &mut pod.spec.get_or_insert_default().containers {
            container.image = image.clone().or_else(|| container.image.take());
        }
    }
    plan
}

fn says_that_all_are_ready(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    for action in &mut plan.actions {
        if let Verb::Update { object, subresource: Some("status") } = &mut action.verb
            && let Some(set) = object.as_any_mut().downcast_mut::<StatefulSet>()
        {
            let status = set.status.get_or_insert_default();
            status.ready_replicas = Some(status.replicas);
            status.available_replicas = Some(status.replicas);
        }
    }
    plan
}

fn deletes_by_force(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    for (_, grace) in plan.actions.iter_mut().filter_map(deleted_pod) {
        *grace = Some(0);
    }
    // Nor does it wait for a pod that somebody else asked to go.
    for pod in truth.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()) {
        let mut action = Action::delete(Target::of(pod.as_ref()), "does not go");
        if let Some((_, grace)) = deleted_pod(&mut action) {
            *grace = Some(0);
        }
        plan.actions.push(action.in_group(50));
    }
    plan
}

fn does_not_fill_holes(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let highest = members(truth).last().map(|(ordinal, _)| *ordinal);
    let set = truth.set.metadata.name.clone().unwrap_or_default();
    plan.actions.retain_mut(|action| {
        let name = created_pod(action).and_then(|pod| pod.metadata.name.clone());
        let made = name.and_then(|name| member_ordinal(&set, &name));
        made.is_none_or(|made| highest.is_none_or(|highest| made > highest))
    });
    plan
}

fn writes_that_it_looked(truth: &View) -> Plan {
    let mut plan = reconcile(truth);
    let seconds = truth.now.as_second() / 10;
    let conditions = truth.set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut looked = conditions.filter(|one| one.type_ == "Looked");
    let said = looked.next().and_then(|one| one.message.clone());
    if plan.actions.is_empty() && said != Some(seconds.to_string()) {
        let mut set = truth.set.as_ref().clone();
        let conditions = set.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions.retain(|one| one.type_ != "Looked");
        conditions.push(StatefulSetCondition {
            type_: "Looked".to_owned(),
            status: "True".to_owned(),
            message: Some(seconds.to_string()),
            ..StatefulSetCondition::default()
        });
        plan.actions.push(Action::update(set, Some("status"), "it looked"));
    }
    let later = jiff::Timestamp::from_second((seconds + 1) * 10).unwrap_or(truth.now);
    plan.look_again = Some(plan.look_again.map_or(later, |at| at.min(later)));
    plan
}
