//! What one decision may see, and what a pod is to its set.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::{
        api::{
            apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec},
            core::v1::{PersistentVolumeClaim, Pod, PodCondition},
        },
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    },
    policy::StatefulSetPolicy,
};
use jiff::{SignedDuration, Timestamp};

use super::{identity::member_ordinal, policy::Rules};

/// Everything the decision about one set may depend on, at one instant.
#[derive(Debug, Clone)]
pub struct View {
    /// The set.
    pub set: Arc<StatefulSet>,
    /// Every pod of its namespace that names the set as its controller, or is named like one of
    /// its pods.
    pub pods: Vec<Arc<Pod>>,
    /// Claims of its namespace, by name; at least all that are named like its claims.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    /// Those of its claims that went away a moment ago, and when that was first seen: whoever waits for
    /// the end of one is to see it before its successor.
    pub gone: BTreeMap<String, Timestamp>,
    /// Revisions of its namespace: its own, ownerless ones that match its selector, and all named
    /// `<set>-…`.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// The policies of its namespace that name the set, by name.
    pub policies: Vec<Arc<StatefulSetPolicy>>,
    /// What the one policy in force asks for: [`Rules::of`] the set and `policies`.
    pub rules: Option<Rules>,
    /// What the API server last refused this set, if its last plan failed on that.
    pub refused: Option<Refused>,
    /// The one clock reading of this decision.
    pub now: Timestamp,
    /// How this controller is set up.
    pub options: Options,
}

/// A write that failed: what was said, and since when it is said again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The API server's words.
    pub error: String,
    /// When this error was seen first.
    pub since: Timestamp,
}

/// What whoever runs the controller may choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Upstream's gate `MaxUnavailableStatefulSet`, off by default in 1.36.
    pub max_unavailable: bool,
}

/// Where a pod is in its life, as far as its set minds; exactly one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Phase `Failed` or `Succeeded`: will never run again.
    Finished,
    /// Not yet running, or no container runs.
    Pending,
    /// Running, not Ready.
    Unready,
    /// Ready, but not yet for `minReadySeconds`.
    Settling,
    /// Ready for at least `minReadySeconds`.
    Available,
}

impl View {
    /// The set's spec; an absent one reads as the default.
    pub(super) fn spec(&self) -> &StatefulSetSpec {
        static EMPTY: std::sync::LazyLock<StatefulSetSpec> =
            std::sync::LazyLock::new(StatefulSetSpec::default);
        self.set.spec.as_ref().unwrap_or(&EMPTY)
    }

    pub(super) fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.set.metadata.uid.as_deref().unwrap_or_default()
    }

    /// `Parallel`: no pod waits for another.
    pub(super) fn parallel(&self) -> bool {
        self.spec().pod_management_policy.as_deref() == Some("Parallel")
    }

    /// `RollingUpdate`, which is also what an absent strategy means.
    pub(super) fn rolling(&self) -> bool {
        let strategy = self.spec().update_strategy.as_ref();
        let named = strategy.and_then(|strategy| strategy.type_.as_deref());
        matches!(named, None | Some("" | "RollingUpdate"))
    }

    /// How many of the lowest pods keep the current revision; `None` without the struct.
    pub(super) fn partition(&self) -> Option<i64> {
        let strategy = self.spec().update_strategy.as_ref()?;
        let rolling = strategy.rolling_update.as_ref()?;
        Some(i64::from(rolling.partition.unwrap_or(0)).max(0))
    }

    pub(super) fn min_ready_s(&self) -> i64 {
        i64::from(self.spec().min_ready_seconds.unwrap_or(0)).max(0)
    }

    /// How many pods are available, as far as the set's status tells.
    ///
    /// Servers before 1.22 drop this count, and `minReadySeconds` too: it is that of Ready pods there,
    /// or every look would find it changed.
    pub(super) fn told_available(&self) -> Option<i32> {
        let status = self.set.status.as_ref()?;
        let ready = status.ready_replicas.filter(|_| self.min_ready_s() == 0);
        status.available_replicas.or(ready)
    }

    pub(super) fn deleting(&self) -> bool {
        self.set.metadata.deletion_timestamp.is_some()
    }

    /// Where this pod is in its life.
    pub(super) fn health(&self, pod: &Pod) -> Health {
        match phase(pod) {
            "Failed" | "Succeeded" => return Health::Finished,
            "Running" => (),
            _ => return Health::Pending,
        }
        if !ready(pod) {
            return Health::Unready;
        }
        if self.min_ready_s() == 0 {
            return Health::Available; // Whatever a node's clock says of when it began.
        }
        match self.available_at(pod) {
            Some(at) if at <= self.now => Health::Available,
            _ => Health::Settling,
        }
    }

    /// When a Ready pod becomes (or became) available; `None` when it does not say since when.
    pub(super) fn available_at(&self, pod: &Pod) -> Option<Timestamp> {
        let since = condition(pod, "Ready")?.last_transition_time.as_ref()?.0;
        since.checked_add(SignedDuration::from_secs(self.min_ready_s())).ok()
    }

    /// Not available, or on its way out.
    pub(super) fn unavailable(&self, pod: &Pod) -> bool {
        terminating(pod) || self.health(pod) != Health::Available
    }

    /// This pod's place among the set's, if its name is exactly that of a member.
    ///
    /// Departs from upstream (N1): `web-07` is no member, for no repair could make it one.
    pub(super) fn ordinal(&self, pod: &Pod) -> Option<i64> {
        member_ordinal(self.name(), pod.metadata.name.as_deref().unwrap_or_default())
    }

    /// The reference that makes the set a controller.
    pub(super) fn controller_ref(&self) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// `status.phase`, empty when absent.
pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Stored by an API server: its phase is set.
pub(super) fn created(pod: &Pod) -> bool {
    !phase(pod).is_empty()
}

pub(super) fn terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Condition `Ready` is `True`.
pub(super) fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Phase `Running` and Ready.
pub(super) fn running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && ready(pod)
}

/// Not ready, and nothing but a person or a new pod will change that: it ended, cannot be placed,
/// or one of its containers cannot be started or kept running.
pub(super) fn broken(pod: &Pod) -> bool {
    if ready(pod) {
        return false;
    }
    let Some(status) = &pod.status else { return false };
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return true;
    }
    let unschedulable = condition(pod, "PodScheduled").is_some_and(|placed| {
        placed.status == "False" && placed.reason.as_deref() == Some("Unschedulable")
    });
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let stuck = lists.into_iter().flatten().flatten().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()).is_some_and(|reason| {
            matches!(
                reason,
                "CrashLoopBackOff"
                    | "ImagePullBackOff"
                    | "ErrImagePull"
                    | "ErrImageNeverPull"
                    | "InvalidImageName"
                    | "CreateContainerConfigError"
                    | "CreateContainerError"
                    | "RunContainerError"
            )
        })
    });
    unschedulable || stuck
}

/// The one reference with `controller: true`.
pub(super) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The revision a pod was made from: the NAME of a ControllerRevision.
pub(super) fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get("controller-revision-hash")).map_or("", String::as_str)
}
