//! New templates: section 17, 4, 5, 6 and 8.

use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Pod};
use kube::api::ListParams;
use serde_json::{Value, json};

use super::place::{Place, Seen, phase, ready, with_claims};

fn both(seen: &Seen) -> (String, String) {
    let status = seen.status();
    (status.current_revision.unwrap_or_default(), status.update_revision.unwrap_or_default())
}

/// 4, and with claims 4b. The second template is not ready by itself.
pub(super) async fn b4_rolling_update_and_rollback(place: Place) {
    const SLOW: &str = "trap \"exit 0\" TERM; while :; do sleep 1000 & wait $!; done";
    place.create(3, with_claims).await;
    place.until_settled(3).await;
    let (first, same) = place.look(both);
    assert_eq!(first, same);
    let labelled = |seen: &Seen, name: &str| {
        let label =
            |pod: &Pod| pod.metadata.labels.as_ref()?.get("controller-revision-hash").cloned();
        seen.pods.values().all(|pod| label(pod).as_deref() == Some(name))
    };
    assert!(place.look(|seen| labelled(seen, &first)));
    place.log();
    place.count_downs(3);
    let container = |command: &str| {
        let spec = json!({"containers": [{"name": "c", "command": ["sh", "-c", command]}]});
        json!({"spec": {"template": {"spec": spec}}})
    };
    let before = place.look(|seen| seen.sets["web"].spec.clone().unwrap().template);
    place.strategic(container(SLOW)).await;
    for pod in ["web-2", "web-1", "web-0"] {
        place
            .until("it runs, and is not ready", |seen| {
                let runs = seen.pods.get(pod).is_some_and(|pod| phase(pod) == "Running");
                let second = both(seen).1;
                let label = |pod: &Pod| {
                    pod.metadata.labels.as_ref().unwrap()["controller-revision-hash"] == second
                };
                runs && label(&seen.pods[pod]) && seen.status().ready_replicas == Some(2)
            })
            .await;
        place.exec(pod, "touch /ready").await;
    }
    place.until("the rollout ends", |seen| seen.settled(3) && both(seen).0 == both(seen).1).await;
    let (second, _) = place.look(both);
    assert_ne!(first, second);
    assert!(place.look(|seen| labelled(seen, &second)));
    assert_eq!(place.log(), "-2 +2 !2 -1 +1 !1 -0 +0 !0", "each waited for");
    place.patch(json!({"spec": {"template": before}})).await;
    place
        .until("the rollback ends", |seen| {
            seen.settled(3)
                && both(seen) == (first.clone(), first.clone())
                && labelled(seen, &first)
        })
        .await;
    assert_eq!(place.log(), "-2 +2 !2 -1 +1 !1 -0 +0 !0");
    assert_eq!(place.most_down(), 1, "never two at once");
    let revisions = place.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
    let mut numbers: Vec<i64> = revisions.iter().map(|one| one.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "the first template has its name back, and a new number");
}

/// 7: both policies; the pods that go together come back in order.
pub(super) async fn b7_m3_never_more_than_max_unavailable(place: Place) {
    place
        .create(5, |set| {
            set["spec"]["updateStrategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
        })
        .await;
    place.until_settled(5).await;
    place.log();
    place.count_downs(5);
    place.update("b").await;
    place
        .until("the rollout", |seen| {
            seen.settled(5)
                && seen.versions() == "0=b 1=b 2=b 3=b 4=b"
                && both(seen).0 == both(seen).1
        })
        .await;
    assert_eq!(place.most_down(), 2);
    let shown = place.kubectl("get --raw /metrics").await;
    assert!(shown.contains("statefulset_controller_statefulset_max_unavailable{"), "{shown}");
    assert_eq!(place.moves(), "-4 -3 +3 +4 -2 -1 +1 +2 -0 +0");
}

fn partition(number: i32) -> Value {
    json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": number}}}})
}

pub(super) async fn b5_n6_partitions_and_phases(place: Place) {
    place
        .create(3, |set| {
            set["spec"]["updateStrategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}});
        })
        .await;
    place.until_settled(3).await;
    place.log();
    place.update("b").await;
    assert_eq!(place.look(Seen::versions), "0=a 1=a 2=a");
    let (current, update) = place.look(both);
    assert_ne!(current, update);
    let updated =
        |wanted: &'static str| move |seen: &Seen| seen.settled(3) && seen.versions() == wanted;
    place.patch(partition(2)).await;
    place.until("the canary", updated("0=a 1=a 2=b")).await;
    assert_eq!(place.log(), "-2 +2 !2");
    let uids = place.look(|seen| (seen.uid("web-0"), seen.uid("web-2")));
    place.delete::<Pod>("web-0").await;
    place.delete::<Pod>("web-2").await;
    place
        .until("each is back on its own side", |seen| {
            let new =
                seen.pods.len() == 3 && seen.uid("web-0") != uids.0 && seen.uid("web-2") != uids.1;
            new && updated("0=a 1=a 2=b")(seen)
        })
        .await;
    place.patch(partition(1)).await;
    place.until("the second phase", updated("0=a 1=b 2=b")).await;
    assert_eq!(place.look(both), (current, update.clone()));
    place.patch(partition(0)).await;
    place
        .until("the last phase", |seen| {
            updated("0=b 1=b 2=b")(seen) && both(seen) == (update.clone(), update.clone())
        })
        .await;
}

/// Its container ends with 1 when told to stop; a finalizer holds the pod meanwhile.
pub(super) async fn b6_a_pod_held_below_the_partition_returns_as_it_was(place: Place) {
    place
        .create(3, |set| {
            set["spec"]["updateStrategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
            let command = &mut set["spec"]["template"]["spec"]["containers"][0]["command"][2];
            *command = json!(command.as_str().unwrap().replace("exit 0", "exit 1"));
        })
        .await;
    place.until_settled(3).await;
    place.update("b").await;
    place.until("the update", |seen| seen.settled(3) && seen.versions() == "0=a 1=b 2=b").await;
    place.log();
    place.relabel::<Pod>("web-0", json!({"finalizers": ["example.com/hold"]})).await;
    let uid = place.look(|seen| seen.uid("web-0"));
    place.delete::<Pod>("web-0").await;
    place.until("two are ready", |seen| seen.status().ready_replicas == Some(2)).await;
    assert!(!place.log().contains('+'), "it is still there");
    place.relabel::<Pod>("web-0", json!({"finalizers": null})).await;
    place
        .until("it is back", |seen| {
            let back = seen.pods.get("web-0").is_some_and(ready) && seen.uid("web-0") != uid;
            back && seen.settled(3)
        })
        .await;
    assert_eq!(place.look(Seen::versions), "0=a 1=b 2=b");
}

pub(super) async fn b8_on_delete_leaves_it_to_the_person(place: Place) {
    place.create(3, |set| set["spec"]["updateStrategy"] = json!({"type": "OnDelete"})).await;
    place.until_settled(3).await;
    place.log();
    place.update("b").await;
    assert_eq!((place.log().as_str(), place.look(Seen::versions).as_str()), ("", "0=a 1=a 2=a"));
    for pod in ["web-0", "web-1", "web-2"] {
        place.delete::<Pod>(pod).await;
    }
    place.until("all are new", |seen| seen.settled(3) && seen.versions() == "0=b 1=b 2=b").await;
    // T4 of section 18: upstream never completes this.
    place.until("it is complete", |seen| both(seen).0 == both(seen).1).await;
    assert_eq!(place.look(|seen| seen.status().current_replicas), Some(3));
}
