//! `StatefulSetPolicy` (`stead.io/v1alpha1`): what a StatefulSet cannot say of itself.
//!
//! Written by hand after the pattern of k8s-openapi's types, because kube's derive makes types that
//! are not of that pattern: it implements kube's `Resource`, which kube already implements for
//! everything that has k8s-openapi's, and the table of kinds is built on the latter.
//!
//! The doc comments of fields are what `kubectl explain` shows.

use std::ops::RangeInclusive;

use k8s_openapi::{
    ListableResource, Metadata, NamespaceResourceScope, Resource,
    apimachinery::pkg::{
        apis::meta::v1::{Condition, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;

#[cfg(test)]
mod crd;

/// A StatefulSetPolicy says, for one StatefulSet of its namespace, what the set cannot say of itself:
/// pause, rollouts that recover, how many pods may be unavailable, deadlines and reserved ordinals.
/// A set without a policy behaves as in any Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Wire", into = "Wire")]
#[schemars(
    rename = "io.stead.v1alpha1.StatefulSetPolicy",
    !try_from,
    !into,
    transform = identified
)]
pub struct StatefulSetPolicy {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// What is wished for the set.
    pub spec: StatefulSetPolicySpec,
    /// What the controller last saw and did.
    pub status: Option<StatefulSetPolicyStatus>,
}

/// What is wished for the set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(
    rename = "io.stead.v1alpha1.StatefulSetPolicySpec",
    extend("required" = ["statefulSetName"]),
    transform = plain
)]
pub struct StatefulSetPolicySpec {
    /// Name of the StatefulSet of the same namespace that this policy speaks for; it need not exist
    /// yet. A set has at most one policy: where two name it, neither acts. Immutable.
    #[serde(default, deserialize_with = "null_is_default")]
    pub stateful_set_name: String,
    /// While true, no pod is replaced for its revision, and the progress deadline stands still.
    /// Scaling goes on, and lost pods are made again. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How a changed template reaches the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPolicy>,
    /// How a changed number of replicas is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingPolicy>,
    /// Which ordinals the set leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinals: Option<OrdinalsPolicy>,
}

/// How a changed template reaches the pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.stead.v1alpha1.RolloutPolicy", transform = plain)]
pub struct RolloutPolicy {
    /// Whether a pod that is not available and not at the update revision is replaced at once, in
    /// OrderedReady too, and without counting against maxUnavailable. Defaults to false: such a pod
    /// is waited for, as upstream does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_broken_pods: Option<bool>,
    /// How many pods may be unavailable during a rollout, in both pod management policies: a number
    /// above 0 or a percentage of replicas (up to 100%), rounded down, at least 1. Defaults to what
    /// the set says, or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// How an OrderedReady set makes pods again that a rollout deleted together: Ordered (one after
    /// the other) or Batched (together). Defaults to Ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Ordered", "Batched"]))]
    pub creation: Option<String>,
    /// Seconds without progress after which the set's condition Progressing becomes False with reason
    /// ProgressDeadlineExceeded; above 0. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
    /// What happens after the deadline: None, or Return (the set's template is set back to that of
    /// its last completed revision). Return needs progressDeadlineSeconds. Defaults to None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "Return"]))]
    pub on_deadline: Option<String>,
}

/// How a changed number of replicas is carried out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.stead.v1alpha1.ScalingPolicy", transform = plain)]
pub struct ScalingPolicy {
    /// How many pods may be being made or removed at once: a number above 0 or a percentage of
    /// replicas (up to 100%), rounded down, at least 1. Defaults to 1 under OrderedReady, all under
    /// Parallel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

/// Which ordinals the set leaves out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.stead.v1alpha1.OrdinalsPolicy", transform = plain)]
pub struct OrdinalsPolicy {
    /// Ordinals, or ranges of them, that get no pod: a set of 3 with "1" reserved has the pods 0, 2
    /// and 3. An ordinal that has a pod loses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub reserved: Option<Vec<String>>,
    /// What happens to the claims of a reserved ordinal: Retain or Delete. Defaults to Retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Retain", "Delete"]))]
    pub claims: Option<String>,
}

/// What the controller last saw and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.stead.v1alpha1.StatefulSetPolicyStatus", transform = plain)]
pub struct StatefulSetPolicyStatus {
    /// The generation of the policy that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the ControllerRevision of the set's last completed rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_completed_revision: Option<String>,
    /// Name of the ControllerRevision that was given up after the deadline, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_from: Option<String>,
    /// Conditions of the policy: Accepted, Paused, RolledBack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,
}

impl Resource for StatefulSetPolicy {
    const API_VERSION: &'static str = "stead.io/v1alpha1";
    const GROUP: &'static str = "stead.io";
    const KIND: &'static str = "StatefulSetPolicy";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "statefulsetpolicies";
    type Scope = NamespaceResourceScope;
}

impl ListableResource for StatefulSetPolicy {
    const LIST_KIND: &'static str = "StatefulSetPolicyList";
}

impl Metadata for StatefulSetPolicy {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Why entries of `spec.ordinals.reserved` name no ordinals.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReservedError {
    /// Neither `1` nor `3-5`.
    #[error(
        "a reserved ordinal must be a number or a range of numbers (e.g. '1',  or '3-5', regex used for validation is '{RESERVED_PATTERN}')"
    )]
    Shape,
    /// Its end lies before its start.
    #[error("the end of a range must be greater than or equal to its start")]
    Backwards,
    /// No pod can have it.
    #[error("an ordinal must be less than or equal to {}", i32::MAX)]
    TooLarge,
}

/// What an entry of `spec.ordinals.reserved` looks like.
pub const RESERVED_PATTERN: &str = "(0|[1-9][0-9]*)(-(0|[1-9][0-9]*))?";

/// The ordinals that one entry of `spec.ordinals.reserved` names: `1` or `3-5`.
///
/// # Errors
///
/// When it is neither, runs backwards, or goes beyond what an ordinal can be (int32).
pub fn reserved(entry: &str) -> Result<RangeInclusive<i32>, ReservedError> {
    let (start, end) = entry.split_once('-').unwrap_or((entry, entry));
    let (start, end) = (ordinal(start)?, ordinal(end)?);
    if end < start { Err(ReservedError::Backwards) } else { Ok(start..=end) }
}

/// An ordinal as it stands in names of pods: digits, no leading zeros.
fn ordinal(text: &str) -> Result<i32, ReservedError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() > 1 && text.starts_with('0') {
        return Err(ReservedError::Shape);
    }
    text.parse().map_err(|_| ReservedError::TooLarge)
}

/// The policy as it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    spec: StatefulSetPolicySpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<StatefulSetPolicyStatus>,
}

impl TryFrom<Wire> for StatefulSetPolicy {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        for (found, wanted) in [(wire.api_version, Self::API_VERSION), (wire.kind, Self::KIND)] {
            if let Some(found) = found
                && found != wanted
            {
                return Err(format!("invalid value: string {found:?}, expected {wanted}"));
            }
        }
        Ok(Self { metadata: wire.metadata, spec: wire.spec, status: wire.status })
    }
}

impl From<StatefulSetPolicy> for Wire {
    fn from(policy: StatefulSetPolicy) -> Self {
        Self {
            api_version: Some(StatefulSetPolicy::API_VERSION.to_owned()),
            kind: Some(StatefulSetPolicy::KIND.to_owned()),
            metadata: policy.metadata,
            spec: policy.spec,
            status: policy.status,
        }
    }
}

/// As Go reads: `null` is as good as nothing.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Brings a derived schema to the form of k8s-openapi's: what may be absent is not said to be null,
/// and a description is one line.
fn plain(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    one_line(object);
    let Some(Value::Object(fields)) = object.get_mut("properties") else { return };
    for field in fields.values_mut().filter_map(Value::as_object_mut) {
        one_line(field);
        field.remove("default");
        if let Some(Value::Array(types)) = field.get("type")
            && let Some(one) = types.iter().find(|one| *one != "null").cloned()
        {
            field.insert("type".to_owned(), one);
        }
        if let Some(Value::Array(either)) = field.remove("anyOf")
            && let Some(Value::Object(one)) = either.into_iter().next()
        {
            field.extend(one);
        }
    }
}

/// [`plain`], for the whole object: with `apiVersion` and `kind`.
fn identified(schema: &mut Schema) {
    plain(schema);
    let Some(object) = schema.as_object_mut() else { return };
    object.insert("required".to_owned(), serde_json::json!(["metadata", "spec"]));
    let lease = k8s_openapi::api::coordination::v1::Lease::json_schema(
        &mut schemars::SchemaGenerator::default(),
    );
    let Some(Value::Object(fields)) = object.get_mut("properties") else { return };
    for name in ["apiVersion", "kind"] {
        let said = lease.get("properties").and_then(|fields| fields.get(name));
        fields.insert(name.to_owned(), said.cloned().unwrap_or(Value::Bool(true)));
    }
}

fn one_line(object: &mut serde_json::Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entry: &str, want: &str) {
        let said = match reserved(entry) {
            Ok(range) => format!("{}..={}", range.start(), range.end()),
            Err(why) => format!("{why:?}"),
        };
        assert_eq!(said, want, "{entry}");
    }

    #[test]
    fn reserved_ordinals() {
        check("0", "0..=0");
        check("3-5", "3..=5");
        check("4-4", "4..=4");
        check("2147483647", "2147483647..=2147483647");
        check("2147483648", "TooLarge");
        check("1-2147483648", "TooLarge");
        check("5-3", "Backwards");
        for entry in ["", "-", "1-", "-1", "01", "1-02", "a", "1-2-3", " 1", "+1", "٣"] {
            check(entry, "Shape");
        }
    }

    #[test]
    fn another_kind_is_not_read_as_a_policy() {
        let read = |text: &str| serde_json::from_str::<StatefulSetPolicy>(text);
        assert!(read("{}").is_ok());
        assert!(read(r#"{"metadata": null, "spec": null, "status": null}"#).is_ok());
        assert!(read(r#"{"kind": "Pod"}"#).is_err());
        assert!(read(r#"{"apiVersion": "stead.io/v1"}"#).is_err());
    }
}
