//! The rows' language: one line becomes a view, and a plan one line.
//!
//! ```text
//! SET                           | PODS              | CLAIMS            | POLICY => PLAN
//! 3@b from=a partition=1 data   | 0:ok@a 1:term@b   | 0:plain 1:set     | paused => create 2@b; until 2 is healthy
//! ```
//!
//! A policy is there when something is said of it; it is told already of what it is.
//!
//! The set is `web`, its claim template `data`; a revision is a letter, which is also the image's
//! tag. `from` is the current revision; without it, it is the one before the template's `@`.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::{
        api::{
            apps::v1::{ControllerRevision, StatefulSet},
            core::v1::{PersistentVolumeClaim, Pod},
        },
        apimachinery::pkg::runtime::RawExtension,
    },
    resource,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Options, View, reconcile, revision_data, revision_hash};
use crate::{Plan, Verb};

/// The instant of all rows.
pub(super) const NOW: &str = "2026-01-01T01:00:00Z";

/// Each row `CASE => PLAN`: the plan is what stands there, status writes aside.
#[track_caller]
pub(super) fn check(rows: &str) {
    compare(rows, |case| short(&reconcile(&view(case))));
}

/// Each row `CASE => EVENTS`: what is said when all succeeds, one event after the other.
#[track_caller]
pub(super) fn check_events(rows: &str) {
    compare(rows, |case| {
        let plan = reconcile(&view(case));
        let events =
            plan.actions.iter().filter_map(|action| action.events.as_ref()?.success.as_ref());
        let lines = events.map(|note| {
            let kind = if note.warning { "Warning" } else { "Normal" };
            format!("{kind} {} {}", note.reason, note.message)
        });
        lines.collect::<Vec<_>>().join("; ")
    });
}

/// Each row `CASE => EVENTS`: what is said when each action fails with `E`.
#[track_caller]
pub(super) fn check_failures(rows: &str) {
    compare(rows, |case| {
        let plan = reconcile(&view(case));
        let events = plan.actions.iter().filter_map(|action| action.events.as_ref());
        let lines = events.flat_map(|outcome| &outcome.failure).map(|note| {
            let kind = if note.warning { "Warning" } else { "Normal" };
            format!("{kind} {} {}", note.reason, note.message.replace("{error}", "E"))
        });
        lines.collect::<Vec<_>>().join("; ")
    });
}

/// Each row `CASE => STATUS`: `replicas/ready/available current+updated@from>to`, as written.
#[track_caller]
pub(super) fn check_status(rows: &str) {
    compare(rows, |case| {
        let view = view(case);
        let text = status(&reconcile(&view)).unwrap_or_else(|| "as it was".to_owned());
        // Conditions have rows of their own.
        if Some(&text) == line(&view.set).as_ref() { "as it was".to_owned() } else { text }
    });
}

#[track_caller]
fn compare(rows: &str, answer: impl Fn(&str) -> String) {
    let mut wrong = String::new();
    let mut count = 0;
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with("//")) {
        let (case, wanted) = row.split_once("=>").unwrap_or_else(|| panic!("no => in {row}"));
        let (wanted, got) = (wanted.trim(), answer(case));
        count += 1;
        if wanted != got {
            wrong += &format!("\n{case}\n  wanted {wanted}\n  got    {got}\n");
        }
    }
    assert!(wrong.is_empty() && count > 0, "{wrong}");
}

/// The plan in few words: the set's pods by ordinal, with their revisions; no status.
pub(super) fn short(plan: &Plan) -> String {
    let mut parts: Vec<String> = Vec::new();
    for action in &plan.actions {
        let mut text = action.to_string();
        match &action.verb {
            Verb::Update { subresource: Some("status"), .. } => continue,
            Verb::Create(object) => {
                if let Some(pod) = object.as_any().downcast_ref::<Pod>() {
                    text += &format!("@{}", letter(pod.metadata.labels.as_ref().unwrap()));
                }
            }
            Verb::Update { object, .. } => {
                if let Some(claim) = object.as_any().downcast_ref::<PersistentVolumeClaim>() {
                    text = format!("own {}: {}", action_name(&text), owners(claim));
                }
            }
            Verb::Patch { body, .. } => {
                let meta = &body["metadata"];
                let owners = meta["ownerReferences"].as_array();
                let adopts =
                    owners.is_some_and(|owners| owners.iter().all(|o| o["$patch"].is_null()));
                text = match (owners, adopts) {
                    (None, _) => text.replace("patch", "label"),
                    (Some(_), true) => text.replace("patch", "adopt"),
                    (Some(_), false) => text.replace("patch", "release"),
                };
            }
            _ => (),
        }
        parts.push(text);
    }
    parts.extend(plan.waits.iter().map(ToString::to_string));
    parts.extend(plan.look_again.map(|at| {
        let now: Timestamp = NOW.parse().unwrap();
        format!("look again in {}s", at.duration_since(now).as_secs())
    }));
    let text = parts.join("; ").replace("Pod web-", "").replace("pod web-", "");
    let text = text.replace("PersistentVolumeClaim ", "").replace("ControllerRevision ", "");
    let text =
        ["a", "b", "c"].iter().fold(text, |text, tag| text.replace(&revision_name(tag), tag));
    if text.is_empty() { "nothing".to_owned() } else { text }
}

fn action_name(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

fn owners(claim: &PersistentVolumeClaim) -> String {
    let owners = claim.metadata.owner_references.iter().flatten();
    let names: Vec<String> = owners
        .map(|owner| {
            let controls = if owner.controller == Some(true) { "" } else { "~" };
            format!("{controls}{}", owner.uid)
        })
        .collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join("+") }
}

/// The status as `check_status` prints it.
pub(super) fn status(plan: &Plan) -> Option<String> {
    line(written(plan)?)
}

/// The set as the plan writes its status.
pub(super) fn written(plan: &Plan) -> Option<&StatefulSet> {
    plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Update { object, subresource: Some("status") } => {
            object.as_any().downcast_ref::<StatefulSet>()
        }
        _ => None,
    })
}

fn line(set: &StatefulSet) -> Option<String> {
    let status = set.status.as_ref()?;
    let name = |name: &Option<String>| {
        let name = name.clone().unwrap_or_default();
        ["a", "b", "c"].into_iter().find(|tag| revision_name(tag) == name).unwrap_or("?")
    };
    Some(format!(
        "{}/{}/{} {}+{}@{}>{}",
        status.replicas,
        status.ready_replicas.unwrap_or(0),
        status.available_replicas.unwrap_or(0),
        status.current_replicas.unwrap_or(0),
        status.updated_replicas.unwrap_or(0),
        name(&status.current_revision),
        name(&status.update_revision),
    ))
}

/// A set as the API server has it, its template at this revision.
pub(super) fn set(tag: &str) -> StatefulSet {
    let mut set: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1,
            "resourceVersion": "1", "annotations": {"kubernetes.io/change-cause": "why not"}},
        "spec": {"serviceName": "nginx", "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "nginx", "image": format!("nginx:{tag}")}]}}},
    }))
    .unwrap();
    resource::of::<StatefulSet>().apply_defaults(&mut set);
    set
}

/// The name of the revision of a letter.
pub(super) fn revision_name(tag: &str) -> String {
    thread_local! {
        static NAMES: std::cell::RefCell<BTreeMap<String, String>> = const {
            std::cell::RefCell::new(BTreeMap::new())
        };
    }
    NAMES.with_borrow_mut(|names| {
        let make = || format!("web-{}", revision_hash(&revision_data(&set(tag)), 0));
        names.entry(tag.to_owned()).or_insert_with(make).clone()
    })
}

fn letter(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get("controller-revision-hash").cloned().unwrap_or_default();
    let known = ["a", "b", "c"].into_iter().find(|tag| revision_name(tag) == name);
    known.map_or(name, str::to_owned)
}

/// The set's revision of a letter, under a number.
pub(super) fn revision(tag: &str, number: i64) -> ControllerRevision {
    let mut revision: ControllerRevision = serde_json::from_value(json!({
        "metadata": {"name": revision_name(tag), "namespace": "default", "uid": format!("rev-{tag}"),
            "resourceVersion": "1", "labels": {"app": "web"}, "ownerReferences": [owner_set()]},
        "revision": number,
    }))
    .unwrap();
    revision.data = Some(RawExtension(revision_data(&set(tag))));
    revision
}

pub(super) fn owner_set() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set",
        "controller": true, "blockOwnerDeletion": true})
}

/// A pod of the set: `ok`, `pending-term` …, at the revision of a letter.
pub(super) fn pod(ordinal: i64, state: &str, tag: &str) -> Pod {
    let name = format!("web-{ordinal}");
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("pod-{ordinal}"),
            "resourceVersion": "1", "ownerReferences": [owner_set()],
            "labels": {"app": "web", "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": ordinal.to_string(),
                "controller-revision-hash": revision_name(tag)}},
        "spec": {"containers": [], "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}}]},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    for word in state.split('-') {
        let ready =
            |pod: &mut Value, state: &str| pod["status"]["conditions"][0]["status"] = json!(state);
        let (status, meta) = ("status", "metadata");
        match word {
            "ok" => (),
            // Ready for five seconds.
            "new" => {
                pod[status]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:59:55Z")
            }
            // Ready a minute from now, by its node's clock.
            "ahead" => {
                pod[status]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T01:01:00Z")
            }
            // Ready, and does not say since when.
            "undated" => pod[status]["conditions"][0] = json!({"type": "Ready", "status": "True"}),
            "unready" => ready(&mut pod, "False"),
            "crash" => {
                ready(&mut pod, "False");
                pod[status]["containerStatuses"] = json!([{"name": "nginx", "image": "", "imageID": "",
                    "ready": false, "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
            }
            "pending" => pod[status] = json!({"phase": "Pending"}),
            "stuck" => {
                pod[status] = json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]})
            }
            // With a node, which has not begun with it.
            "placed" => {
                pod[status] = json!({"phase": "Pending"});
                pod["spec"]["nodeName"] = json!("one");
            }
            // Its volumes are there.
            "mounted" => {
                pod[status]["conditions"] =
                    json!([{"type": "PodReadyToStartContainers", "status": "True"}])
            }
            // An init container of it has run.
            "begun" => {
                pod[status]["initContainerStatuses"] = json!([{"name": "setup", "image": "", "imageID": "",
                    "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 1}}}])
            }
            "failed" => pod[status] = json!({"phase": "Failed"}),
            "done" => pod[status] = json!({"phase": "Succeeded"}),
            "term" => pod[meta]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z"),
            "orphan" => pod[meta]["ownerReferences"] = Value::Null,
            "foreign" => pod[meta]["ownerReferences"][0]["uid"] = json!("other"),
            "stray" => pod[meta]["labels"]["app"] = json!("other"),
            "nameless" => pod[meta]["labels"]["statefulset.kubernetes.io/pod-name"] = json!("x"),
            "indexless" => {
                let labels = pod[meta]["labels"].as_object_mut().unwrap();
                labels.remove("apps.kubernetes.io/pod-index");
            }
            "bare" => pod["spec"]["volumes"] = json!([{"name": "mine", "emptyDir": {}}]),
            other => panic!("no pod is `{other}`"),
        }
    }
    serde_json::from_value(pod).unwrap()
}

/// The claim `data-web-N`: its owners, and whether it is going, by words joined with `+`.
pub(super) fn claim(ordinal: i64, state: &str) -> PersistentVolumeClaim {
    let name = format!("data-web-{ordinal}");
    let mut meta = json!({"name": name, "namespace": "default", "uid": format!("claim-{ordinal}"),
        "resourceVersion": "1", "labels": {"app": "web"}});
    let mut owners = Vec::new();
    let owner = |kind: &str, name: &str, uid: &str, controller: Option<bool>| {
        let group = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
        json!({"apiVersion": group, "kind": kind, "name": name, "uid": uid,
            "controller": controller, "blockOwnerDeletion": controller})
    };
    let (mine, uid) = (format!("web-{ordinal}"), format!("pod-{ordinal}"));
    for word in state.split('+') {
        owners.push(match word {
            "plain" => continue,
            "going" => {
                meta["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
                continue;
            }
            "set" => owner("StatefulSet", "web", "set", Some(true)),
            "~set" => owner("StatefulSet", "web", "set", Some(false)),
            "oldset" => owner("StatefulSet", "web", "oldset", Some(true)),
            "pod" => owner("Pod", &mine, &uid, Some(true)),
            "oldpod" => owner("Pod", &mine, "oldpod", Some(true)),
            "boss" => owner("Backup", "b", "boss", Some(true)),
            "~friend" => owner("Backup", "b", "friend", None),
            other => panic!("no claim is `{other}`"),
        });
    }
    if !owners.is_empty() {
        meta["ownerReferences"] = json!(owners);
    }
    serde_json::from_value(json!({"metadata": meta, "spec": {}})).unwrap()
}

/// Claims by name, and those that are gone, with since when: `0:plain 1:gone=3`, gone for 300 ms.
fn claims(
    words: &str,
) -> (BTreeMap<String, Arc<PersistentVolumeClaim>>, BTreeMap<String, Timestamp>) {
    let (mut there, mut gone) = (BTreeMap::new(), BTreeMap::new());
    for word in words.split_whitespace() {
        let (ordinal, state) = word.split_once(':').unwrap();
        if let Some(tenths) = state.strip_prefix("gone=") {
            let ago = jiff::SignedDuration::from_millis(100 * tenths.parse::<i64>().unwrap());
            gone.insert(format!("data-web-{ordinal}"), NOW.parse::<Timestamp>().unwrap() - ago);
        } else {
            let claim = claim(ordinal.parse().unwrap(), state);
            there.insert(claim.metadata.name.clone().unwrap(), Arc::new(claim));
        }
    }
    (there, gone)
}

/// What a row says before its `=>`.
pub(super) fn view(case: &str) -> View {
    let mut parts = case.split('|');
    let mut words = parts.next().unwrap().split_whitespace();
    let (replicas, tag) = words.next().unwrap().split_once('@').unwrap();
    let mut set = set(tag);
    let words: Vec<&str> = words.collect();
    let said = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let from = said("from").unwrap_or(tag);
    let mut spec = set.spec.take().unwrap();
    spec.replicas = Some(replicas.parse().unwrap());
    let mut status = json!({"replicas": 0, "observedGeneration": 1, "collisionCount": 0,
        "currentRevision": revision_name(from), "updateRevision": revision_name(tag)});
    let mut fields = serde_json::to_value(&spec).unwrap();
    let mut options = Options::default();
    for word in &words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "from" | "had" | "unrevised" | "told" => (),
            "gateless" => options.max_unavailable = false,
            "deleting" => {
                set.metadata.deletion_timestamp = serde_json::from_value(json!(NOW)).unwrap()
            }
            // replicas/ready/available/current/updated, as the status has them.
            "counts" => {
                let names = [
                    "replicas",
                    "readyReplicas",
                    "availableReplicas",
                    "currentReplicas",
                    "updatedReplicas",
                ];
                // `-` is a count that the server does not know.
                for (name, count) in names.iter().zip(value.split('/')).filter(|(_, c)| *c != "-") {
                    status[name] = json!(count.parse::<i32>().unwrap());
                }
            }
            _ => say(&mut fields, key, value),
        }
        options.max_unavailable |= key == "max";
    }
    set.spec = serde_json::from_value(fields).unwrap();
    set.status = serde_json::from_value(status).unwrap();
    let mut tags: Vec<&str> =
        said("had").map_or_else(|| vec![from, tag], |had| had.split(',').collect());
    tags.dedup();
    let revisions = tags.iter().zip(1..).map(|(tag, number)| Arc::new(revision(tag, number)));
    let pods = parts.next().unwrap_or_default().split_whitespace().map(|word| {
        let (ordinal, rest) = word.split_once(':').unwrap();
        let (state, tag) = rest.split_once('@').unwrap();
        Arc::new(pod(ordinal.parse().unwrap(), state, tag))
    });
    let (claims, gone) = claims(parts.next().unwrap_or_default());
    let wishes: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
    let mut view = View {
        set: Arc::new(set),
        pods: pods.collect(),
        claims,
        gone,
        revisions: revisions.filter(|_| !words.contains(&"unrevised")).collect(),
        policies: super::policy::policies(&wishes),
        rules: None,
        refused: None,
        now: NOW.parse().unwrap(),
        options,
    };
    super::policy::settle(&mut view, &wishes);
    if words.contains(&"told") {
        tell(&mut view);
    }
    view
}

/// Gives the set the conditions that its plan would write.
pub(super) fn tell(view: &mut View) {
    let plan = reconcile(view);
    let conditions = written(&plan).and_then(|set| set.status.clone()?.conditions);
    Arc::make_mut(&mut view.set).status.as_mut().unwrap().conditions = conditions;
}

/// Each row `CASE => CONDITIONS`: those that are the controller's, as the set then has them.
#[track_caller]
pub(super) fn check_conditions(rows: &str) {
    compare(rows, |case| {
        let view = view(case);
        let plan = reconcile(&view);
        let set = written(&plan).unwrap_or(&view.set);
        let conditions = set.status.as_ref().unwrap().conditions.iter().flatten();
        let lines = conditions.map(|condition| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (reason, message) = (text(&condition.reason), text(&condition.message));
            format!("{} {} {reason}: {message}", condition.type_, condition.status)
        });
        let text = lines.collect::<Vec<_>>().join(" | ");
        ["a", "b", "c"].iter().fold(text, |text, tag| text.replace(&revision_name(tag), tag))
    });
}

/// One word about the set's spec.
fn say(spec: &mut Value, key: &str, value: &str) {
    let number = || value.parse::<i64>().unwrap();
    match key {
        "parallel" => spec["podManagementPolicy"] = json!("Parallel"),
        "ondelete" => spec["updateStrategy"] = json!({"type": "OnDelete"}),
        "nil" => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
        "partition" => spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(number()),
        "max" => {
            let max = value.parse::<i64>().map_or_else(|_| json!(value), |max| json!(max));
            spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = max;
        }
        "start" => spec["ordinals"] = json!({"start": number()}),
        "min" => spec["minReadySeconds"] = json!(number()),
        "limit" => spec["revisionHistoryLimit"] = json!(number()),
        "data" => {
            spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
        }
        "scaled" => spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!(value),
        "deleted" => spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = json!(value),
        other => panic!("no set is `{other}`"),
    }
}
