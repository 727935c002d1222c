//! Planners that are wrong in one way each; the promise that the row names catches each.
//!
//! A mutant sees a view with one fact hidden, or has its plan spoilt; it is judged by the truth.

use std::sync::Arc;

use api::{
    k8s::{
        api::{
            apps::v1::{StatefulSet, StatefulSetCondition},
            core::v1::Pod,
        },
        apimachinery::pkg::util::intstr::IntOrString,
    },
    policy::{StatefulSetPolicy, StatefulSetPolicySpec},
};

use super::{
    super::{
        Rules, View,
        judge::{Promise, broken_promises},
        reconcile,
    },
    case::{short, view},
};
use crate::{Action, Plan, Target, Verb, Wait};

/// Every row: the planner that does this, on this view, breaks first this promise.
#[track_caller]
fn caught(name: &str, case: &str, mutant: impl Fn(&View) -> Plan, promise: Promise) {
    let truth = view(case);
    assert_eq!(broken_promises(&truth, &reconcile(&truth)), [], "{name}: the planner itself");
    let plan = mutant(&truth);
    let broken = broken_promises(&truth, &plan);
    assert_eq!(broken.first(), Some(&promise), "{name}: {} breaks {broken:?}", short(&plan));
}

/// A planner to which the set looks otherwise.
fn set_seems(change: impl Fn(&mut StatefulSet)) -> impl Fn(&View) -> Plan {
    move |truth| {
        let mut lie = truth.clone();
        change(Arc::make_mut(&mut lie.set));
        reconcile(&lie)
    }
}

/// A planner to which each pod looks otherwise.
fn pods_seem(change: impl Fn(&mut Pod)) -> impl Fn(&View) -> Plan {
    move |truth| {
        let mut lie = truth.clone();
        lie.pods.iter_mut().for_each(|pod| change(Arc::make_mut(pod)));
        reconcile(&lie)
    }
}

/// A planner whose plan comes out otherwise.
fn spoilt(change: impl Fn(&View, &mut Plan)) -> impl Fn(&View) -> Plan {
    move |truth| {
        let mut plan = reconcile(truth);
        change(truth, &mut plan);
        plan
    }
}

#[test]
fn mutants_of_order_are_caught() {
    caught(
        "does not look at health",
        "2@a | 0:unready@a",
        pods_seem(|pod| {
            pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "True".to_owned();
        }),
        Promise::Ascending,
    );
    caught(
        "takes every set for Parallel",
        "3@a | 0:ok@a",
        set_seems(|set| {
            set.spec.as_mut().unwrap().pod_management_policy = Some("Parallel".to_owned());
        }),
        Promise::Ascending,
    );
    caught(
        "shrinks at once",
        "1@a | 0:ok@a 1:ok@a 2:ok@a",
        spoilt(|truth, plan| {
            let lower = Action::delete(Target::of(&*truth.pods[1]), "x");
            plan.actions.push(lower.in_group(9));
        }),
        Promise::Descending,
    );
    caught(
        "shrinks from below",
        "1@a | 0:ok@a 1:ok@a 2:ok@a",
        spoilt(|truth, plan| {
            for action in &mut plan.actions {
                if let Verb::Delete { target, .. } = &mut action.verb {
                    *target = Target::of(&*truth.pods[1]);
                }
            }
        }),
        Promise::Descending,
    );
    caught(
        "updates before it has shrunk",
        "2@b from=a | 0:ok@a 1:ok@a 2:ok@a",
        |truth| {
            let mut lie = truth.clone();
            lie.pods.pop();
            reconcile(&lie)
        },
        Promise::Descending,
    );
    caught(
        "creates two at a time",
        "3@a | 0:ok@a",
        spoilt(|_, plan| {
            let mut twin = plan
                .actions
                .iter()
                .find(|one| matches!(one.verb, Verb::Create(_)))
                .unwrap()
                .clone();
            if let Verb::Create(object) = &mut twin.verb {
                object.meta_mut().name = Some("web-2".to_owned());
            }
            twin.group = 9;
            plan.actions.push(twin);
        }),
        Promise::Ascending,
    );
}

#[test]
fn mutants_of_identity_are_caught() {
    caught(
        "counts pods instead of naming them",
        "2@a | 0:ok@a 1:foreign@a",
        |truth| {
            let mut lie = truth.clone();
            lie.pods.pop();
            reconcile(&lie)
        },
        Promise::OnePodPerName,
    );
    caught(
        "deletes twice",
        "1@a | 0:failed-term@a",
        pods_seem(|pod| {
            pod.metadata.deletion_timestamp = None;
        }),
        Promise::SeenUid,
    );
    caught(
        "deletes by name",
        "0@a | 0:ok@a",
        spoilt(|_, plan| {
            for action in &mut plan.actions {
                if let Verb::Delete { target, .. } = &mut action.verb {
                    target.uid.clear();
                }
            }
        }),
        Promise::SeenUid,
    );
    caught(
        "does not see that the set goes",
        "2@a deleting | 0:ok@a",
        set_seems(|set| {
            set.metadata.deletion_timestamp = None;
        }),
        Promise::NothingWhileDeleting,
    );
}

#[test]
fn mutants_of_updates_are_caught() {
    caught(
        "forgets the partition",
        "2@b from=a partition=2 | 0:ok@a 1:ok@a",
        set_seems(|set| {
            let strategy = set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
            strategy.rolling_update.as_mut().unwrap().partition = Some(0);
        }),
        Promise::Partition,
    );
    caught(
        "fills holes with the new revision",
        "2@b from=a partition=2 | 0:ok@a",
        set_seems(|set| {
            let strategy = set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
            strategy.rolling_update.as_mut().unwrap().partition = Some(0);
        }),
        Promise::Partition,
    );
    caught(
        "updates on OnDelete",
        "2@b from=a ondelete | 0:ok@a 1:ok@a",
        set_seems(|set| {
            let strategy = set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
            strategy.type_ = Some("RollingUpdate".to_owned());
        }),
        Promise::Partition,
    );
    caught(
        "spends more than the budget",
        "4@b from=a max=2 parallel | 0:ok@a 1:ok@a 2:ok@a 3:ok@a",
        set_seems(|set| {
            let strategy = set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
            strategy.rolling_update.as_mut().unwrap().max_unavailable = Some(IntOrString::Int(3));
        }),
        Promise::Budget,
    );
    caught(
        "does not wait for the last one",
        "3@b from=a parallel | 0:ok@a 1:ok@a 2:unready@b",
        pods_seem(|pod| {
            pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "True".to_owned();
        }),
        Promise::Budget,
    );
}

#[test]
fn mutants_of_storage_are_caught() {
    let policy = |scaled: bool, deleted: bool| {
        set_seems(move |set| {
            let spec = set.spec.as_mut().unwrap();
            let policy = spec.persistent_volume_claim_retention_policy.as_mut().unwrap();
            policy.when_scaled = scaled.then(|| "Delete".to_owned());
            policy.when_deleted = deleted.then(|| "Delete".to_owned());
        })
    };
    caught(
        "owns claims unasked",
        "1@a data | 0:ok@a | 0:plain",
        policy(false, true),
        Promise::ClaimsKept,
    );
    caught(
        "lets claims go with pods unasked",
        "0@a data | 0:ok@a | 0:plain",
        policy(true, false),
        Promise::ClaimsKept,
    );
    caught("makes claims owned unasked", "1@a data |", policy(false, true), Promise::ClaimsKept);
    caught(
        "deletes the claim of a pod that goes",
        "0@a data | 0:ok@a | 0:plain",
        spoilt(|truth, plan| {
            let claim = Target::of(&**truth.claims.values().next().unwrap());
            plan.actions.push(Action::delete(claim, "x").in_group(9));
        }),
        Promise::ClaimsKept,
    );
    caught(
        "forgets the claims",
        "1@a data |",
        set_seems(|set| {
            set.spec.as_mut().unwrap().volume_claim_templates = None;
        }),
        Promise::ClaimsFirst,
    );
    let begins_anew = |pod: &mut Pod| {
        let status = pod.status.as_mut().unwrap();
        (status.init_container_statuses, status.conditions) = (None, None);
    };
    for state in ["placed-begun", "placed-mounted"] {
        caught(
            "replaces what has begun, for its claim goes",
            &format!("1@a data | 0:{state}@a | 0:going"),
            pods_seem(begins_anew),
            Promise::Partition,
        );
    }
    caught(
        "waits for a pod that waits for its claim",
        "1@a data | 0:placed@a | 0:going",
        pods_seem(|pod| pod.spec.as_mut().unwrap().node_name = None),
        Promise::PossibleWaits,
    );
    caught(
        "uses a claim that goes",
        "1@a data | | 0:going",
        |truth| {
            let mut lie = truth.clone();
            let claim = lie.claims.values_mut().next().unwrap();
            Arc::make_mut(claim).metadata.deletion_timestamp = None;
            reconcile(&lie)
        },
        Promise::ClaimsFirst,
    );
}

#[test]
fn mutants_of_words_are_caught() {
    caught(
        "waits for what has ended",
        "1@a | 0:failed@a",
        spoilt(|_, plan| {
            plan.actions.retain(|action| !matches!(action.verb, Verb::Delete { .. }));
            plan.waits = vec![Wait::Healthy("web-0".to_owned())];
        }),
        Promise::PossibleWaits,
    );
    caught(
        "stops without a word",
        "1@a | 0:unready@a",
        spoilt(|_, plan| plan.waits.clear()),
        Promise::SaysWhy,
    );
    caught(
        "writes what is written",
        "1@a counts=1/1/1/1/1 told | 0:ok@a",
        set_seems(|set| {
            set.status.as_mut().unwrap().replicas = 7;
        }),
        Promise::ConvergedRests,
    );
    caught(
        "counts what is wanted",
        "3@a | 0:ok@a",
        spoilt(|truth, plan| {
            for action in &mut plan.actions {
                if let Verb::Update { object, .. } = &mut action.verb
                    && let Some(set) = object.as_any_mut().downcast_mut::<StatefulSet>()
                {
                    set.status.as_mut().unwrap().replicas =
                        truth.set.spec.as_ref().unwrap().replicas.unwrap();
                }
            }
        }),
        Promise::StatusBounds,
    );
    caught(
        "puts the pod before its claims",
        "1@a data |",
        spoilt(|_, plan| {
            plan.actions.reverse();
        }),
        Promise::Orderly,
    );
}

#[test]
fn mutants_of_conditions_are_caught() {
    let condition = |plan: &mut Plan, change: &dyn Fn(&mut StatefulSetCondition)| {
        for action in &mut plan.actions {
            if let Verb::Update { object, .. } = &mut action.verb
                && let Some(set) = object.as_any_mut().downcast_mut::<StatefulSet>()
            {
                let conditions = set.status.as_mut().unwrap().conditions.as_mut();
                conditions.unwrap().iter_mut().for_each(change);
            }
        }
    };
    caught(
        "takes ready for available",
        "2@a min=10 | 0:ok@a 1:new@a",
        spoilt(|_, plan| condition(plan, &|one| one.status = "True".to_owned())),
        Promise::Conditions,
    );
    caught(
        "names no pod",
        "2@a | 0:ok@a 1:unready@a",
        spoilt(|_, plan| condition(plan, &|one| one.message = Some("wait".to_owned()))),
        Promise::Conditions,
    );
    caught(
        "says since when anew each time",
        "2@a told | 0:ok@a",
        spoilt(|_, plan| condition(plan, &|one| one.last_transition_time = None)),
        Promise::Conditions,
    );
}

/// A planner to which the policies look otherwise.
fn policies_seem(change: impl Fn(&mut Vec<Arc<StatefulSetPolicy>>)) -> impl Fn(&View) -> Plan {
    move |truth| {
        let mut lie = truth.clone();
        change(&mut lie.policies);
        lie.rules = Rules::of(&lie.set, &lie.policies);
        reconcile(&lie)
    }
}

/// A planner to which the one policy's spec looks otherwise.
fn policy_seems(change: impl Fn(&mut StatefulSetPolicySpec)) -> impl Fn(&View) -> Plan {
    policies_seem(move |policies| change(&mut Arc::make_mut(&mut policies[0]).spec))
}

#[test]
fn mutants_of_rollouts_by_policy_are_caught() {
    caught(
        "spends more than the policy's budget",
        "4@b from=a | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=2",
        policy_seems(|spec| {
            spec.rollout.as_mut().unwrap().max_unavailable = Some(IntOrString::Int(3));
        }),
        Promise::OneChange,
    );
    caught(
        "spends it in Parallel",
        "4@b from=a parallel | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=2",
        policy_seems(|spec| {
            spec.rollout.as_mut().unwrap().max_unavailable = Some(IntOrString::Int(3));
        }),
        Promise::Budget,
    );
    caught(
        "rolls while it is paused",
        "2@b from=a | 0:ok@a 1:ok@a | | paused",
        policy_seems(|spec| spec.paused = Some(false)),
        Promise::Paused,
    );
    caught(
        "waits for a broken pod of an old revision",
        "3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | replace",
        policies_seem(Vec::clear),
        Promise::BrokenGo,
    );
    caught(
        "takes a healthy pod along",
        "3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | replace",
        spoilt(|truth, plan| {
            let healthy = Action::delete(Target::of(&*truth.pods[1]), "x");
            plan.actions.push(healthy.in_group(9));
        }),
        Promise::Budget,
    );
    caught(
        "comes back before the deadline",
        "2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=30 return completed=a",
        |truth| {
            let mut lie = truth.clone();
            lie.now = lie.now.checked_add(jiff::SignedDuration::from_secs(30)).unwrap();
            reconcile(&lie)
        },
        Promise::Returns,
    );
}

#[test]
fn mutants_of_ordinals_and_of_policies_in_force_are_caught() {
    caught(
        "makes a reserved ordinal",
        "3@a | 0:ok@a | | reserve=1",
        policies_seem(Vec::clear),
        Promise::OnePodPerName,
    );
    caught(
        "drops claims that shall stay",
        "2@a data | 0:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1",
        policy_seems(|spec| {
            spec.ordinals.as_mut().unwrap().claims = Some("Delete".to_owned());
        }),
        Promise::ClaimsKept,
    );
    caught(
        "makes all at once",
        "4@a parallel | | | pace=2",
        policy_seems(|spec| spec.scaling = None),
        Promise::Ascending,
    );
    caught(
        "makes together what is to be made in order",
        "3@b from=a | 0:ok@a | | max=2",
        policy_seems(|spec| {
            spec.rollout.as_mut().unwrap().creation = Some("Batched".to_owned());
        }),
        Promise::Ascending,
    );
    caught(
        "follows one of two",
        "2@b from=a | 0:ok@a 1:ok@a | | paused twice",
        policies_seem(|policies| policies.truncate(1)),
        Promise::PossibleWaits,
    );
    caught(
        "tells a policy that it is in force",
        "2@a | 0:ok@a 1:ok@a | | paused twice",
        policies_seem(|policies| policies.truncate(1)),
        Promise::Accepted,
    );
}
