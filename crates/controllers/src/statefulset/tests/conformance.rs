//! The behaviours of the specification's section 17, as sequences; C marks upstream's conformance.

use serde_json::json;

use super::{case::revision_name, world::World};

/// 1, 9: up in order, down in reverse; names, claims stay.
#[test]
fn b1_identity_and_data_survive_scaling_to_nothing() {
    let mut world = World::new("3@a data unrevised |");
    world.live();
    assert_eq!(world.done(), "+0 +1 +2");
    world.scale(0);
    world.live();
    assert_eq!((world.done().as_str(), world.pods().as_str()), ("-2 -1 -0", ""));
    let before: Vec<_> =
        world.view.claims.values().map(|claim| claim.metadata.uid.clone()).collect();
    world.scale(3);
    world.live();
    assert_eq!((world.done().as_str(), world.claims().as_str()), ("+0 +1 +2", "0 1 2"));
    let after: Vec<_> =
        world.view.claims.values().map(|claim| claim.metadata.uid.clone()).collect();
    assert_eq!(before, after);
}

#[test]
fn b2_adoption_release_and_adoption_again() {
    let mut world = World::new("2@a unrevised |");
    world.live();
    world.done();
    let uid = world.view.pods[0].metadata.uid.clone();
    world.relabel("web-0", |meta| meta.owner_references = None);
    world.live();
    assert_eq!(world.view.pods[0].metadata.owner_references.as_ref().unwrap()[0].uid, "set");
    let label = |value: &str| {
        let value = value.to_owned();
        move |meta: &mut api::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            meta.labels.as_mut().unwrap().insert("app".to_owned(), value.clone());
        }
    };
    world.relabel("web-0", label("else"));
    world.live();
    assert!(world.view.pods[0].metadata.owner_references.as_ref().unwrap().is_empty(), "released");
    assert_eq!(world.done(), "", "no second web-0 while the first is there");
    world.relabel("web-0", label("web"));
    world.live();
    assert_eq!(world.view.pods[0].metadata.uid, uid);
    assert_eq!((world.done().as_str(), world.status().available_replicas), ("", Some(2)));
}

#[test]
fn b3_no_deadlock_when_a_predecessor_fails() {
    let mut world = World::new("2@a unrevised |");
    world.live();
    world.done();
    world.become_as("web-1", "unready");
    world.delete("web-0");
    world.settle();
    world.remove("web-0");
    world.settle();
    assert_eq!(world.done(), "+0");
}

/// 4, C (4b with claims).
#[test]
fn b4_rolling_update_and_rollback() {
    for claims in ["", "data"] {
        let mut world = World::new(&format!("3@a {claims} unrevised |"));
        world.live();
        let status = world.status();
        assert_eq!(status.current_revision, status.update_revision);
        assert_eq!(world.pods(), "0@a 1@a 2@a");
        world.done();
        world.most_down = 0;
        world.template("b");
        world.settle();
        assert_ne!(world.status().current_revision, world.status().update_revision);
        assert_eq!(world.done(), "-2");
        world.remove("web-2");
        world.settle();
        world.become_as("web-2", "unready");
        world.settle();
        assert_eq!(world.done(), "+2", "one that is not ready halts it");
        world.become_as("web-2", "ok");
        world.live();
        assert_eq!((world.done().as_str(), world.pods().as_str()), ("-1 +1 -0 +0", "0@b 1@b 2@b"));
        assert_eq!(world.most_down, 1);
        assert_eq!(world.status().current_revision, Some(revision_name("b")));
        world.template("a");
        world.live();
        assert_eq!(world.done(), "-2 +2 -1 +1 -0 +0");
        assert_eq!(world.status().current_revision, Some(revision_name("a")), "its old name");
        assert_eq!(world.view.revisions.len(), 2);
        assert_eq!(world.view.revisions[0].revision, 3, "and a new number");
    }
}

/// 5, C.
#[test]
fn b5_canaries_and_phased_rolling_updates() {
    let mut world = World::new("3@a partition=3 unrevised |");
    world.live();
    world.template("b");
    world.live();
    assert_eq!(world.pods(), "0@a 1@a 2@a");
    assert_eq!(world.status().update_revision, Some(revision_name("b")));
    let partition = |n: i64| {
        move |spec: &mut serde_json::Value| {
            spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(n)
        }
    };
    world.edit(partition(2));
    world.live();
    assert_eq!(world.pods(), "0@a 1@a 2@b");
    world.delete("web-0");
    world.delete("web-2");
    world.live();
    assert_eq!(world.pods(), "0@a 1@a 2@b", "each comes back at its own side's revision");
    world.edit(partition(1));
    world.live();
    assert_eq!(world.pods(), "0@a 1@b 2@b");
    assert_eq!(world.status().current_revision, Some(revision_name("a")));
    world.edit(partition(0));
    world.live();
    assert_eq!(world.pods(), "0@b 1@b 2@b");
    assert_eq!(world.status().current_revision, Some(revision_name("b")));
}

/// 6: also when its container fails on the way.
#[test]
fn b6_a_pod_held_below_the_partition_returns_as_it_was() {
    let mut world = World::new("3@a partition=1 unrevised |");
    world.live();
    world.template("b");
    world.live();
    for state in ["ok", "failed"] {
        world.done();
        world.become_as("web-0", state);
        world.delete("web-0");
        world.settle();
        assert_eq!(world.done(), "", "a finalizer holds it");
        world.remove("web-0");
        world.live();
        assert_eq!((world.done().as_str(), world.pods().as_str()), ("+0", "0@a 1@b 2@b"));
    }
}

/// 7, with the gate.
#[test]
fn b7_never_more_than_max_unavailable() {
    for (policy, done) in
        [("", "-4 -3 +3 +4 -2 -1 +1 +2 -0 +0"), ("parallel", "-4 -3 +3 +4 -2 -1 +1 +2 -0 +0")]
    {
        let mut world = World::new(&format!("5@a max=2 {policy} unrevised |"));
        world.live();
        world.done();
        world.most_down = 0;
        world.template("b");
        world.live();
        assert_eq!((world.done().as_str(), world.most_down), (done, 2), "{policy}");
        assert_eq!(world.pods(), "0@b 1@b 2@b 3@b 4@b");
    }
}

#[test]
fn b8_on_delete_leaves_it_to_the_person() {
    let mut world = World::new("3@a ondelete unrevised |");
    world.live();
    world.done();
    world.template("b");
    world.live();
    assert_eq!(world.done(), "");
    for name in ["web-0", "web-1", "web-2"] {
        world.delete(name);
    }
    world.live();
    assert_eq!((world.done().as_str(), world.pods().as_str()), ("+0 +1 +2", "0@b 1@b 2@b"));
    assert_eq!(world.status().current_revision, Some(revision_name("b")), "T4 of section 18");
}

/// 9, C.
#[test]
fn b9_ordered_scaling_halts_on_broken_pods() {
    let mut world = World::new("1@a unrevised |");
    world.live();
    world.become_as("web-0", "unready");
    world.done();
    world.scale(3);
    world.live();
    assert_eq!(world.done(), "");
    world.become_as("web-0", "ok");
    world.live();
    assert_eq!(world.done(), "+1 +2");
    for name in ["web-0", "web-1", "web-2"] {
        world.become_as(name, "unready");
    }
    world.scale(0);
    world.live();
    assert_eq!(world.done(), "", "all broken: it stays at three");
    for name in ["web-0", "web-1", "web-2"] {
        world.become_as(name, "ok");
    }
    world.live();
    assert_eq!(world.done(), "-2 -1 -0");
}

/// 10, C.
#[test]
fn b10_parallel_scaling_goes_on_with_broken_pods() {
    let mut world = World::new("2@a parallel unrevised |");
    world.live();
    assert_eq!(world.done(), "+0 +1");
    world.become_as("web-0", "unready");
    world.scale(4);
    world.live();
    assert_eq!(world.done(), "+2 +3");
    world.become_as("web-3", "crash");
    world.scale(0);
    world.live();
    assert_eq!(world.done(), "-3 -2 -1 -0");
}

/// 11, C.
#[test]
fn b11_failed_pods_are_made_anew_until_they_run() {
    let mut world = World::new("1@a unrevised |");
    world.settle();
    let mut uids = vec![world.view.pods[0].metadata.uid.clone()];
    for _ in 0..3 {
        world.become_as("web-0", "failed");
        world.settle();
        world.remove("web-0");
        world.settle();
        uids.push(world.view.pods[0].metadata.uid.clone());
    }
    uids.dedup();
    assert_eq!(uids.len(), 4);
    world.live();
    assert_eq!(world.status().available_replicas, Some(1));
}

#[test]
fn b15_min_ready_seconds_delays_availability() {
    let mut world = World::new("2@a unrevised |");
    world.live();
    assert_eq!(world.status().available_replicas, Some(2));
    for (seconds, available) in [(7200, 0), (0, 2), (3600, 2), (3601, 0)] {
        world.edit(|spec| spec["minReadySeconds"] = json!(seconds));
        world.settle();
        assert_eq!(world.status().available_replicas, Some(available), "ready for 3600 s");
        assert_eq!(world.status().ready_replicas, Some(2));
    }
}

#[test]
fn b16_retention_when_scaled_and_when_deleted() {
    let mut world = World::new("3@a data scaled=Delete unrevised |");
    world.live();
    world.scale(1);
    world.live();
    assert_eq!(world.claims(), "0");
    world.scale(3);
    world.live();
    assert_eq!(world.claims(), "0 1 2");
    let mut world = World::new("2@a data deleted=Delete unrevised |");
    world.live();
    let now = world.view.now;
    std::sync::Arc::make_mut(&mut world.view.set).metadata.deletion_timestamp =
        Some(api::k8s::apimachinery::pkg::apis::meta::v1::Time(now));
    world.settle();
    world.collect();
    assert_eq!(world.claims(), "");
}

/// 16: a claim that another controller owns is kept; freed, the next scale-down takes it.
#[test]
fn b16_a_foreign_controller_keeps_the_claim() {
    let mut world = World::new("2@a data scaled=Delete unrevised |");
    world.live();
    let boss = super::case::claim(1, "boss").metadata.owner_references;
    let owned = |world: &mut World, owners| {
        let claim = world.view.claims.get_mut("data-web-1").unwrap();
        std::sync::Arc::make_mut(claim).metadata.owner_references = owners;
    };
    owned(&mut world, boss);
    world.scale(1);
    world.live();
    assert_eq!(world.claims(), "0 1");
    owned(&mut world, None);
    world.scale(2);
    world.live();
    world.scale(1);
    world.live();
    assert_eq!(world.claims(), "0");
}

/// 17: an owner beside the set keeps the claim when the set goes.
#[test]
fn b17_mixed_owners() {
    let mut world = World::new("2@a data deleted=Delete | | 0:~friend 1:~set");
    world.live();
    let now = world.view.now;
    std::sync::Arc::make_mut(&mut world.view.set).metadata.deletion_timestamp =
        Some(api::k8s::apimachinery::pkg::apis::meta::v1::Time(now));
    world.collect();
    assert_eq!(world.claims(), "0");
}

#[test]
fn b18_a_claim_deleted_under_a_pending_pod_comes_back() {
    let mut world = World::new("1@a data unrevised |");
    world.settle();
    world.view.claims.clear();
    world.settle();
    assert_eq!(world.claims(), "0");
    world.live();
    assert_eq!(world.status().available_replicas, Some(1));
}

#[test]
fn b19_the_start_ordinal_moves() {
    let mut world = World::new("2@a start=2 unrevised |");
    world.live();
    assert_eq!(world.done(), "+2 +3");
    world.edit(|spec| spec["ordinals"] = json!({"start": 4}));
    world.live();
    assert_eq!(world.done(), "+4 +5 -3 -2", "the new ones first");
    world.edit(|spec| spec["ordinals"] = json!({"start": 3}));
    world.live();
    assert_eq!(world.done(), "+3 -5");
    world.edit(|spec| spec["ordinals"] = json!(null));
    world.live();
    assert_eq!((world.done().as_str(), world.pods().as_str()), ("+0 +1 -4 -3", "0@a 1@a"));
}

/// Integration: a Terminating pod is kept while failed and succeeded siblings are replaced.
#[test]
fn terminating_is_waited_for_while_ended_siblings_are_replaced() {
    let mut world = World::new("3@a parallel | 0:ok-term@a 1:failed@a 2:done@a");
    world.settle();
    assert_eq!(world.done(), "-1 -2");
    world.remove("web-1");
    world.remove("web-2");
    world.settle();
    assert_eq!(world.done(), "+1 +2");
}

/// A5: deleted without its pods and made again, the set takes them in as they are.
#[test]
fn a5_a_set_made_again_takes_its_pods_in() {
    let mut world = World::new("2@a data | 0:orphan@a 1:orphan@a | 0:plain 1:plain");
    let revisions = &mut world.view.revisions;
    std::sync::Arc::make_mut(&mut revisions[0]).metadata.owner_references = None;
    world.live();
    assert_eq!((world.done().as_str(), world.status().updated_replicas), ("", Some(2)));
    assert_eq!(world.view.revisions.len(), 1);
}

/// K9 of section 18: 2 to 1 to 2 while the claim is still going; upstream stays at one.
#[test]
fn k9_fix_scaling_back_while_the_claim_goes() {
    let mut world = World::new("2@a data scaled=Delete unrevised |");
    world.live();
    world.scale(1);
    world.settle();
    world.remove("web-1");
    world.scale(2);
    world.settle();
    assert_eq!(world.claims(), "0 1", "the old claim is not gone yet");
    world.collect();
    world.live();
    assert_eq!((world.claims().as_str(), world.pods().as_str()), ("0 1", "0@a 1@a"));
    let owners = &world.view.claims["data-web-1"].metadata.owner_references;
    assert!(owners.as_ref().is_none_or(Vec::is_empty));
}
