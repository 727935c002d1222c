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

    pub(crate) fn wants(&self, ordinal: i64) -> bool {
        (0..self.spec.replicas).contains(&ordinal)
    }
}

/// Anything else, by its metadata and data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Thing {
    pub(crate) metadata: Meta,
    pub(crate) data: Value,
}
