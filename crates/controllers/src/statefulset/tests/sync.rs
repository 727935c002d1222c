//! Rows of the order of a turn: Y, L, X, O, A, E and the table of events.

use super::{
    super::{member_ordinal, reconcile},
    case::{check, check_events, check_failures, short, view},
};
use crate::Verb;

#[test]
fn l2_y11_fills_in_ascending_order_one_at_a_time() {
    check(
        "
        3@a |                         => create 0@a; until 0 is healthy
        3@a | 0:pending@a             => until 0 is healthy
        3@a | 0:unready@a             => until 0 is healthy
        3@a | 0:ok@a                  => create 1@a; until 1 is healthy
        3@a | 0:ok@a 2:ok@a           => create 1@a; until 1 is healthy
        3@a | 1:ok@a 2:ok@a           => create 0@a; until 0 is healthy
        3@a | 0:ok@a 1:ok@a 2:ok@a    => nothing
        0@a |                         => nothing
        ",
    );
}

#[test]
fn l1_replaces_what_has_ended() {
    check(
        "
        2@a | 0:failed@a 1:ok@a       => delete 0; until 0 is gone
        2@a | 0:done@a 1:ok@a         => delete 0; until 0 is gone
        2@a | 0:failed-term@a 1:ok@a  => until 0 is gone
        2@a | 0:ok@a 1:failed@a       => delete 1; until 1 is gone
        2@a | 0:unready@a 1:failed@a  => until 0 is healthy
        2@a parallel | 0:unready@a 1:failed@a  => delete 1; until 1 is gone
        2@a parallel | 0:failed@a 1:done-term@a => delete 0; until 1 is gone
        ",
    );
}

#[test]
fn l4_l5_l6_l8_the_lowest_that_is_not_available_stops_the_turn() {
    check(
        "
        3@a | 0:term@a 1:ok@a         => until 0 is gone
        3@a | 0:crash@a 1:failed@a    => until 0 is healthy
        3@a | 0:stuck@a               => until 0 is healthy
        // L8: a lower one is made again although a higher one is unwell.
        3@a | 1:unready@a 2:term@a    => create 0@a; until 0 is healthy
        3@a min=10 | 0:new@a          => until 0 is healthy; look again in 5s
        3@a min=3  | 0:new@a          => create 1@a; until 1 is healthy
        // A node's clock that runs ahead matters only where seconds are counted.
        2@a | 0:ahead@a               => create 1@a; until 1 is healthy
        2@a | 0:undated@a             => create 1@a; until 1 is healthy
        2@a min=10 | 0:undated@a      => until 0 is healthy; look again in 10s
        ",
    );
}

#[test]
fn y11_parallel_waits_for_no_pod() {
    check(
        "
        3@a parallel |                       => create 0@a; create 1@a; create 2@a; until 2 is healthy
        3@a parallel | 0:unready@a 1:term@a  => create 2@a; until 2 is healthy
        3@a parallel | 0:unready@a 1:ok@a 2:ok@a => until 0 is healthy
        3@a parallel ondelete | 0:ok@a 1:term@a 2:ok@a => until 1 is gone
        2@a parallel | 0:ok@a 1:ok@a         => nothing
        ",
    );
}

#[test]
fn y11_parallel_does_five_hundred_at_most() {
    let plan = reconcile(&view("1000000@a parallel |"));
    let creates = |action: &&crate::Action| matches!(&action.verb, Verb::Create(_));
    assert_eq!(plan.actions.iter().filter(creates).count(), 500);
    let claims: Vec<String> = (0..600).map(|ordinal| format!("{ordinal}:going")).collect();
    let plan = reconcile(&view(&format!("601@a parallel data | | {}", claims.join(" "))));
    let text = short(&plan);
    assert!(text.contains("create 600@a"), "those that wait keep no place from others: {text}");
}

#[test]
fn y9_nothing_is_done_for_a_set_that_is_being_deleted() {
    check(
        "
        3@a deleting |                            => nothing
        3@b from=a deleting | 0:failed@a 1:orphan@a 4:ok@a => nothing
        3@b from=a deleting unrevised | 0:stray@a => nothing
        ",
    );
}

#[test]
fn y10_scaling_goes_before_updating() {
    check(
        "
        2@b from=a | 0:ok@a 1:ok@a 2:ok@a   => delete 2; until 2 is gone
        2@b from=a | 0:ok@a 1:ok@a 2:term@a => until 2 is gone
        2@b from=a | 0:ok@a                 => create 1@b; until 1 is healthy
        2@b from=a | 0:ok@a 1:ok@a          => delete 1; until 1 is gone
        ",
    );
}

#[test]
fn x1_x2_shrinks_from_the_top_once_the_rest_is_available() {
    check(
        "
        1@a | 0:ok@a 1:ok@a 2:ok@a       => delete 2; until 2 is gone
        1@a | 0:ok@a 1:ok@a 2:term@a     => until 2 is gone
        1@a | 0:unready@a 1:ok@a         => until 0 is healthy
        1@a | 0:ok@a 1:unready@a 2:ok@a  => delete 2; until 2 is gone
        1@a | 0:ok@a 1:unready@a         => delete 1; until 1 is gone
        1@a | 0:ok@a 1:ok@a 2:unready@a  => delete 2; until 2 is gone
        1@a | 0:ok@a 1:unready@a 2:unready@a => until 2 is healthy
        0@a | 0:unready@a 1:unready@a 2:unready@a => until 2 is healthy
        1@a min=10 | 0:ok@a 1:new@a 2:new@a => until 2 is healthy; look again in 5s
        ",
    );
}

/// Section 18, X2: upstream waits for ever here, as nothing makes these pods ready (issue 57865).
#[test]
fn x2_fix_two_broken_pods_do_not_hold_each_other() {
    check(
        "
        // upstream: until 2 is healthy, which never comes
        1@a | 0:ok@a 1:crash@a 2:crash@a   => delete 2; until 2 is gone
        1@a | 0:ok@a 1:stuck@a 2:stuck@a   => delete 2; until 2 is gone
        1@a | 0:ok@a 1:failed@a 2:failed@a => delete 2; until 2 is gone
        1@a | 0:ok@a 1:unready@a 2:done@a  => delete 2; until 2 is gone
        ",
    );
}

#[test]
fn x3_parallel_shrinks_at_once() {
    check(
        "
        1@a parallel | 0:unready@a 1:crash@a 2:ok@a 3:term@a => delete 2; delete 1; until 0 is healthy
        0@a parallel | 0:ok@a 1:ok@a                         => delete 1; delete 0; until 1 is gone
        ",
    );
}

/// X4 and rule 3 of the design: upstream's deletes name no uid, ours name the one that was seen.
#[test]
fn x4_fix_deletes_name_what_was_seen() {
    let plan = reconcile(&view("0@a | 0:ok@a"));
    let target = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Delete { target, grace_period_s: None, propagation: None, .. } => Some(target),
        _ => None,
    });
    assert_eq!(target.unwrap().uid, "pod-0");
}

/// Y7: in range a replica, with another ordinal condemned, with another name nothing of the set's.
#[test]
fn y7_what_a_pod_is_by_its_name() {
    check(
        "
        2@a | 0:ok@a 1:ok@a              => nothing
        2@a | 0:ok@a 1:ok@a 2:ok@a       => delete 2; until 2 is gone
        2@a start=1 | 0:ok@a 1:ok@a 2:ok@a => delete 0; until 0 is gone
        2@a | 0:ok@a 2:ok@a              => create 1@a; until 1 is healthy
        ",
    );
    let mut odd = view("1@a | 0:ok@a 7:ok@a");
    let named = std::sync::Arc::make_mut(&mut odd.pods[1]);
    named.metadata.name = Some("web-x".to_owned());
    assert_eq!(super::case::short(&reconcile(&odd)), "release x");
}

/// Y8: the one pod that may go although it is not available is the lowest, replicas first.
#[test]
fn y8_the_first_unavailable_pod() {
    check(
        "
        1@a | 0:ok@a 1:ok@a 2:unready@a      => delete 2; until 2 is gone
        1@a | 0:ok@a 1:unready@a 2:unready@a => until 2 is healthy
        1@a | 0:unready@a 1:ok@a 2:ok@a      => until 0 is healthy
        ",
    );
}

/// A7: two sets select one pod: whose it is already keeps it, and its name decides otherwise.
#[test]
fn a7_two_sets_select_one_pod() {
    check(
        "
        1@a | 0:ok@a 1:foreign@a => nothing
        1@a | 0:foreign@a        => say FailedCreate; until 0 is gone
        ",
    );
    let mut twin = view("1@a | 0:ok@a 1:orphan@a");
    std::sync::Arc::make_mut(&mut twin.pods[1]).metadata.name = Some("db-1".to_owned());
    assert_eq!(super::case::short(&reconcile(&twin)), "nothing", "the set `db` takes it in");
}

#[test]
fn o1_the_range_moves_with_its_start() {
    check(
        "
        2@a start=2 | 0:ok@a 1:ok@a             => create 2@a; until 2 is healthy
        2@a start=2 | 0:ok@a 1:ok@a 2:ok@a      => create 3@a; until 3 is healthy
        2@a start=2 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a => delete 1; until 1 is gone
        2@a start=4 | 2:ok@a 4:ok@a 5:ok@a      => delete 2; until 2 is gone
        2@a         | 4:ok@a 5:ok@a             => create 0@a; until 0 is healthy
        2@a start=3 | 0:ok@a 3:ok@a 4:ok@a 9:ok@a => delete 9; until 9 is gone
        ",
    );
}

#[test]
fn o2_claims_of_abandoned_ordinals_follow_the_policy() {
    check(
        "
        1@a start=1 data scaled=Delete | 0:ok@a 1:ok@a | 0:plain 1:plain => own data-web-0: pod-0; delete 0; until 0 is gone
        1@a start=1 data               | 0:ok@a 1:ok@a | 0:plain 1:plain => delete 0; until 0 is gone
        ",
    );
}

#[test]
fn n1_members_are_named_exactly() {
    for (pod, ordinal) in [
        ("web-0", Some(0)),
        ("web-10", Some(10)),
        ("web-2147483647", Some(2_147_483_647)),
        ("web-2147483648", None),
        ("web-", None),
        ("web-a", None),
        ("web", None),
        ("web-+1", None),
        ("web--1", None),
        ("my-web-1", None),
        ("web-1-1", None),
        // Section 18, N1: upstream takes this one in as ordinal 7 and can never mend it.
        ("web-07", None),
        ("web-00", None),
    ] {
        assert_eq!(member_ordinal("web", pod), ordinal, "{pod}");
    }
    assert_eq!(member_ordinal("web-1", "web-1-2"), Some(2));
}

#[test]
fn y4_a1_a2_takes_in_and_lets_go_before_all_else() {
    check(
        "
        2@a | 0:orphan@a              => confirm StatefulSet web; adopt 0
        2@a | 0:orphan@a 1:orphan@a   => confirm StatefulSet web; adopt 0; adopt 1
        2@a | 0:stray@a               => release 0
        2@a | 0:ok@a 5:orphan@a       => confirm StatefulSet web; adopt 5
        2@a | 0:orphan@a 1:stray@a    => confirm StatefulSet web; adopt 0; release 1
        // Not while it is going; and not for a set that is going.
        2@a | 0:orphan-term@a         => until 0 is gone
        2@a deleting | 0:orphan@a 1:stray@a => nothing
        // Another controller's stays its own.
        1@a | 3:foreign@a             => create 0@a; until 0 is healthy
        ",
    );
}

/// E1, A4: upstream stalls here without a word; ours says so (section 18).
#[test]
fn e1_fix_a_squatter_is_named() {
    check(
        "
        1@a | 0:foreign@a             => say FailedCreate; until 0 is gone
        1@a | 0:orphan-stray@a        => say FailedCreate; until 0 is gone
        1@a | 0:foreign-term@a        => until 0 is gone
        ",
    );
    check_events(
        r#"
        1@a | 0:foreign@a => Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: pods "web-0" already exists
        "#,
    );
}

#[test]
fn e2_e3_events_of_pods() {
    check_events(
        "
        1@a |               => Normal SuccessfulCreate Create Pod web-0 in StatefulSet web successful
        0@a | 0:ok@a        => Normal SuccessfulDelete Delete Pod web-0 in StatefulSet web successful
        1@a | 0:nameless@a  => Normal SuccessfulUpdate Update Pod web-0 in StatefulSet web successful
        1@b from=a | 0:ok@a => Normal SuccessfulDelete Delete Pod web-0 in StatefulSet web successful
        // E3: waiting and completion say nothing.
        1@a | 0:unready@a   =>
        1@a | 0:ok@a        =>
        ",
    );
    check_failures(
        "
        1@a |               => Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: E
        0@a | 0:ok@a        => Warning FailedDelete Delete Pod web-0 in StatefulSet web failed error: E
        1@a | 0:nameless@a  => Warning FailedUpdate Update Pod web-0 in StatefulSet web failed error: E
        ",
    );
}

#[test]
fn e4_k11_events_of_claims() {
    check_events(
        "
        1@a data |    => Normal SuccessfulCreate Create Claim data-web-0 Pod web-0 in StatefulSet web success; Normal SuccessfulCreate Create Pod web-0 in StatefulSet web successful
        1@a data | | 0:going => Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: pvc data-web-0 is being deleted
        1@a data deleted=Delete | 0:ok@a | 0:boss => Warning ConflictingController PersistentVolumeClaim data-web-0 has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim
        ",
    );
    check_failures(
        "
        1@a data | 0:pending@a |  => Warning FailedCreate Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: E
        1@a data deleted=Delete | 0:ok@a | 0:plain => Warning FailedUpdate Update Pod web-0 in StatefulSet web failed error: could not update claim data-web-0 for delete policy ownerRefs: E
        1@a data |                => Warning FailedCreate Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: E; Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: failed to create PVC data-web-0: E; Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: E
        ",
    );
}

#[test]
fn y2_a_selector_that_cannot_be_read_ends_it() {
    let mut odd = view("1@a |");
    let set = std::sync::Arc::make_mut(&mut odd.set);
    set.spec.as_mut().unwrap().selector.match_labels =
        Some([("app".to_owned(), "not a value!".to_owned())].into());
    assert_eq!(reconcile(&odd).to_string(), "nothing to do");
}
