//! Rows of what a StatefulSetPolicy asks for, named by the demands that they answer (issue 3, 3 to 7).

use std::sync::Arc;

use api::policy::StatefulSetPolicy;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{Rules, View, reconcile, without_set},
    case::{NOW, check, check_conditions, check_events, revision_name},
    world::World,
};
use crate::Verb;

/// The policies that these words ask for: none without words, two with `twice`.
pub(super) fn policies(wishes: &[&str]) -> Vec<Arc<StatefulSetPolicy>> {
    if wishes.is_empty() {
        return Vec::new();
    }
    let mut spec = json!({"statefulSetName": "web"});
    for word in wishes {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
        match key {
            "replace" => spec["rollout"]["replaceBrokenPods"] = json!(true),
            "max" => spec["rollout"]["maxUnavailable"] = number(),
            "batched" => spec["rollout"]["creation"] = json!("Batched"),
            "deadline" => spec["rollout"]["progressDeadlineSeconds"] = number(),
            "return" => spec["rollout"]["onDeadline"] = json!("Return"),
            "pace" => spec["scaling"]["maxUnavailable"] = number(),
            "reserve" => {
                spec["ordinals"]["reserved"] = json!(value.split(',').collect::<Vec<_>>());
            }
            "drop" => spec["ordinals"]["claims"] = json!("Delete"),
            "paused" => spec["paused"] = json!(true),
            "since" | "held" | "completed" | "gone" | "twice" | "untold" => (),
            other => panic!("no policy is `{other}`"),
        }
    }
    let policy = |name: &str| {
        let policy: Value = json!({"metadata": {"name": name, "namespace": "default", "uid": name,
            "resourceVersion": "1", "generation": 1}, "spec": spec});
        Arc::new(serde_json::from_value(policy).unwrap())
    };
    let names = if wishes.contains(&"twice") { vec!["p", "q"] } else { vec!["p"] };
    names.into_iter().map(policy).collect()
}

/// Gives the policies the status that they have by now.
///
/// `since=S`: the rollout moved last S seconds ago; `held=S`: it was paused S seconds ago;
/// `completed=R`, `gone=R`: the revision that completed last, or was given up.
pub(super) fn settle(view: &mut View, wishes: &[&str]) {
    view.rules = Rules::of(&view.set, &view.policies);
    if wishes.is_empty() || wishes.contains(&"untold") {
        return;
    }
    let said = |key: &str| wishes.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    for tag in [("completed", "lastCompletedRevision"), ("gone", "returnedFrom")] {
        let Some(revision) = said(tag.0) else { continue };
        let policy = Arc::make_mut(&mut view.policies[0]);
        let mut status = json!(policy.status.clone().unwrap_or_default());
        status[tag.1] = json!(revision_name(revision));
        policy.status = serde_json::from_value(status).unwrap();
    }
    let kept = view.policies[0].status.clone().and_then(|status| status.returned_from);
    for action in reconcile(view).actions {
        let Verb::Update { object, subresource: Some("status") } = &action.verb else { continue };
        let Some(told) = object.as_any().downcast_ref::<StatefulSetPolicy>() else { continue };
        for policy in &mut view.policies {
            if policy.metadata.name == told.metadata.name {
                *policy = Arc::new(told.clone());
            }
        }
    }
    let now: Timestamp = NOW.parse().unwrap();
    let ago = |seconds: &str| now - SignedDuration::from_secs(seconds.parse().unwrap());
    let policy = Arc::make_mut(&mut view.policies[0]);
    let mut status = json!(policy.status.clone().unwrap_or_default());
    status["returnedFrom"] = json!(kept);
    for (word, kind) in [("since", "Progressing"), ("held", "Paused")] {
        let Some(seconds) = said(word) else { continue };
        let mut others = status["conditions"].as_array().cloned().unwrap_or_default();
        others.retain(|one| one["type"] != kind);
        others.push(json!({"type": kind, "status": "True", "reason": "Test", "message": "",
            "lastTransitionTime": ago(seconds).to_string()}));
        status["conditions"] = json!(others);
    }
    policy.status = serde_json::from_value(status).unwrap();
}

#[test]
fn demand_1_a_broken_pod_of_an_old_revision_is_replaced_at_once() {
    check(
        "
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | replace      => delete 2; say ReplacedBrokenPod; until 2 is gone
        3@c from=a had=a,b,c | 0:crash@b 1:ok@a 2:crash@b | | replace   => delete 2; delete 0; say ReplacedBrokenPod; say ReplacedBrokenPod; until 0 is gone
        3@c from=a had=a,b,c parallel | 0:crash@b 1:ok@a 2:pending@c | | replace => delete 0; say ReplacedBrokenPod; until 2 is healthy
        // a healthy one of the bad revision is not touched until its turn
        3@c from=a had=a,b,c | 0:ok@a 1:ok@b 2:crash@b | | replace      => delete 2; say ReplacedBrokenPod; until 2 is gone
        // nor is a broken one at the update revision, or one that goes already
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@c | | replace      => until 2 is healthy
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash-term@b | | replace => until 2 is gone
        // below the partition a pod would come back as it was
        3@c from=a had=a,b,c partition=3 | 0:ok@a 1:ok@a 2:crash@b | | replace => until 2 is healthy
        2@b from=a min=10 | 0:ok@a 1:new@a | | replace                  => delete 1; say ReplacedBrokenPod; until 1 is gone; look again in 5s
        // without the struct, the hole is filled with the update revision as well
        2@b from=a nil counts=2/1/1/2/0 | 0:crash@a 1:ok@a | | replace  => delete 0; say ReplacedBrokenPod; until 0 is gone
        2@b from=a nil counts=2/1/1/2/0 | 1:ok@a | | replace            => create 0@b; until 0 is healthy
        ",
    );
}

#[test]
fn demand_1_without_a_policy_in_force_upstreams_waiting_stands() {
    check(
        "
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b                  => until 2 is healthy
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | max=2        => until 2 is healthy
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | replace twice => until 2 is healthy
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | replace paused => until 2 is healthy
        2@b from=a ondelete | 0:crash@a 1:ok@a | | replace              => until 0 is healthy
        2@b from=a ondelete | 0:ok@a 1:ok@a | | max=2                   => nothing
        ",
    );
}

/// Bad image, then good image, OrderedReady: no human, healthy pods untouched.
#[test]
fn demand_1_a_good_template_after_a_bad_one_needs_no_human() {
    for wish in ["replace", "replace max=2", "replace max=2 batched"] {
        for policy in ["", "parallel"] {
            let mut world = World::new(&format!("3@a {policy} unrevised | | | {wish}"));
            world.live();
            world.done();
            world.template("b");
            world.settle();
            let bad: Vec<String> =
                world.done().split(' ').map(|d| d.replace('-', "web-")).collect();
            bad.iter().for_each(|name| world.remove(name));
            world.settle();
            for name in world.view.pods.clone().iter().filter_map(|pod| pod.metadata.name.clone()) {
                if bad.contains(&name) {
                    world.become_as(&name, "crash");
                }
            }
            world.settle();
            world.done();
            world.template("c");
            world.settle();
            let replaced = world.done();
            assert!(!replaced.contains("-0"), "{wish} {policy}: the healthy pod stays: {replaced}");
            for name in replaced.split(' ').filter_map(|done| done.strip_prefix('-')) {
                assert!(bad.contains(&format!("web-{name}")), "{wish} {policy}: {replaced}");
            }
            world.live();
            assert_eq!(world.pods(), "0@c 1@c 2@c", "{wish} {policy}");
        }
    }
}

#[test]
fn demand_7_a_budget_in_both_pod_management_policies() {
    check(
        "
        4@b from=a | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=2            => delete 3; delete 2; until 3 is gone
        4@b from=a parallel | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=2   => delete 3; delete 2; until 3 is gone
        4@b from=a | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=50%          => delete 3; delete 2; until 3 is gone
        3@b from=a | 0:ok@a 1:ok@a 2:ok@a | | max=10%                 => delete 2; until 2 is gone
        // the policy's word goes before the set's own
        4@b from=a max=1 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | max=3      => delete 3; delete 2; delete 1; until 3 is gone
        4@b from=a max=2 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | replace    => delete 3; delete 2; until 3 is gone
        // broken old pods never eat the budget
        3@c from=a had=a,b,c parallel | 0:ok@a 1:ok@a 2:crash@b | | max=1 => delete 2; until 2 is gone
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b | | max=1 replace  => delete 2; say ReplacedBrokenPod; until 2 is gone
        ",
    );
}

#[test]
fn demand_7_what_was_deleted_together_is_made_together() {
    check(
        "
        3@b from=a | 0:ok@a | | max=2                       => create 1@b; until 1 is healthy
        3@b from=a | 0:ok@a | | max=2 batched               => create 1@b; create 2@b; until 1 is healthy
        3@b from=a | 0:ok@a 1:pending@b | | max=2 batched   => create 2@b; until 1 is healthy
        3@b from=a | 0:ok@a 2:term@a | | max=2 batched      => create 1@b; until 1 is healthy
        // more is down than the rollout took: one by one
        4@b from=a | 0:ok@a | | max=2 batched               => create 1@b; until 1 is healthy
        // nothing is rolled out: scaling goes one by one
        3@a | 0:ok@a | | max=2 batched                      => create 1@a; until 1 is healthy
        ",
    );
}

#[test]
fn demand_7_bounded_scaling() {
    check(
        "
        4@a | | | pace=2                          => create 0@a; create 1@a; until 0 is healthy
        4@a | | | pace=50%                        => create 0@a; create 1@a; until 0 is healthy
        4@a | 0:pending@a | | pace=2              => create 1@a; until 0 is healthy
        4@a | 0:pending@a 1:pending@a | | pace=2  => until 0 is healthy
        4@a parallel | | | pace=2                 => create 0@a; create 1@a; until 0 is healthy
        4@a parallel | 0:pending@a 1:ok@a | | pace=2 => create 2@a; until 0 is healthy
        4@a parallel | 0:pending@a 1:ok@a 2:term@a | | pace=2 => until 0 is healthy
        0@a | 0:ok@a 1:ok@a 2:ok@a | | pace=2     => delete 2; delete 1; until 2 is gone
        0@a | 0:ok@a 1:ok@a 2:term@a | | pace=2   => delete 1; until 2 is gone
        0@a | 0:ok@a 1:term@a 2:term@a | | pace=2 => until 2 is gone
        0@a parallel | 0:ok@a 1:ok@a 2:term@a | | pace=2 => delete 1; until 2 is gone
        ",
    );
}

#[test]
fn demand_5_reserved_ordinals_are_passed_over() {
    check(
        "
        3@a | | | reserve=0                               => create 1@a; until 1 is healthy
        3@a | 0:ok@a 2:ok@a | | reserve=1                 => create 3@a; until 3 is healthy
        // one that has a pod loses it, after the wanted ones are well
        3@a | 0:ok@a 1:ok@a 2:ok@a | | reserve=1          => create 3@a; until 3 is healthy
        3@a | 0:ok@a 1:ok@a 2:ok@a 3:ok@a | | reserve=1   => delete 1; until 1 is gone
        2@a | 0:ok@a 1:ok@a 2:ok@a | | reserve=1          => delete 1; until 1 is gone
        2@a | 0:ok@a 2:ok@a | | reserve=1                 => nothing
        // start and ranges
        2@a start=5 | | | reserve=8,5-6                   => create 7@a; until 7 is healthy
        2@a start=5 | 7:ok@a | | reserve=8,5-6            => create 9@a; until 9 is healthy
        2@a start=5 | 5:ok@a 6:ok@a | | reserve=0-4       => nothing
        // scale and partition follow the position
        3@b from=a partition=2 | 0:ok@a 2:ok@a 3:ok@a | | reserve=1 => delete 3; until 3 is gone
        3@b from=a partition=2 | 0:ok@a 3:ok@b | | reserve=1        => create 2@a; until 2 is healthy
        3@b from=a partition=2 | 0:ok@a 2:ok@a | | reserve=1        => create 3@b; until 3 is healthy
        // beyond what an ordinal can be, the policy is not in force
        2@a | | | reserve=1-2147483647                    => create 0@a; until 0 is healthy
        2@a | 0:ok@a | | reserve=1-2147483647             => create 1@a; until 1 is healthy
        ",
    );
}

#[test]
fn demand_5_the_claims_of_a_reserved_ordinal() {
    check(
        "
        2@a data | 0:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1       => nothing
        2@a data | 0:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1 drop  => delete data-web-1
        2@a data | 0:ok@a 2:ok@a | 0:plain 1:going 2:plain | reserve=1 drop  => nothing
        // not before its pod is gone, and not another's
        2@a data | 0:ok@a 1:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1 drop => delete 1; until 1 is gone
        2@a data | 0:ok@a 2:ok@a | 0:plain 1:boss 2:plain | reserve=1 drop   => nothing
        // scaling's word is not asked
        2@a data scaled=Delete | 0:ok@a 1:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1 => delete 1; until 1 is gone
        ",
    );
    check_events(
        "
        2@a data | 0:ok@a 2:ok@a | 0:plain 1:plain 2:plain | reserve=1 drop  => Normal SuccessfulDelete Delete Claim data-web-1 of reserved ordinal 1 successful
        ",
    );
}

#[test]
fn demand_4_a_paused_rollout_replaces_nothing() {
    check(
        "
        2@b from=a | 0:ok@a 1:ok@a | | paused           => until StatefulSetPolicy p is not paused
        2@b from=a parallel | 0:ok@a 1:unready@a | | paused max=2 => until StatefulSetPolicy p is not paused
        2@a | 0:ok@a 1:ok@a | | paused                  => nothing
        // lost pods come back, on their side of the rollout; scaling goes on
        2@b from=a | 0:ok@a | | paused                  => create 1@a; until 1 is healthy
        3@b from=a | 0:ok@a 1:ok@b | | paused           => create 2@b; until 2 is healthy
        3@b from=a | 1:ok@b 2:ok@b | | paused           => create 0@a; until 0 is healthy
        1@b from=a | 0:ok@a 1:ok@a | | paused           => delete 1; until 1 is gone
        2@b from=a | 0:failed@a 1:ok@a | | paused       => delete 0; until 0 is gone
        ",
    );
    check_conditions(
        "
        2@b from=a | 0:ok@a 1:ok@a | | paused => Available True AllPodsAvailable: all 2 pods are available | Progressing Unknown Paused: 0 of 2 pods are at revision b; StatefulSetPolicy p has paused the rollout
        ",
    );
}

#[test]
fn demand_4_the_progress_deadline() {
    check(
        "
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=30 => until 1 is healthy; look again in 30s
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=60 => say ProgressDeadlineExceeded; until 1 is healthy
        // a server that knows no availableReplicas
        2@b from=a counts=2/1/-/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=60 => say ProgressDeadlineExceeded; until 1 is healthy
        // another pod is available: the clock begins anew
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:ok@b | | deadline=60 since=60    => delete 0; until 0 is gone; look again in 60s
        // all is rolled out: nothing is counted
        2@b from=b counts=2/2/2/2/2 | 0:ok@b 1:ok@b | | deadline=60             => nothing
        // while it is paused the clock stands, and goes on after that
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=600 paused => until 1 is healthy
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=600 held=570 => say Resumed; until 1 is healthy; look again in 30s
        ",
    );
    check_conditions(
        "
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:unready@b | | deadline=60 since=60 => Available False PodNotReady: 1 of 2 available: pod web-1 is not Ready since 2026-01-01T00:00:00Z | Progressing False ProgressDeadlineExceeded: no progress since 2026-01-01T00:59:00Z, for more than 60 s; pod web-1 is not Ready since 2026-01-01T00:00:00Z
        ",
    );
}

#[test]
fn demand_1_after_the_deadline_the_set_returns() {
    check(
        "
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=60 return completed=a => say ProgressDeadlineExceeded; update StatefulSet web
        // nothing on record: the current revision, where it serves
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=60 return      => say ProgressDeadlineExceeded; update StatefulSet web
        2@b from=a counts=2/0/0/1/1 | 0:unready@a 1:crash@b | | deadline=60 since=60 return => say ProgressDeadlineExceeded; until 0 is healthy
        // nowhere to go
        2@b from=b counts=2/0/0/2/2 | 0:unready@b 1:crash@b | | deadline=60 since=60 return => say ProgressDeadlineExceeded; until 0 is healthy
        2@b from=a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 since=600 return completed=a paused => until 1 is healthy
        // back again, the pods of what was given up are not waited for
        2@a from=a had=b,a counts=2/1/1/1/1 | 0:ok@a 1:crash@b | | deadline=60 return completed=a gone=b => delete 1; say ReplacedBrokenPod; until 1 is gone; look again in 60s
        ",
    );
}

/// The whole way: a bad template, the deadline, the old template, and all pods are well.
#[test]
fn demand_1_a_set_returns_by_itself_to_its_last_completed_revision() {
    let mut world = World::new("3@a unrevised | | | deadline=60 return");
    world.live();
    world.template("b");
    world.settle();
    world.remove("web-2");
    world.settle();
    world.become_as("web-2", "crash");
    world.settle();
    let status = |world: &World| world.view.policies[0].status.clone().unwrap();
    assert_eq!(status(&world).last_completed_revision, Some(revision_name("a")));
    assert_eq!(world.pods(), "0@a 1@a 2@b");
    world.view.now += SignedDuration::from_secs(61);
    world.settle();
    assert_eq!(status(&world).returned_from, Some(revision_name("b")));
    world.live();
    assert_eq!(world.pods(), "0@a 1@a 2@a");
    assert_eq!(status(&world).last_completed_revision, Some(revision_name("a")));
    let kinds = |world: &World| {
        let conditions = status(world).conditions.unwrap_or_default();
        conditions.iter().map(|one| format!("{}={}", one.type_, one.status)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&world), ["Accepted=True", "RolledBack=True"]);
    // The next rollout forgets it.
    world.template("c");
    world.live();
    assert_eq!(world.pods(), "0@c 1@c 2@c");
    assert_eq!(status(&world).returned_from, None);
    assert_eq!(kinds(&world), ["Accepted=True"]);
}

/// What the policy is told: `Accepted`, and why not.
#[test]
fn a_policy_is_told_whether_it_is_in_force() {
    check_events(
        "
        1@a told counts=1/1/1/1/1 | 0:ok@a | | replace untold       => Normal Accepted StatefulSet \"web\" follows this policy
        1@a told counts=1/1/1/1/1 | 0:ok@a | | paused untold        => Normal Accepted StatefulSet \"web\" follows this policy; Normal Paused no pod is replaced for its revision
        1@a told counts=1/1/1/1/1 | 0:ok@a | | paused               =>
        1@a told ondelete counts=1/1/1/1/1 | 0:ok@a | | max=2 untold => Warning Contradicts rollout.maxUnavailable is set, and the StatefulSet's update strategy is OnDelete
        1@a told counts=1/1/1/1/1 | 0:ok@a | | reserve=0-2147483647 untold => Warning Contradicts with these ordinals reserved, the last of 1 pods would have ordinal 2147483648, which is greater than 2147483647
        1@a told counts=1/1/1/1/1 | 0:ok@a | | paused twice untold   => Warning Conflicting policies p, q name one StatefulSet: none is in force; Warning Conflicting policies p, q name one StatefulSet: none is in force
        ",
    );
}

#[test]
fn a_policy_without_a_set_is_told_so_once() {
    let mut policies = policies(&["replace"]);
    let now: Timestamp = NOW.parse().unwrap();
    let plan = without_set("web", &policies, now);
    let shown = "update status of StatefulSetPolicy p; say SetNotFound";
    assert_eq!(plan.to_string(), shown);
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    policies[0] = Arc::new(object.as_any().downcast_ref::<StatefulSetPolicy>().unwrap().clone());
    let status = policies[0].status.clone().unwrap();
    assert_eq!(status.conditions.unwrap()[0].message, "StatefulSet \"web\" is not found");
    assert_eq!(without_set("web", &policies, now).to_string(), "nothing to do");
}

/// What is told is not told again, and a converged set with a policy rests.
#[test]
fn a_policy_at_rest_is_not_written() {
    for wish in ["replace", "paused", "max=2 batched", "deadline=60 return", "reserve=1", "pace=2"]
    {
        let mut world = World::new(&format!("2@a unrevised | | | {wish}"));
        world.live();
        world.view.now += SignedDuration::from_secs(3600);
        assert_eq!(reconcile(&world.view).to_string(), "nothing to do", "{wish}");
    }
}
