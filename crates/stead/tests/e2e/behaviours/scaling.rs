//! More pods, fewer pods, broken pods: section 17, 3, 9, 10, 11 and 15.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::place::{Place, phase, ready};

pub(super) async fn b3_l8_no_deadlock_when_a_predecessor_fails(place: Place) {
    place.create(2, |_| ()).await;
    place.until_settled(2).await;
    place.make_ready("web-1", false).await;
    let first = place.look(|seen| seen.uid("web-0"));
    place.log();
    place.delete::<Pod>("web-0").await;
    place
        .until("web-0 is back", |seen| {
            let back = seen.pods.get("web-0").is_some_and(ready);
            back && seen.uid("web-0") != first && !ready(&seen.pods["web-1"])
        })
        .await;
    assert_eq!(place.log(), "-0 +0 !0");
}

/// A set that has seen its new size and made nothing waits; what it makes, it makes in order.
pub(super) async fn b9_ordered_scaling_halts_on_broken_pods(place: Place) {
    place.create(1, |_| ()).await;
    place.until_settled(1).await;
    place.make_ready("web-0", false).await;
    place.log();
    place.scale(3).await;
    assert_eq!(place.log(), "");
    place.make_ready("web-0", true).await;
    place.until_settled(3).await;
    assert_eq!(place.log(), "!0 +1 !1 +2 !2", "web-0 first");
    for pod in ["web-0", "web-1", "web-2"] {
        place.make_ready(pod, false).await;
    }
    place.log();
    place.scale(0).await;
    assert_eq!((place.log().as_str(), place.look(|seen| seen.pods.len())), ("", 3));
    // X2: once no other is unready, the highest goes as it is.
    place.make_ready("web-0", true).await;
    place.exec("web-1", "touch /ready").await;
    place.until_settled(0).await;
    assert_eq!(place.moves(), "-2 -1 -0");
}

pub(super) async fn b10_parallel_scaling_goes_on_with_broken_pods(place: Place) {
    place.create(2, |set| set["spec"]["podManagementPolicy"] = json!("Parallel")).await;
    place.until_settled(2).await;
    for pod in ["web-0", "web-1"] {
        place.make_ready(pod, false).await;
    }
    place.scale(4).await;
    place
        .until("both new ones", |seen| {
            ["web-2", "web-3"].iter().all(|name| seen.pods.get(*name).is_some_and(ready))
        })
        .await;
    assert!(place.look(|seen| !ready(&seen.pods["web-0"]) && !ready(&seen.pods["web-1"])));
    place.make_ready("web-3", false).await;
    place.scale(0).await;
    place.until_settled(0).await;
}

/// As an eviction leaves it: its phase says Failed, and nobody but the set cares.
pub(super) async fn b11_failed_pods_are_made_anew_until_they_run(place: Place) {
    place.create(1, |_| ()).await;
    place.until_settled(1).await;
    for _ in 0..3 {
        let uid = place.look(|seen| seen.uid("web-0"));
        let failed = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
        let pods = place.api::<Pod>();
        let patch = Patch::Merge(failed);
        pods.patch_status("web-0", &PatchParams::default(), &patch).await.unwrap();
        place
            .until("another one runs", |seen| {
                let pod = seen.pods.get("web-0");
                pod.is_some_and(|pod| {
                    ready(pod) && phase(pod) == "Running" && seen.uid("web-0") != uid
                })
            })
            .await;
    }
}

pub(super) async fn b15_t10_min_ready_seconds_delays_availability(place: Place) {
    place.create(2, |set| set["spec"]["minReadySeconds"] = json!(2)).await;
    let mut availabilities = Vec::new();
    place.until("all are available", |seen| seen.settled(2)).await;
    // OrderedReady: the second pod was made two seconds after the first had become ready.
    let times = place.look(|seen| {
        let since = |pod: &Pod| {
            let conditions = pod.status.as_ref().unwrap().conditions.clone().unwrap();
            let ready = conditions.into_iter().find(|one| one.type_ == "Ready").unwrap();
            ready.last_transition_time.unwrap().0
        };
        let second = &seen.pods["web-1"];
        (since(&seen.pods["web-0"]), second.metadata.creation_timestamp.clone().unwrap().0)
    });
    assert!(times.1.duration_since(times.0).as_secs() >= 2, "{times:?}");
    for (seconds, available) in [(3600, 0), (0, 2)] {
        place.patch(json!({"spec": {"minReadySeconds": seconds}})).await;
        let status = place.look(super::place::Seen::status);
        availabilities.push((status.ready_replicas, status.available_replicas.unwrap_or(0)));
        assert_eq!(availabilities.last(), Some(&(Some(2), available)));
    }
}
