//! What stock kubectl says about sets: Q2 to Q5.

use super::place::{Place, Seen, with_claims};

pub(super) async fn q2_describe(place: Place) {
    place.create(2, with_claims).await;
    place.until_settled(2).await;
    let text = place.kubectl("describe statefulset web").await;
    for line in [
        "Name:               web",
        "Selector:           app=web",
        "Replicas:           2 desired | 2 total",
        "Update Strategy:    RollingUpdate",
        "  Partition:        0",
        "Pods Status:        2 Running / 0 Waiting / 0 Succeeded / 0 Failed",
        "Volume Claims:",
        "create Pod web-0 in StatefulSet web successful",
    ] {
        assert!(text.to_lowercase().contains(&line.to_lowercase()), "no `{line}` in\n{text}");
    }
}

/// Q4: the revision that is undone to is the one before, by number.
pub(super) async fn q3_q4_rollouts(place: Place) {
    place.create(2, |_| ()).await;
    place.until_settled(2).await;
    let none = place.kubectl("rollout undo statefulset web").await;
    assert!(none.contains("no last revision to roll back to"), "{none}");
    place.kubectl("annotate statefulset web kubernetes.io/change-cause=second").await;
    place.update("b").await;
    let status = place.kubectl("rollout status statefulset web --timeout=120s").await;
    let complete = "partitioned roll out complete: 2 new pods have been updated...";
    assert!(status.contains(complete), "{status}");
    let history = place.kubectl("rollout history statefulset web").await;
    let lines: Vec<&str> = history.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert!(lines[2].starts_with("1 ") && lines[2].trim_end().ends_with("<none>"), "{history}");
    assert!(lines[3].starts_with("2 ") && lines[3].trim_end().ends_with("second"), "{history}");
    let unknown = place.kubectl("rollout undo statefulset web --to-revision=9").await;
    assert!(unknown.contains("unable to find specified revision 9 in history"), "{unknown}");
    // kubectl compares bytes, and before 1.34 finds a `creationTimestamp: null` of its own in them:
    // it says "skipped rollback" or "rolled back", and nothing changes either way.
    place.until_settled(2).await;
    place.log();
    let same = place.kubectl("rollout undo statefulset web --to-revision=2").await;
    let skipped = "skipped rollback (current template already matches revision 2)";
    assert!(same.contains(skipped) || same.contains("rolled back"), "{same}");
    assert_eq!((place.log().as_str(), place.look(Seen::versions).as_str()), ("", "0=b 1=b"));
    let undone = place.kubectl("rollout undo statefulset web").await;
    assert!(undone.contains("statefulset.apps/web rolled back"), "{undone}");
    place
        .until("the first template again", |seen| seen.settled(2) && seen.versions() == "0=a 1=a")
        .await;
    place
        .patch(serde_json::json!({"spec": {"updateStrategy":
        {"type": "OnDelete", "rollingUpdate": null}}}))
        .await;
    let refused = place.kubectl("rollout status statefulset web").await;
    let why = "rollout status is only available for RollingUpdate strategy type";
    assert!(refused.contains(why), "{refused}");
}

pub(super) async fn q5_restart_and_pause(place: Place) {
    place.create(1, |_| ()).await;
    place.until_settled(1).await;
    let uid = place.look(|seen| seen.uid("web-0"));
    let restarted = place.kubectl("rollout restart statefulset web").await;
    assert!(restarted.contains("statefulset.apps/web restarted"), "{restarted}");
    place
        .until("another pod", |seen| {
            seen.pods.contains_key("web-0") && seen.uid("web-0") != uid && seen.settled(1)
        })
        .await;
    let annotated = place.look(|seen| seen.pods["web-0"].metadata.annotations.clone().unwrap());
    assert!(annotated.contains_key("kubectl.kubernetes.io/restartedAt"));
    for verb in ["pause", "resume"] {
        let refused = place.kubectl(&format!("rollout {verb} statefulset web")).await;
        let ing = format!(
            "statefulsets.apps \"web\" {} is not supported",
            if verb == "pause" { "pausing" } else { "resuming" }
        );
        assert!(refused.contains(&ing), "{refused}");
    }
}
