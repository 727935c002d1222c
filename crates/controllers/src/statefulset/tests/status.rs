//! Rows of the status: T1 to T10.

use std::sync::Arc;

use api::k8s::{api::apps::v1::StatefulSetCondition, apimachinery::pkg::apis::meta::v1::Time};

use super::{
    super::reconcile,
    case::{NOW, check, check_status, view},
};
use crate::Verb;

#[test]
fn t1_what_each_count_counts() {
    check_status(
        "
        // replicas/ready/available current+updated@current>update
        3@b from=a partition=2 | 0:ok@a 1:ok@a 2:ok@b => 3/3/3 2+1@a>b
        3@b from=a | 0:ok@a 1:unready@a 2:pending@b => 3/1/1 2+1@a>b
        // going: still there and ready, of no revision any more
        3@b from=a | 0:ok@a 1:term@a 2:ok@b        => 3/3/3 1+1@a>b
        3@b from=a | 0:ok@a 1:failed@a 2:ok@b      => 3/2/2 2+1@a>b
        4@b from=a min=10 | 0:ok@a 1:ok@a 2:ok@a 3:new@b => 4/4/3 3+1@a>b
        // one pod counts in both where the revisions are one
        2@a | 0:ok@a                               => 1/1/1 1+1@a>a
        // those that are not wanted count until they are gone
        1@a | 0:ok@a 1:ok@a                        => 2/2/2 2+2@a>a
        ",
    );
}

/// Upstream's integration tests: what the counts of a mixed set are.
#[test]
fn t1_four_pods_three_ready_two_available() {
    check_status(
        "
        4@a min=10 parallel | 0:ok@a 1:ok@a 2:new@a 3:unready@a => 4/3/2 4+4@a>a
        4@a min=10 | 0:ok@a 1:ok@a 2:new@a 3:unready@a          => 4/3/2 4+4@a>a
        ",
    );
}

#[test]
fn y6_t2_counts_are_those_before_the_plan() {
    check_status(
        "
        2@a | 0:ok@a                    => 1/1/1 1+1@a>a
        0@a | 0:ok@a                    => 1/1/1 1+1@a>a
        // but a pod that is deleted for its update is taken off
        3@b from=a | 0:ok@a 1:ok@a 2:ok@a => 3/3/3 2+0@a>b
        4@b from=a max=2 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a => 4/4/4 2+0@a>b
        // when the set is going, the pods are counted all the same
        2@a deleting | 0:ok@a 1:unready@a => 2/1/1 2+2@a>a
        ",
    );
}

/// Section 18, T4: upstream looks at readiness, not availability (136831), and never completes an
/// OnDelete update (73492).
#[test]
fn t4_fix_completion() {
    check_status(
        "
        2@b from=a | 0:ok@b 1:ok@b                   => 2/2/2 2+2@b>b
        2@b from=a | 0:ok@b 1:unready@b              => 2/1/1 0+2@a>b
        2@b from=a nil | 0:ok@b 1:ok@b               => 2/2/2 2+2@b>b
        // upstream: 2/2/1 2+2@b>b
        2@b from=a min=10 | 0:ok@b 1:new@b           => 2/2/1 0+2@a>b
        // upstream: 2/2/2 0+2@a>b, for ever
        2@b from=a ondelete | 0:ok@b 1:ok@b          => 2/2/2 2+2@b>b
        2@b from=a ondelete | 0:ok@a 1:ok@b          => 2/2/2 1+1@a>b
        // a pod too many, or too few
        1@b from=a | 0:ok@b 1:ok@b                   => 2/2/2 0+2@a>b
        3@b from=a | 0:ok@b 1:ok@b                   => 2/2/2 0+2@a>b
        0@b from=a |                                 => 0/0/0 0+0@b>b
        ",
    );
}

#[test]
fn t5_a_partition_keeps_the_current_revision() {
    check_status("3@b from=a partition=2 | 0:ok@a 1:ok@a 2:ok@b => 3/3/3 2+1@a>b");
}

#[test]
fn t6_written_only_when_it_differs() {
    check_status(
        "
        1@a counts=1/1/1/1/1 | 0:ok@a   => as it was
        1@a counts=1/0/0/1/1 | 0:ok@a   => 1/1/1 1+1@a>a
        0@a |                           => as it was
        0@a counts=0/0/0/0/0 |          => as it was
        // servers before 1.22 know no availableReplicas, nor minReadySeconds
        1@a counts=1/1/-/1/1 told | 0:ok@a  => as it was
        1@a counts=1/0/-/1/1 | 0:ok@a       => 1/1/1 1+1@a>a
        1@a counts=1/1/-/1/1 | 0:unready@a  => 1/0/0 1+1@a>a
        1@a counts=1/1/-/1/1 min=10 | 0:ok@a => 1/1/1 1+1@a>a
        ",
    );
    let mut later = view("1@a counts=1/1/1/1/1 | 0:ok@a");
    Arc::make_mut(&mut later.set).metadata.generation = Some(2);
    assert_eq!(reconcile(&later).to_string(), "update status of StatefulSet web");
    // T3: the collision count alone is not worth a write.
    let mut bare = view("1@a counts=1/1/1/1/1 told | 0:ok@a");
    Arc::make_mut(&mut bare.set).status.as_mut().unwrap().collision_count = None;
    assert_eq!(reconcile(&bare).to_string(), "nothing to do");
}

#[test]
fn t3_names_generation_and_collisions_are_always_there() {
    let plan = reconcile(&view("1@a | 0:ok@a"));
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    let status = &object.to_value()["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["collisionCount"], 0);
    assert!(plan.actions[0].always, "Y12: written although another action failed");
}

/// Section 18, T7: upstream erases what others wrote here.
#[test]
fn t7_fix_conditions_of_others_are_kept() {
    let mut seen = view("1@a | 0:ok@a");
    let condition = StatefulSetCondition {
        type_: "Audited".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(NOW.parse().unwrap())),
        ..StatefulSetCondition::default()
    };
    Arc::make_mut(&mut seen.set).status.as_mut().unwrap().conditions = Some(vec![condition]);
    let plan = reconcile(&seen);
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    assert_eq!(object.to_value()["status"]["conditions"][0]["type"], "Audited");
}

/// Section 18, T8: upstream takes one off even where the deleted pod was of a third revision, sends
/// -1, and is refused for ever.
#[test]
fn t8_fix_only_a_pod_of_the_current_revision_is_taken_off() {
    check_status(
        "
        // upstream: currentReplicas -1
        1@c from=a had=a,b,c | 0:ok@b                => 1/1/1 0+0@a>c
        2@c from=a had=a,b,c | 0:ok@a 1:ok@b         => 2/2/2 1+0@a>c
        1@b from=a parallel | 0:unready@a            => 1/0/0 0+0@a>b
        ",
    );
}

#[test]
fn t10_looks_again_when_time_alone_makes_a_pod_available() {
    check(
        "
        2@a min=10 | 0:ok@a 1:new@a          => until 1 is healthy; look again in 5s
        2@a min=10 | 0:ok@a 1:ok@a           => nothing
        2@a min=10 parallel | 0:undated@a 1:new@a => until 1 is healthy; look again in 5s
        2@a min=10 deleting | 0:ok@a 1:new@a => look again in 5s
        2@a | 0:ok@a 1:unready@a             => until 1 is healthy
        ",
    );
}

/// A status never names a revision that may not exist: it waits for the revision's creation.
#[test]
fn y12_a_failed_revision_stops_the_status() {
    let plan = reconcile(&view("1@b from=a had=a | 0:ok@a"));
    let status = plan
        .actions
        .iter()
        .find(|action| matches!(action.verb, Verb::Update { subresource: Some("status"), .. }));
    assert!(!status.unwrap().always);
}
