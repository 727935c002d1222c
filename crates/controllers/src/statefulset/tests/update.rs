//! Rows of updates: which revision a pod gets (N6), U1 to U5, and M1 to M5 with the gate.

use super::{
    super::unavailability,
    case::{check, view},
};

#[test]
fn n6_u5_a_hole_is_filled_with_the_revision_of_its_side() {
    check(
        "
        // below the partition the current revision, from it on the update revision
        3@b from=a partition=2 |                    => create 0@a; until 0 is healthy
        3@b from=a partition=2 | 0:ok@a             => create 1@a; until 1 is healthy
        3@b from=a partition=2 | 0:ok@a 1:ok@a      => create 2@b; until 2 is healthy
        3@b from=a | 0:ok@a                         => create 1@b; until 1 is healthy
        // without the struct: by status.currentReplicas
        3@b from=a nil counts=2/2/2/2/0 | 0:ok@a    => create 1@a; until 1 is healthy
        3@b from=a nil counts=2/2/2/1/0 | 0:ok@a    => create 1@b; until 1 is healthy
        3@b from=a nil counts=0/0/0/0/0 |           => create 0@b; until 0 is healthy
        // OnDelete always the update revision, for scaling up as well
        2@b from=a ondelete | 0:ok@a                => create 1@b; until 1 is healthy
        2@b from=a ondelete |                       => create 0@b; until 0 is healthy
        // the partition counts positions, not ordinals
        3@b from=a start=5 partition=2 |            => create 5@a; until 5 is healthy
        3@b from=a start=5 partition=2 | 5:ok@a     => create 6@a; until 6 is healthy
        3@b from=a start=5 partition=2 | 5:ok@a 6:ok@a => create 7@b; until 7 is healthy
        3@b from=a start=5 nil counts=3/3/3/2/0 | 5:ok@a => create 6@a; until 6 is healthy
        ",
    );
}

#[test]
fn u1_under_ordered_ready_all_must_be_available_first() {
    check(
        "
        3@b from=a | 0:unready@a 1:ok@a 2:ok@a  => until 0 is healthy
        3@b from=a | 0:ok@a 1:ok@a 2:unready@a  => until 2 is healthy
        3@b from=a min=10 | 0:new@a 1:ok@a      => until 0 is healthy; look again in 5s
        2@b from=a | 0:ok@a 1:ok@a 2:ok@a       => delete 2; until 2 is gone
        ",
    );
}

#[test]
fn u2_from_the_top_one_at_a_time() {
    check(
        "
        3@b from=a | 0:ok@a 1:ok@a 2:ok@a       => delete 2; until 2 is gone
        3@b from=a | 0:ok@a 1:ok@a 2:term@a     => until 2 is gone
        3@b from=a | 0:ok@a 1:ok@a              => create 2@b; until 2 is healthy
        3@b from=a | 0:ok@a 1:ok@a 2:pending@b  => until 2 is healthy
        3@b from=a | 0:ok@a 1:ok@a 2:ok@b       => delete 1; until 1 is gone
        3@b from=a | 0:ok@a 1:ok@b 2:ok@b       => delete 0; until 0 is gone
        3@b from=a | 0:ok@b 1:ok@b 2:ok@b       => nothing
        2@b from=a nil | 0:ok@a 1:ok@a          => delete 1; until 1 is gone
        // Parallel updates one at a time as well
        3@b from=a parallel | 0:ok@a 1:ok@a 2:ok@a  => delete 2; until 2 is gone
        3@b from=a parallel | 0:ok@a 1:ok@a 2:new@b => delete 1; until 1 is gone
        3@b from=a parallel min=10 | 0:ok@a 1:ok@a 2:new@b => until 2 is healthy; look again in 5s
        ",
    );
}

#[test]
fn u3_a_broken_old_pod_is_replaced_in_parallel_only() {
    check(
        "
        3@b from=a parallel | 0:crash@a 1:ok@a 2:ok@b     => delete 1; until 1 is gone
        3@b from=a parallel | 0:ok@a 1:ok@a 2:crash@a     => delete 2; until 2 is gone
        3@b from=a parallel | 0:ok@a 1:ok@a 2:crash@b     => until 2 is healthy
        3@c from=a had=a,b,c parallel | 0:ok@a 1:ok@a 2:crash@b => delete 2; until 2 is gone
        3@c from=a had=a,b,c | 0:ok@a 1:ok@a 2:crash@b    => until 2 is healthy
        ",
    );
}

#[test]
fn u4_partition_and_on_delete_hold() {
    check(
        "
        3@b from=a partition=3 | 0:ok@a 1:ok@a 2:ok@a   => nothing
        3@b from=a partition=9 | 0:ok@a 1:ok@a 2:ok@a   => nothing
        3@b from=a partition=2 | 0:ok@a 1:ok@a 2:ok@a   => delete 2; until 2 is gone
        3@b from=a partition=2 | 0:ok@a 1:ok@a 2:ok@b   => nothing
        3@b from=a ondelete | 0:ok@a 1:ok@a 2:ok@a      => nothing
        3@b from=a ondelete parallel | 0:ok@a 1:ok@a 2:ok@a => nothing
        3@b from=a start=5 partition=2 | 5:ok@a 6:ok@a 7:ok@a => delete 7; until 7 is gone
        ",
    );
}

#[test]
fn l1_and_u2_delete_one_pod_once() {
    check(
        "
        2@b from=a parallel | 0:ok@a 1:failed@a      => delete 1; until 1 is gone
        2@b from=a parallel max=2 | 0:ok@a 1:failed@a => delete 1; delete 0; until 1 is gone
        ",
    );
}

#[test]
fn g1_without_the_gate_the_field_says_nothing() {
    check("3@b from=a max=3 gateless | 0:ok@a 1:ok@a 2:ok@a => delete 2; until 2 is gone");
}

#[test]
fn m1_m3_the_budget() {
    check(
        "
        4@b from=a max=2 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a    => delete 3; delete 2; until 3 is gone
        4@b from=a max=9 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a    => delete 3; delete 2; delete 1; delete 0; until 3 is gone
        // percent of the replicas, rounded down, at least one
        4@b from=a max=50% | 0:ok@a 1:ok@a 2:ok@a 3:ok@a  => delete 3; delete 2; until 3 is gone
        3@b from=a max=50% | 0:ok@a 1:ok@a 2:ok@a         => delete 2; until 2 is gone
        3@b from=a max=10% | 0:ok@a 1:ok@a 2:ok@a         => delete 2; until 2 is gone
        // the partition holds
        4@b from=a max=3 partition=2 | 0:ok@a 1:ok@a 2:ok@a 3:ok@a => delete 3; delete 2; until 3 is gone
        ",
    );
}

#[test]
fn m2_who_is_down_counts_wherever_it_is() {
    check(
        "
        4@b from=a max=2 parallel | 0:ok@a 1:ok@a 2:ok@a 3:pending@b => delete 2; until 3 is healthy
        4@b from=a max=2 parallel | 0:ok@a 1:ok@a 2:term@a 3:pending@b => until 3 is healthy
        // below the partition, too
        4@b from=a max=2 partition=2 parallel | 0:crash@a 1:crash@a 2:ok@a 3:ok@a => until 0 is healthy
        4@b from=a max=2 partition=2 parallel | 0:crash@a 1:ok@a 2:ok@a 3:ok@a => delete 3; until 3 is gone
        ",
    );
}

#[test]
fn m4_ordered_ready_deletes_together_and_makes_one_by_one() {
    check(
        "
        3@b from=a max=2 | 0:ok@a                        => create 1@b; until 1 is healthy
        3@b from=a max=2 | 0:ok@a 1:pending@b            => until 1 is healthy
        3@b from=a max=2 | 0:ok@a 1:ok@b                 => create 2@b; until 2 is healthy
        3@b from=a max=2 | 0:ok@a 1:ok@b 2:pending@b     => until 2 is healthy
        3@b from=a max=2 | 0:ok@a 1:ok@b 2:ok@b          => delete 0; until 0 is gone
        3@b from=a max=2 | 0:ok@a 1:term@a 2:term@a      => until 1 is gone
        ",
    );
}

/// Section 18, M5 (137409): upstream counts broken old pods against the budget, so that a good
/// template after a bad one never gets anywhere; ours lets them go for nothing.
#[test]
fn m5_fix_broken_old_pods_cost_nothing() {
    check(
        "
        // upstream: both wait for ever
        3@c from=a had=a,b,c max=1 parallel | 0:ok@a 1:ok@a 2:crash@b    => delete 2; until 2 is gone
        3@c from=a had=a,b,c max=1 parallel | 0:ok@a 1:crash@b 2:crash@b => delete 2; delete 1; until 2 is gone
        // a broken new one still costs
        3@c from=a had=a,b,c max=1 parallel | 0:ok@a 1:ok@a 2:crash@c    => until 2 is healthy
        ",
    );
}

/// The gauges of spec section 15: the budget, and how many wanted pods are unavailable or missing.
#[test]
fn section_15_what_the_gauges_say() {
    for (case, said) in [
        ("4@a max=2 | 0:ok@a 1:unready@a 2:term@a", Some((2, 3))),
        ("4@a max=50% | 0:ok@a 1:ok@a 2:ok@a 3:ok@a 4:ok@a", Some((2, 0))),
        ("2@a | 0:foreign@a 1:ok@a | | max=2", Some((2, 1))),
        ("2@a max=2 gateless | 0:ok@a 1:ok@a", None),
        ("2@a | 0:ok@a", None),
    ] {
        assert_eq!(unavailability(&view(case)), said, "{case}");
    }
}
