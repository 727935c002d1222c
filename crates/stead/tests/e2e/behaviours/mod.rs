//! The behaviours of the StatefulSet specification's section 17 on real containers: one cluster, a
//! namespace for each behaviour, all of them side by side.
//!
//! A behaviour waits for what its watches tell, never for time to pass; what must not happen is
//! read from the order of what did.

mod identity;
mod kubectl;
mod place;
mod refusals;
mod scaling;
mod storage;
mod updates;

use std::time::Duration;

use tokio::{task::JoinError, time::Instant};

use self::place::Place;
use crate::cluster::{Cluster, Turn};

/// Runs each behaviour in a place of its own; its name, how it failed, and how long it took.
macro_rules! run {
    ($cluster:expr, $($room:ident::$name:ident,)+) => {{
        let mut all = tokio::task::JoinSet::new();
        $(
            let place = Place::open($cluster, stringify!($name)).await;
            all.spawn(async move {
                let began = Instant::now();
                let ended = tokio::spawn($room::$name(place)).await;
                (stringify!($name), ended.err(), began.elapsed())
            });
        )+
        all.join_all().await
    }};
}

type End = (&'static str, Option<JoinError>, Duration);

/// A cluster with these flags for all behaviours; tells all that failed.
#[expect(clippy::print_stderr, reason = "a test tells what it does")]
fn on_a_cluster(name: &str, flags: &[&str], run: impl AsyncFn(&Cluster) -> Vec<End>) {
    let _turn = Turn::take();
    let cluster = Cluster::start(name, flags);
    cluster.import(&["busybox.tar"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut failed = Vec::new();
    for (name, error, took) in runtime.block_on(run(&cluster)) {
        eprintln!("{name}: {took:?} {}", if error.is_some() { "FAILED" } else { "" });
        failed.extend(error.map(|error| format!("{name}: {error}")));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn behaviours_of_the_specification() {
    on_a_cluster("behaviours", &[], async |cluster| {
        run!(
            cluster,
            identity::b1_identity_and_data_survive_scaling_to_nothing,
            identity::b2_a4_adoption_release_and_adoption_again,
            identity::a5_b16_a_set_made_again_takes_in_what_was_orphaned,
            identity::b19_o1_the_start_ordinal_moves,
            scaling::b3_l8_no_deadlock_when_a_predecessor_fails,
            scaling::b9_ordered_scaling_halts_on_broken_pods,
            scaling::b10_parallel_scaling_goes_on_with_broken_pods,
            scaling::b11_failed_pods_are_made_anew_until_they_run,
            scaling::b15_t10_min_ready_seconds_delays_availability,
            updates::b4_rolling_update_and_rollback,
            updates::b5_n6_partitions_and_phases,
            updates::b6_a_pod_held_below_the_partition_returns_as_it_was,
            updates::b8_on_delete_leaves_it_to_the_person,
            storage::b16_k5_claims_go_when_the_policy_says,
            storage::b16_k7_a_foreign_controller_keeps_its_claim,
            storage::b17_k7_mixed_owners,
            storage::b18_k3_a_claim_deleted_under_a_pending_pod_comes_back,
            storage::k9_fix_scaling_back_at_once,
            kubectl::q2_describe,
            kubectl::q3_q4_rollouts,
            kubectl::q5_restart_and_pause,
            refusals::e1_fix_a_squatter_is_told,
            refusals::refused_half_way_and_then_not,
            refusals::k2_a_quota_on_claims_that_ends_half_way,
            refusals::a_claim_that_can_never_bind,
            refusals::v8_a_set_whose_service_is_missing_works,
        )
    });
}

/// With upstream's gate open: budgets beyond one, and the same rollouts by the other path (9.4).
#[test]
fn behaviours_with_the_gate_of_max_unavailable() {
    let flags = ["--feature-gates=MaxUnavailableStatefulSet=true"];
    on_a_cluster("gate", &flags, async |cluster| {
        run!(
            cluster,
            updates::b7_m3_never_more_than_max_unavailable,
            updates::b4_rolling_update_and_rollback,
            updates::b5_n6_partitions_and_phases,
            updates::b6_a_pod_held_below_the_partition_returns_as_it_was,
            updates::b8_on_delete_leaves_it_to_the_person,
        )
    });
}
