//! What is wrong with an object or a change, in upstream's words. The `apps` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/apps/validation/validation.go`.

use k8s_openapi::{
    api::apps::v1::{
        ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus,
        StatefulSetUpdateStrategy,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use serde_json::Value;

use super::{
    core::{pod, storage::claim_spec},
    report::{At, Report, entries, items, text},
    selector::label_selector,
    stead::max_unavailable,
};
use crate::{field::Cause, names, resource::Part};

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
    'template', 'updateStrategy', 'revisionHistoryLimit', \
    'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Longest name whose pods can be made: their label `controller-revision-hash` holds it, a dash and
/// a hash of up to 10 characters, and a label's value has 63.
///
/// Departs from upstream, which accepts 63 characters, makes claims, and then fails to create any
/// pod (issue 64023). Such a set that is stored already may be changed.
const NAME_MAX: usize = 52;

const LONG_NAME: &str = "must be no more than 52 bytes: each pod of the set has a label that is \
    this name, a dash and a hash of up to 10 characters, and a label must be no more than 63 bytes";

pub(crate) fn controller_revision(
    revision: &ControllerRevision,
    old: Option<&ControllerRevision>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let at = At::new("data");
    match revision.data.as_ref().map(|data| &data.0) {
        None | Some(Value::Null) => out.required(at, "data is mandatory"),
        Some(Value::Object(_)) => {}
        Some(other) => out.invalid(at, other.clone(), "data must be a valid JSON object"),
    }
    out.not_negative(At::new("revision"), revision.revision);
    if let Some(old) = old
        && revision.data != old.data
    {
        let data = revision.data.as_ref().map_or(Value::Null, |data| data.0.clone());
        out.invalid(at, data, "field is immutable");
    }
    out.into_causes()
}

pub(crate) fn stateful_set(set: &StatefulSet, old: Option<&StatefulSet>, part: Part) -> Vec<Cause> {
    let mut out = Report::default();
    let old_status = old.and_then(|old| old.status.as_ref());
    if old.is_some() && part == Part::Status {
        if let Some(new) = &set.status {
            status(new, old_status, &mut out);
        }
        return out.into_causes();
    }
    let Some(spec) = &set.spec else {
        out.required(At::new("spec"), "");
        return out.into_causes();
    };
    let at = At::new("spec");
    match old.and_then(|old| old.spec.as_ref()) {
        None => {
            let name = text(&set.metadata.name);
            // A longer one is refused as a name already.
            if (NAME_MAX + 1..=63).contains(&name.len()) {
                out.invalid(At::new("metadata").field("name"), name, LONG_NAME);
            }
            shape(spec, at, &mut out);
            template(spec, at, &mut out);
            created(spec, at, &mut out);
        }
        Some(before) => {
            shape(spec, at, &mut out);
            ratcheted_template(spec, before, at, &mut out);
            if !same_where_fixed(spec, before) {
                out.forbidden(at, FIXED);
            }
        }
    }
    out.into_causes()
}

/// Everything but the template.
fn shape(spec: &StatefulSetSpec, at: At<'_>, out: &mut Report) {
    let policy = text(&spec.pod_management_policy);
    match policy {
        "OrderedReady" | "Parallel" => {}
        "" => out.required(at.field("podManagementPolicy"), ""),
        other => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            out.invalid(at.field("podManagementPolicy"), other, why);
        }
    }
    update_strategy(spec.update_strategy.as_ref(), at.field("updateStrategy"), out);
    if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
        let at = at.field("persistentVolumeClaimRetentionPolicy");
        let known = ["Retain", "Delete"];
        out.known(at.field("whenDeleted"), text(&retention.when_deleted), &known);
        out.known(at.field("whenScaled"), text(&retention.when_scaled), &known);
    }
    out.not_negative(at.field("replicas"), i64::from(spec.replicas.unwrap_or(0)));
    out.not_negative(at.field("minReadySeconds"), i64::from(spec.min_ready_seconds.unwrap_or(0)));
    if let Some(start) = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start) {
        out.not_negative(at.field("ordinals.start"), i64::from(start));
    }
    let at_selector = at.field("selector");
    label_selector(&spec.selector, at_selector, out);
    // `selector: {}` and none at all are read as the same value; the second is what people write.
    let absent = spec.selector == LabelSelector::default();
    if absent {
        out.required(at_selector, "");
    } else if is_empty(&spec.selector) {
        let why = "empty selector is invalid for statefulset";
        out.invalid_object(at_selector, &spec.selector, why);
    }
    if absent || !selects(&spec.selector, spec) {
        let meta = spec.template.metadata.as_ref();
        let labels = meta.and_then(|meta| meta.labels.clone()).unwrap_or_default();
        let template = at.field("template");
        let metadata = template.field("metadata");
        let why = "`selector` does not match template `labels`";
        out.invalid_object(metadata.field("labels"), &labels, why);
    }
}

fn update_strategy(strategy: Option<&StatefulSetUpdateStrategy>, at: At<'_>, out: &mut Report) {
    let Some(strategy) = strategy else {
        out.required(at, "");
        return;
    };
    let at_rolling = at.field("rollingUpdate");
    match (text(&strategy.type_), &strategy.rolling_update) {
        ("", _) => out.required(at, ""),
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            out.invalid_object(at_rolling, rolling, why);
        }
        ("RollingUpdate", Some(rolling)) => {
            let partition = i64::from(rolling.partition.unwrap_or(0));
            out.not_negative(at_rolling.field("partition"), partition);
            if let Some(max) = &rolling.max_unavailable {
                max_unavailable(max, at_rolling.field("maxUnavailable"), out);
            }
        }
        _ => out.invalid_object(at, strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && items(&selector.match_expressions).is_empty()
}

/// Whether the selector matches the labels of the template.
fn selects(selector: &LabelSelector, spec: &StatefulSetSpec) -> bool {
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let matches = |requirement: &LabelSelectorRequirement| {
        let value = value(&requirement.key);
        let among = value.is_some_and(|value| items(&requirement.values).contains(value));
        match requirement.operator.as_str() {
            "In" => among,
            "NotIn" => !among,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => true, // said already
        }
    };
    entries(&selector.match_labels).all(|(key, wanted)| value(key) == Some(wanted))
        && items(&selector.match_expressions).iter().all(matches)
}

fn template(spec: &StatefulSetSpec, at: At<'_>, out: &mut Report) {
    let templates = items(&spec.volume_claim_templates);
    let claims: Vec<&str> = templates.iter().map(|claim| text(&claim.metadata.name)).collect();
    let at_template = at.field("template");
    pod::template(&spec.template, &claims, at_template, out);
    let Some(pod) = &spec.template.spec else { return };
    let at_pod = at_template.field("spec");
    let policy = text(&pod.restart_policy);
    if policy != "Always" {
        out.not_supported(at_pod.field("restartPolicy"), policy, &["Always"]);
    }
    if pod.active_deadline_seconds.is_some() {
        let why = "activeDeadlineSeconds in StatefulSet is not Supported";
        out.forbidden(at_pod.field("activeDeadlineSeconds"), why);
    }
}

/// What was wrong before the change does not stop it.
fn ratcheted_template(
    spec: &StatefulSetSpec,
    before: &StatefulSetSpec,
    at: At<'_>,
    out: &mut Report,
) {
    let faultless = out.len();
    template(spec, at, out);
    if out.len() > faultless {
        let mut stored = Report::default();
        shape(before, at, &mut stored);
        template(before, at, &mut stored);
        if stored.len() > 0 {
            out.truncate(faultless);
        }
    }
}

fn created(spec: &StatefulSetSpec, at: At<'_>, out: &mut Report) {
    let service = text(&spec.service_name);
    if !service.is_empty() {
        out.faults(at.field("serviceName"), service, names::dns_label(service));
    }
    for (index, claim) in items(&spec.volume_claim_templates).iter().enumerate() {
        let list = at.field("volumeClaimTemplates");
        let item = list.index(index);
        let empty = Default::default();
        claim_spec(claim.spec.as_ref().unwrap_or(&empty), item.field("spec"), out);
    }
}

fn same_where_fixed(new: &StatefulSetSpec, old: &StatefulSetSpec) -> bool {
    new.service_name.as_deref().unwrap_or_default()
        == old.service_name.as_deref().unwrap_or_default()
        && new.selector == old.selector
        && new.pod_management_policy == old.pod_management_policy
        && new.volume_claim_templates == old.volume_claim_templates
}

fn status(new: &StatefulSetStatus, old: Option<&StatefulSetStatus>, out: &mut Report) {
    let at = At::new("status");
    let ready = new.ready_replicas.unwrap_or(0);
    let available = new.available_replicas.unwrap_or(0);
    let counts = [
        ("readyReplicas", ready),
        ("currentReplicas", new.current_replicas.unwrap_or(0)),
        ("updatedReplicas", new.updated_replicas.unwrap_or(0)),
        ("availableReplicas", available),
    ];
    out.not_negative(at.field("replicas"), i64::from(new.replicas));
    for (field, count) in counts {
        out.not_negative(at.field(field), i64::from(count));
    }
    out.not_negative(at.field("observedGeneration"), new.observed_generation.unwrap_or(0));
    let collisions = new.collision_count;
    out.not_negative(at.field("collisionCount"), i64::from(collisions.unwrap_or(0)));
    for (field, count) in counts {
        if count > new.replicas {
            out.invalid(at.field(field), count, "cannot be greater than status.replicas");
        }
    }
    if available > ready {
        let why = "cannot be greater than status.readyReplicas";
        out.invalid(at.field("availableReplicas"), available, why);
    }
    let before = old.and_then(|old| old.collision_count);
    if before.is_some_and(|before| collisions.is_none_or(|now| now < before)) {
        let now = collisions.unwrap_or(0);
        out.invalid(at.field("collisionCount"), now, "cannot be decremented");
    }
}
