//! The revisions of a set's template: which are its own, what they hold, and which one to go back to.

use anyhow::{Result, bail};
use api::policy::StatefulSetPolicy;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use serde_json::Value;

const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// The set's own revisions, oldest first.
pub(crate) fn own(set: &StatefulSet, all: Vec<ControllerRevision>) -> Vec<ControllerRevision> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mine = |revision: &ControllerRevision| {
        let owners = revision.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
    };
    let mut own: Vec<_> = all.into_iter().filter(mine).collect();
    own.sort_by(|a, b| (a.revision, name(a)).cmp(&(b.revision, name(b))));
    own
}

/// A table of them, or the template of one.
pub(crate) fn print(
    set: &StatefulSet,
    own: &[ControllerRevision],
    number: Option<i64>,
) -> Result<String> {
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    if own.is_empty() {
        bail!("no rollout history found for statefulset {set_name:?}");
    }
    if let Some(number) = number {
        let one = numbered(own, number)?;
        let template = template(one);
        let text = serde_saphyr::to_string(&template)?;
        return Ok(format!("statefulset.apps/{set_name} with revision #{number}\n{text}"));
    }
    let status = set.status.clone().unwrap_or_default();
    let mut text =
        format!("statefulset.apps/{set_name}\n{:<9} {:<8} CHANGE-CAUSE\n", "REVISION", "STATE");
    for revision in own {
        let is = |field: &Option<String>| field.as_deref() == Some(name(revision));
        let state = match (is(&status.current_revision), is(&status.update_revision)) {
            (true, true) => "current",
            (true, false) => "old",
            (false, true) => "new",
            (false, false) => "-",
        };
        let cause = revision.metadata.annotations.as_ref().and_then(|all| all.get(CHANGE_CAUSE));
        let cause = cause.map_or("<none>", String::as_str);
        text += &format!("{:<9} {state:<8} {cause}\n", revision.revision);
    }
    Ok(text)
}

/// The revision to go back to: the chosen one; else the last one that was rolled out whole, as the
/// policy knows, else as the set's own status does; of a set whose rollout is done, the one before.
pub(crate) fn target<'a>(
    set: &StatefulSet,
    policy: Option<&StatefulSetPolicy>,
    own: &'a [ControllerRevision],
    number: Option<i64>,
) -> Result<&'a ControllerRevision> {
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    if own.is_empty() {
        bail!("no rollout history found for statefulset {set_name:?}");
    }
    if let Some(number) = number.filter(|number| *number != 0) {
        return numbered(own, number);
    }
    if let Some(completed) = unfinished_from(set, policy, own) {
        return Ok(completed);
    }
    let status = set.status.clone().unwrap_or_default();
    let given_up = policy.and_then(|policy| policy.status.as_ref()?.returned_from.clone());
    let update = status.update_revision.unwrap_or_default();
    let before = own
        .iter()
        .rev()
        .find(|revision| name(revision) != update && Some(name(revision)) != given_up.as_deref());
    match before {
        Some(before) => Ok(before),
        None => bail!("no last revision to roll back to"),
    }
}

/// The last completed revision of a set whose rollout is not done; `None` when it is.
pub(crate) fn unfinished_from<'a>(
    set: &StatefulSet,
    policy: Option<&StatefulSetPolicy>,
    own: &'a [ControllerRevision],
) -> Option<&'a ControllerRevision> {
    let status = set.status.clone().unwrap_or_default();
    let known = policy.and_then(|policy| policy.status.as_ref()?.last_completed_revision.clone());
    let completed = known.filter(|known| !known.is_empty()).or(status.current_revision)?;
    let update = status.update_revision?;
    (completed != update).then(|| own.iter().find(|revision| name(revision) == completed))?
}

/// The template that a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Value {
    let data = revision.data.as_ref().map_or(&Value::Null, |data| &data.0);
    let mut template = data["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn numbered(own: &[ControllerRevision], number: i64) -> Result<&ControllerRevision> {
    match own.iter().find(|revision| revision.revision == number) {
        Some(found) => Ok(found),
        None => bail!("unable to find specified revision {number} in history"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn set(current: &str, update: &str) -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": "web", "uid": "u"},
            "status": {"replicas": 1, "currentRevision": current, "updateRevision": update}}))
        .unwrap()
    }

    fn all() -> Vec<ControllerRevision> {
        let one = |name: &str, number: i64, uid: &str| {
            serde_json::from_value(json!({"metadata": {"name": name,
                "annotations": {CHANGE_CAUSE: format!("because of {name}")},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web",
                    "uid": uid, "controller": true}]},
                "revision": number,
                "data": {"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"name": name}]}}}}}))
            .unwrap()
        };
        vec![one("c", 3, "u"), one("x", 9, "other"), one("a", 1, "u"), one("b", 2, "u")]
    }

    #[test]
    fn printed() {
        let set = set("a", "c");
        let own = own(&set, all());
        expect![[r#"
            statefulset.apps/web
            REVISION  STATE    CHANGE-CAUSE
            1         old      because of a
            2         -        because of b
            3         new      because of c
        "#]]
        .assert_eq(&print(&set, &own, None).unwrap());
        expect![[r#"
            statefulset.apps/web with revision #2
            spec:
              containers:
              - name: b
        "#]]
        .assert_eq(&print(&set, &own, Some(2)).unwrap());
        let error = print(&set, &own, Some(7)).unwrap_err().to_string();
        assert_eq!(error, "unable to find specified revision 7 in history");
        let error = print(&set, &[], None).unwrap_err().to_string();
        assert_eq!(error, "no rollout history found for statefulset \"web\"");
    }

    #[test]
    fn targets() {
        let policy = |completed: &str, given_up: &str| -> StatefulSetPolicy {
            serde_json::from_value(json!({"metadata": {}, "spec": {"statefulSetName": "web"},
                "status": {"lastCompletedRevision": completed, "returnedFrom": given_up}}))
            .unwrap()
        };
        for (current, update, policy, number, wanted) in [
            // A bad rollout after a bad rollout: back to what last worked, not to the one before.
            ("a", "c", None, None, "a"),
            ("c", "c", None, None, "b"),
            ("c", "c", Some(policy("c", "b")), None, "a"),
            ("a", "c", Some(policy("b", "")), None, "b"),
            ("c", "c", None, Some(1), "a"),
            ("c", "c", None, Some(0), "b"),
            ("c", "c", None, Some(4), "unable to find specified revision 4 in history"),
        ] {
            let set = set(current, update);
            let own = own(&set, all());
            let found = target(&set, policy.as_ref(), &own, number);
            let found =
                found.map_or_else(|error| error.to_string(), |found| name(found).to_owned());
            assert_eq!(found, wanted, "{current} {update} {number:?}");
        }
    }
}
