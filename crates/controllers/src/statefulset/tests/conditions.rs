//! Rows of the set's conditions, which upstream does not write (demand 4, issue 3 section 2).

use std::sync::Arc;

use api::k8s::{
    api::apps::v1::StatefulSetCondition, apimachinery::pkg::apis::meta::v1::Time as ApiTime,
};

use super::{
    super::{Refused, reconcile},
    case::{NOW, check_conditions, tell, view, written},
};

#[test]
fn conditions_say_what_the_pods_are() {
    check_conditions(
        "
        1@a | 0:ok@a => Available True AllPodsAvailable: its pod is available | Progressing True Complete: revision a is on all pods
        0@a |        => Available True AllPodsAvailable: the set wants no pods | Progressing True Complete: revision a is on all pods
        // the lowest pod that is not available is named
        3@a | 0:ok@a 1:unready@a 2:term@a => Available False PodNotReady: 1 of 3 available: pod web-1 is not Ready since 2026-01-01T00:00:00Z | Progressing True PodsUnavailable: pod web-1 is not Ready since 2026-01-01T00:00:00Z
        1@a | 0:term@a    => Available False PodTerminating: 0 of 1 available: pod web-0 is being deleted since 2026-01-01T00:59:00Z | Progressing True PodsUnavailable: pod web-0 is being deleted since 2026-01-01T00:59:00Z
        1@a | 0:failed@a  => Available False PodEnded: 0 of 1 available: pod web-0 has ended as Failed | Progressing True PodsUnavailable: pod web-0 has ended as Failed
        1@a min=10 | 0:new@a => Available False PodSettling: 0 of 1 available: pod web-0 is Ready since 2026-01-01T00:59:55Z and counts as available after 10 s of it | Progressing True PodsUnavailable: pod web-0 is Ready since 2026-01-01T00:59:55Z and counts as available after 10 s of it
        ",
    );
}

#[test]
fn progressing_says_what_the_set_is_at() {
    check_conditions(
        "
        2@b from=a | 0:ok@a 1:ok@b      => Available True AllPodsAvailable: all 2 pods are available | Progressing True RollingUpdate: 1 of 2 pods are at revision b; pod web-0 is to go
        2@b from=a | 0:ok@a 1:unready@b => Available False PodNotReady: 1 of 2 available: pod web-1 is not Ready since 2026-01-01T00:00:00Z | Progressing True RollingUpdate: 1 of 2 pods are at revision b; pod web-1 is not Ready since 2026-01-01T00:00:00Z
        2@b from=a partition=1 | 0:ok@a 1:ok@b => Available True AllPodsAvailable: all 2 pods are available | Progressing True PartitionReached: revision b is on all pods from the partition on
        2@b from=a ondelete | 0:ok@a 1:ok@b => Available True AllPodsAvailable: all 2 pods are available | Progressing True OnDelete: 1 of 2 pods are at revision b; the others follow when someone deletes them
        2@a | 0:ok@a        => Available False PodMissing: 1 of 2 available: pod web-1 is to be made | Progressing True Scaling: 1 pods are there, 2 wanted; pod web-1 is to be made
        1@a | 0:ok@a 1:ok@a => Available True AllPodsAvailable: its pod is available | Progressing True Scaling: 2 pods are there, 1 wanted; pod web-1 is to go
        ",
    );
}

#[test]
fn replica_failure_is_there_while_nothing_ends_it_by_itself() {
    check_conditions(
        "
        2@a | 0:crash@a 1:ok@a => Available False CrashLoopBackOff: 1 of 2 available: pod web-0 is not Ready since 2026-01-01T00:00:00Z: container nginx is in CrashLoopBackOff | Progressing True PodsUnavailable: pod web-0 is not Ready since 2026-01-01T00:00:00Z: container nginx is in CrashLoopBackOff | ReplicaFailure True CrashLoopBackOff: pod web-0 is not Ready since 2026-01-01T00:00:00Z: container nginx is in CrashLoopBackOff
        1@a | 0:stuck@a   => Available False Unschedulable: 0 of 1 available: pod web-0 is not scheduled: Unschedulable | Progressing True PodsUnavailable: pod web-0 is not scheduled: Unschedulable | ReplicaFailure True Unschedulable: pod web-0 is not scheduled: Unschedulable
        1@a | 0:foreign@a => Available False NameTaken: 0 of 1 available: pod web-0 is not made: a pod of its name is there, owned by StatefulSet web | Progressing True Scaling: 0 pods are there, 1 wanted; pod web-0 is not made: a pod of its name is there, owned by StatefulSet web | ReplicaFailure True NameTaken: pod web-0 is not made: a pod of its name is there, owned by StatefulSet web
        // a claim that goes ends by itself
        1@a data | | 0:going => Available False ClaimTerminating: 0 of 1 available: pod web-0 is not made: claim data-web-0 is being deleted since 2026-01-01T00:59:00Z | Progressing True Scaling: 0 pods are there, 1 wanted; waits until claim data-web-0 is gone
        ",
    );
}

/// A condition that is told is not told again, whatever the clock says.
#[test]
fn what_is_told_is_not_written_again() {
    for case in [
        "2@a told | 0:ok@a 1:unready@a",
        "2@a told | 0:ok@a 1:crash@a",
        "2@a told | 0:ok@a 1:term@a",
        "2@a told min=10 | 0:ok@a 1:new@a",
        "2@a told | 0:ok@a 1:foreign@a",
        "2@a told data | 0:ok@a | 1:going",
        "2@b told from=a partition=1 | 0:ok@a 1:ok@b",
        "2@b told from=a ondelete | 0:ok@a 1:ok@a",
    ] {
        let mut view = view(case);
        // The counts are told, too.
        let plan = reconcile(&view);
        if let Some(set) = written(&plan) {
            view.set = Arc::new(set.clone());
        }
        view.now = view.now.checked_add(jiff::SignedDuration::from_secs(2)).unwrap();
        assert!(written(&reconcile(&view)).is_none(), "{case}");
    }
}

/// The transition time moves with the status, not with the words.
#[test]
fn since_when_is_when_the_status_changed() {
    let mut seen = view("2@a told | 0:ok@a 1:unready@a");
    let since = |view: &super::super::View, kind: &str| {
        let status = view.set.status.clone().unwrap();
        let mut all = status.conditions.unwrap().into_iter();
        all.find(|one| one.type_ == kind).unwrap().last_transition_time.unwrap().0.to_string()
    };
    seen.now = "2026-01-01T02:00:00.5Z".parse().unwrap();
    seen.pods[1] = Arc::new(super::case::pod(1, "crash", "a"));
    tell(&mut seen);
    assert_eq!(since(&seen, "Available"), NOW);
    assert_eq!(since(&seen, "ReplicaFailure"), "2026-01-01T02:00:00Z", "whole seconds");
    seen.pods[1] = Arc::new(super::case::pod(1, "ok", "a"));
    tell(&mut seen);
    assert_eq!(since(&seen, "Available"), "2026-01-01T02:00:00Z");
}

/// What the API server refuses is told, with its words.
#[test]
fn a_refusal_is_a_replica_failure() {
    let mut seen = view("2@a | 0:ok@a");
    let error = "pods \"web-1\" is forbidden: exceeded quota".to_owned();
    seen.refused = Some(Refused { error, since: NOW.parse().unwrap() });
    tell(&mut seen);
    let conditions = seen.set.status.clone().unwrap().conditions.unwrap();
    let failure = conditions.iter().find(|one| one.type_ == "ReplicaFailure").unwrap();
    assert_eq!(failure.reason.as_deref(), Some("FailedCreate"));
    assert_eq!(
        failure.message.as_deref(),
        Some(
            "pod web-1 is not made since 2026-01-01T01:00:00Z: pods \"web-1\" is forbidden: \
             exceeded quota"
        )
    );
}

/// Those of others stay, byte for byte and in their places; ours go where they were.
#[test]
fn conditions_of_others_stay_where_they_are() {
    let mut seen = view("1@a | 0:ok@a");
    let other = |kind: &str| StatefulSetCondition {
        type_: kind.to_owned(),
        status: "Maybe".to_owned(),
        message: Some(format!("{kind} says")),
        last_transition_time: Some(ApiTime("1999-01-01T00:00:00.25Z".parse().unwrap())),
        ..StatefulSetCondition::default()
    };
    let mine = StatefulSetCondition { type_: "Available".to_owned(), ..other("x") };
    let given = vec![other("Audited"), mine, other("Paid")];
    Arc::make_mut(&mut seen.set).status.as_mut().unwrap().conditions = Some(given.clone());
    tell(&mut seen);
    let told = seen.set.status.clone().unwrap().conditions.unwrap();
    let kinds: Vec<&str> = told.iter().map(|one| one.type_.as_str()).collect();
    assert_eq!(kinds, ["Audited", "Available", "Paid", "Progressing"]);
    assert_eq!((&told[0], &told[2]), (&given[0], &given[2]));
}
