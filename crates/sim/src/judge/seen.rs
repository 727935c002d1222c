//! Objects out of the store's log, cut down to what invariants speak of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Metadata, as far as it matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) owner_references: Vec<Owner>,
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) uid: String,
    pub(crate) controller: bool,
}

impl Meta {
    /// The uid of the set that controls it.
    pub(crate) fn set_uid(&self) -> Option<&str> {
        let mut owners = self.owner_references.iter();
        let owner = owners.find(|owner| owner.controller && owner.kind == "StatefulSet")?;
        Some(&owner.uid)
    }

    pub(crate) fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The revision that it says it is of.
    pub(crate) fn revision(&self) -> &str {
        self.labels.get("controller-revision-hash").map_or("", String::as_str)
    }
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: Meta,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) containers: Vec<Container>,
    pub(crate) volumes: Vec<Volume>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) image: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) persistent_volume_claim: Option<ClaimSource>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClaimSource {
    pub(crate) claim_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodStatus {
    pub(crate) phase: String,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
}

impl Pod {
    /// The set and the ordinal that its name says.
    pub(crate) fn place(&self) -> Option<(&str, i64)> {
        let (set, ordinal) = self.metadata.name.rsplit_once('-')?;
        Some((set, ordinal.parse().ok()?))
    }

    pub(crate) fn is_ready(&self) -> bool {
        let ready = |one: &Condition| one.kind == "Ready" && one.status == "True";
        self.status.phase == "Running" && self.status.conditions.iter().any(ready)
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_ready() && !self.metadata.is_terminating()
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }

    pub(crate) fn image(&self) -> &str {
        self.spec.containers.first().map_or("", |one| &one.image)
    }
}

/// A StatefulSet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Set {
    pub(crate) metadata: Meta,
    pub(crate) spec: SetSpec,
    pub(crate) status: SetStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SetSpec {
    pub(crate) replicas: i64,
    pub(crate) pod_management_policy: String,
    pub(crate) update_strategy: Value,
    pub(crate) template: Value,
    pub(crate) volume_claim_templates: Vec<Value>,
    pub(crate) ordinals: Ordinals,
    pub(crate) persistent_volume_claim_retention_policy: Retention,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Ordinals {
    pub(crate) start: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Retention {
    pub(crate) when_scaled: String,
    pub(crate) when_deleted: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SetStatus {
    pub(crate) observed_generation: i64,
    pub(crate) replicas: i64,
    pub(crate) ready_replicas: i64,
    pub(crate) available_replicas: i64,
    pub(crate) updated_replicas: i64,
    pub(crate) current_revision: String,
    pub(crate) update_revision: String,
}

impl Set {
    pub(crate) fn is_ordered(&self) -> bool {
        self.spec.pod_management_policy != "Parallel"
    }

    pub(crate) fn partition(&self) -> i64 {
        self.spec.update_strategy["rollingUpdate"]["partition"].as_i64().unwrap_or(0)
    }
}

/// A StatefulSetPolicy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Policy {
    pub(crate) spec: PolicySpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PolicySpec {
    pub(crate) stateful_set_name: String,
    pub(crate) paused: bool,
    pub(crate) rollout: RolloutSpec,
    pub(crate) scaling: ScalingSpec,
    pub(crate) ordinals: Reserved,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RolloutSpec {
    pub(crate) replace_broken_pods: bool,
    pub(crate) max_unavailable: Option<usize>,
    pub(crate) creation: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ScalingSpec {
    pub(crate) max_unavailable: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Reserved {
    /// The person writes no ranges.
    pub(crate) reserved: Vec<String>,
    pub(crate) claims: String,
}

impl PolicySpec {
    pub(crate) fn reserves(&self, ordinal: i64) -> bool {
        self.ordinals.reserved.iter().any(|one| one.parse() == Ok(ordinal))
    }

    /// Rollouts go otherwise than one pod after another.
    pub(crate) fn rolls(&self) -> bool {
        self.rollout.replace_broken_pods || self.rollout.max_unavailable.is_some()
    }

    /// Pods may be made otherwise than one after another.
    pub(crate) fn hastens(&self) -> bool {
        self.rollout.creation == "Batched" || self.scaling.max_unavailable.is_some()
    }
}

/// A set and its policy, as a controller may believe them to be.
#[derive(Clone, Copy)]
pub(crate) struct Belief<'a> {
    pub(crate) set: &'a Set,
    pub(crate) law: &'a PolicySpec,
}

impl Belief<'_> {
    /// The wanted ordinals, ascending.
    pub(crate) fn wanted(self) -> impl Iterator<Item = i64> {
        let count = usize::try_from(self.set.spec.replicas).unwrap_or(0);
        (self.set.spec.ordinals.start..).filter(move |one| !self.law.reserves(*one)).take(count)
    }

    pub(crate) fn wants(self, ordinal: i64) -> bool {
        self.wanted().any(|one| one == ordinal)
    }

    /// It is below the partition, which counts pods and not ordinals.
    pub(crate) fn holds(self, ordinal: i64) -> bool {
        let held = usize::try_from(self.set.partition()).unwrap_or(0);
        self.wanted().take(held).any(|one| one == ordinal)
    }
}
/// A set through all of its lives, with its policy: its name is what binds them.
#[derive(Default)]
pub(crate) struct Course {
    /// Each state, with when it began.
    pub(crate) states: Vec<(u64, Set)>,
    /// Each state of its policy, likewise; before the first, and once it is gone, it asks for nothing.
    pub(crate) laws: Vec<(u64, PolicySpec)>,
    pub(crate) deleted: bool,
    /// The pod that was last taken down for an update: ordinal and when.
    pub(crate) updating: Option<(i64, u64)>,
}

impl Course {
    pub(crate) fn now(&self) -> Option<&Set> {
        self.states.last().map(|(_, set)| set).filter(|_| !self.deleted)
    }

    /// All that a controller may believe whose caches are no older than this: set and policy come
    /// by different watches, each behind by itself.
    pub(crate) fn believed(&self, since_ms: u64) -> Vec<Belief<'_>> {
        static NONE: std::sync::LazyLock<PolicySpec> =
            std::sync::LazyLock::new(PolicySpec::default);
        let first = self.laws.partition_point(|(began, _)| *began < since_ms);
        let none = (first == 0).then(|| &*NONE);
        let mut laws: Vec<&PolicySpec> = none.into_iter().collect();
        laws.extend(self.laws[first.saturating_sub(1)..].iter().map(|(_, law)| law));
        laws.dedup();
        let first = self.states.partition_point(|(began, _)| *began < since_ms);
        let states = self.states[first.saturating_sub(1)..].iter().map(|(_, set)| set);
        states.flat_map(|set| laws.iter().map(move |law| Belief { set, law })).collect()
    }
}

/// Anything else, by its metadata and data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Thing {
    pub(crate) metadata: Meta,
    pub(crate) data: Value,
}
