//! Section 18 of the specification: what upstream does, and what stead does instead, side by side.
//!
//! Upstream's way stands in the rows' own language, as its controller would decide on the same view
//! (kubernetes v1.36 `pkg/controller/statefulset`). A row fails when stead's way changes, and also
//! when it becomes upstream's: then the row belongs among those that are kept.

use super::{
    super::{member_ordinal, reconcile},
    case::{short, status, view},
};

/// Rows `CASE => OURS <> UPSTREAM`.
#[track_caller]
fn departs(answer: impl Fn(&str) -> String, rows: &str) {
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (case, ways) = row.split_once("=>").unwrap();
        let (ours, upstreams) = ways.split_once("<>").unwrap();
        let got = answer(case);
        assert_eq!(got, ours.trim(), "{case}");
        assert_ne!(got, upstreams.trim(), "{case}: this is upstream's way by now");
    }
}

#[track_caller]
fn plans_depart(rows: &str) {
    departs(|case| short(&reconcile(&view(case))), rows);
}

#[track_caller]
fn statuses_depart(rows: &str) {
    departs(|case| status(&reconcile(&view(case))).unwrap_or_else(|| "as it was".to_owned()), rows);
}

/// Upstream takes `web-07` in as ordinal 7: it fills the slot, fits no claim, and cannot be mended.
#[test]
fn section_18_n1_a_name_that_is_not_canonical() {
    let upstreams = |pod: &str| pod.strip_prefix("web-")?.parse::<i64>().ok();
    for pod in ["web-07", "web-00", "web-007"] {
        assert_ne!(member_ordinal("web", pod), upstreams(pod), "{pod}");
    }
    assert_eq!(member_ordinal("web", "web-7"), upstreams("web-7"));
}

/// Upstream looks at the pod-name label only.
#[test]
fn section_18_n7_an_index_that_is_missing() {
    plans_depart("1@a | 0:indexless@a => label 0 <> nothing");
}

/// Upstream also updates the pod, which changes nothing and says SuccessfulUpdate.
#[test]
fn section_18_k6_owners_change_without_the_pod() {
    plans_depart(
        "1@a data deleted=Delete | 0:ok@a | 0:plain => own data-web-0: set <> own data-web-0: set; update 0",
    );
}

/// Upstream stops without a word, and nothing wakes it; see the manager's rows for what wakes ours.
#[test]
fn section_18_k9_a_stale_claim_is_waited_for() {
    plans_depart(
        "2@a data scaled=Delete | 0:ok@a | 0:plain 1:oldpod => until claim data-web-1 is gone <> nothing",
    );
}

/// Upstream sends the create, is told AlreadyExists, and says nothing to anyone.
#[test]
fn section_18_e1_a_squatter_is_named() {
    plans_depart(
        "1@a | 0:foreign@a => say FailedCreate; until 0 is gone <> create 0@a; until 0 is healthy",
    );
}

/// Upstream waits for a pod that nothing makes ready.
#[test]
fn section_18_x2_broken_pods_hold_each_other() {
    plans_depart(
        "
        1@a | 0:ok@a 1:crash@a 2:crash@a   => delete 2; until 2 is gone <> until 2 is healthy
        1@a | 0:ok@a 1:failed@a 2:failed@a => delete 2; until 2 is gone <> until 2 is healthy
        ",
    );
}

/// Upstream spends the budget on pods that are down anyway, and never mends them.
#[test]
fn section_18_m5_broken_old_pods_cost_nothing() {
    plans_depart(
        "
        3@c from=a had=a,b,c max=1 parallel | 0:ok@a 1:ok@a 2:crash@b    => delete 2; until 2 is gone <> until 2 is healthy
        3@c from=a had=a,b,c max=1 parallel | 0:ok@a 1:crash@b 2:crash@b => delete 2; delete 1; until 2 is gone <> until 2 is healthy
        ",
    );
}

/// Upstream counts readiness where availability is meant, and never completes OnDelete.
#[test]
fn section_18_t4_completion() {
    statuses_depart(
        "
        2@b from=a min=10 | 0:ok@b 1:new@b  => 2/2/1 0+2@a>b <> 2/2/1 2+2@b>b
        2@b from=a ondelete | 0:ok@b 1:ok@b => 2/2/2 2+2@b>b <> 2/2/2 0+2@a>b
        ",
    );
}

/// Upstream takes one off although the pod was of a third revision; the API refuses -1 for ever.
#[test]
fn section_18_t8_counts_stay_above_zero() {
    statuses_depart("1@c from=a had=a,b,c | 0:ok@b => 1/1/1 0+0@a>c <> 1/1/1 -1+0@a>c");
}
