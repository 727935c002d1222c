//! How a rollout stands, in kubectl's sentences; with availability, which kubectl does not look at.

use api::policy::StatefulSetPolicy;
use k8s_openapi::api::apps::v1::StatefulSet;

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// Not done; the sentence.
    Goes(String),
    /// Done; the sentence.
    Done(String),
    /// It will not be done without a person; the sentence.
    Failed(String),
}

/// How the rollout of this set stands. Pure; any set has an answer.
///
/// Departs from kubectl: pods must be available, not only ready, for `minReadySeconds` is a
/// promise; `OnDelete` is followed, too, and says whose turn it is; a paused or overdue rollout
/// says so.
pub(crate) fn report(set: &StatefulSet, policy: Option<&StatefulSetPolicy>) -> Report {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let seen = status.observed_generation.unwrap_or(0);
    if seen == 0 || set.metadata.generation.unwrap_or(0) > seen {
        return Report::Goes("Waiting for statefulset spec update to be observed...".to_owned());
    }
    let wanted = spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0).min(status.ready_replicas.unwrap_or(0));
    let revision = status.update_revision.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    let by_hand = strategy.type_.as_deref() == Some("OnDelete");
    let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0);
    let goal = if by_hand { wanted } else { (wanted - partition).max(0) };
    let conditions = status.conditions.iter().flatten();
    let overdue = conditions.into_iter().any(|condition| {
        condition.type_ == "Progressing"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    if overdue && (updated < goal || available < wanted) {
        return Report::Failed(format!("statefulset {name:?} exceeded its progress deadline"));
    }
    if updated < goal && policy.is_some_and(|policy| policy.spec.paused == Some(true)) {
        return Report::Goes(format!(
            "the rollout is paused: {updated} out of {goal} new pods have been updated \
             (`stead rollout resume statefulset/{name}` lets it go on)"
        ));
    }
    if available < wanted {
        let late = wanted - available;
        return Report::Goes(format!("Waiting for {late} pods to be available..."));
    }
    if by_hand && updated < wanted {
        let old = wanted - updated;
        return Report::Goes(format!(
            "Waiting for {old} old pods to be deleted by hand (OnDelete): {updated} out of \
             {wanted} new pods have been updated..."
        ));
    }
    if !by_hand && partition > 0 {
        if updated < goal {
            return Report::Goes(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {goal} new pods \
                 have been updated..."
            ));
        }
        return Report::Done(format!(
            "partitioned roll out complete: {updated} new pods have been updated..."
        ));
    }
    if updated < wanted {
        return Report::Goes(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision \
             {revision}..."
        ));
    }
    Report::Done(format!(
        "statefulset rolling update complete {wanted} pods at revision {revision}..."
    ))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::{Report, report};

    /// `wanted updated ready available [words]`
    fn row(row: &str) -> String {
        let words: Vec<&str> = row.split(' ').collect();
        let count = |at: usize| words[at].parse::<i32>().unwrap();
        let has = |word: &str| words.contains(&word);
        let strategy = match () {
            () if has("ondelete") => json!({"type": "OnDelete"}),
            () if has("partition=1") => {
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
            }
            () => json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        };
        let conditions = if has("overdue") {
            json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}])
        } else {
            json!([])
        };
        let set = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": if has("new") { 2 } else { 1 }},
            "spec": {"replicas": count(0), "updateStrategy": strategy, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": count(0), "updatedReplicas": count(1),
                "readyReplicas": count(2), "availableReplicas": count(3),
                "updateRevision": "web-b", "conditions": conditions},
        }))
        .unwrap();
        let policy = serde_json::from_value(json!({"metadata": {"name": "web"},
            "spec": {"statefulSetName": "web", "paused": has("paused")}}))
        .unwrap();
        match report(&set, Some(&policy)) {
            Report::Goes(text) => format!("goes   {text}"),
            Report::Done(text) => format!("done   {text}"),
            Report::Failed(text) => format!("failed {text}"),
        }
    }

    #[test]
    fn rows() {
        let rows = [
            "3 3 3 3",
            "3 3 3 3 new",
            "3 1 3 3",
            "3 3 3 2",
            "3 1 2 2",
            "3 1 3 3 paused",
            "3 3 3 3 paused",
            "3 1 2 2 overdue",
            "3 3 3 3 overdue",
            "3 1 3 3 ondelete",
            "3 3 3 3 ondelete",
            "3 1 3 3 partition=1",
            "3 2 3 3 partition=1",
            "3 2 2 2 partition=1",
            "0 0 0 0",
        ];
        let lines: Vec<String> =
            rows.iter().map(|case| format!("{case:<20} {}", row(case))).collect();
        expect![[r#"
            3 3 3 3              done   statefulset rolling update complete 3 pods at revision web-b...
            3 3 3 3 new          goes   Waiting for statefulset spec update to be observed...
            3 1 3 3              goes   waiting for statefulset rolling update to complete 1 pods at revision web-b...
            3 3 3 2              goes   Waiting for 1 pods to be available...
            3 1 2 2              goes   Waiting for 1 pods to be available...
            3 1 3 3 paused       goes   the rollout is paused: 1 out of 3 new pods have been updated (`stead rollout resume statefulset/web` lets it go on)
            3 3 3 3 paused       done   statefulset rolling update complete 3 pods at revision web-b...
            3 1 2 2 overdue      failed statefulset "web" exceeded its progress deadline
            3 3 3 3 overdue      done   statefulset rolling update complete 3 pods at revision web-b...
            3 1 3 3 ondelete     goes   Waiting for 2 old pods to be deleted by hand (OnDelete): 1 out of 3 new pods have been updated...
            3 3 3 3 ondelete     done   statefulset rolling update complete 3 pods at revision web-b...
            3 1 3 3 partition=1  goes   Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated...
            3 2 3 3 partition=1  done   partitioned roll out complete: 2 new pods have been updated...
            3 2 2 2 partition=1  goes   Waiting for 1 pods to be available...
            0 0 0 0              done   statefulset rolling update complete 0 pods at revision web-b..."#]].assert_eq(&lines.join("\n"));
    }
}
