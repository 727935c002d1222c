//! What the scheduler says of a pod, and the sentence it says it in.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

/// The scheduler's plan for one pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It goes to this node now.
    Bind(String),
    /// It goes to this node once its volumes are there.
    Prepare(Placement),
    /// It cannot go anywhere.
    Refused(Refusal),
    /// Its `schedulingGates` say not yet; nobody is told.
    Gated,
}

/// A node, and what must happen to the pod's claims before it can be bound there.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// Volumes to reserve: the claim, and the volume whose `claimRef` must name it.
    pub reserve: Vec<(Arc<PersistentVolumeClaim>, Arc<PersistentVolume>)>,
    /// Claims that need the annotation `volume.kubernetes.io/selected-node`.
    pub provision: Vec<Arc<PersistentVolumeClaim>>,
    /// Claims that are not bound yet, these included; the pod waits for all of them.
    pub unbound: Vec<String>,
}

/// Why no node will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose fault.
    pub kind: RefusalKind,
    /// The whole sentence, for the condition and the event.
    pub message: String,
    /// Each node's reasons; empty when the pod was refused before nodes were looked at.
    pub nodes: BTreeMap<String, Vec<String>>,
}

/// The reason in the pod's condition `PodScheduled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The cluster has no place for it.
    Unschedulable,
    /// The pod or its claims contradict themselves.
    SchedulerError,
}

impl RefusalKind {
    /// As written in the condition.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            RefusalKind::Unschedulable => "Unschedulable",
            RefusalKind::SchedulerError => "SchedulerError",
        }
    }
}

/// Why one node will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reasons: Vec<String>,
    /// Whether removing pods from the node could help.
    pub(crate) resolvable: bool,
}

impl Fault {
    pub(crate) fn resolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true }
    }

    pub(crate) fn final_(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false }
    }
}

impl Refusal {
    /// There is not a single node.
    pub(crate) fn no_nodes() -> Self {
        Self::new("no nodes available to schedule pods".to_owned(), BTreeMap::new())
    }

    /// Refused before any node was looked at, whatever their number.
    ///
    /// The tail `not found` is upstream's: its claim allocator finds no state of its own, and
    /// preemption is not asked.
    pub(crate) fn before_nodes(count: usize, why: &str) -> Self {
        Self::new(format!("0/{count} nodes are available: {why}. not found"), BTreeMap::new())
    }

    /// Every node has its reasons.
    pub(crate) fn by_nodes(faults: &BTreeMap<String, Fault>, never_preempts: bool) -> Self {
        let count = faults.len();
        let reasons = faults.values().flat_map(|fault| fault.reasons.iter().map(String::as_str));
        let after = faults.values().map(|fault| {
            if fault.resolvable {
                "No preemption victims found for incoming pod"
            } else {
                "Preemption is not helpful for scheduling"
            }
        });
        let preemption = if never_preempts {
            "not eligible due to preemptionPolicy=Never.".to_owned()
        } else {
            format!("0/{count} nodes are available: {}.", histogram(after))
        };
        let message = format!(
            "0/{count} nodes are available: {}. no new claims to deallocate, preemption: \
             {preemption}",
            histogram(reasons)
        );
        let nodes = faults.iter().map(|(name, fault)| (name.clone(), fault.reasons.clone()));
        Self::new(message, nodes.collect())
    }

    fn new(message: String, nodes: BTreeMap<String, Vec<String>>) -> Self {
        Self { kind: RefusalKind::Unschedulable, message, nodes }
    }
}

/// `1 Insufficient cpu, 2 Too many pods`: counted, then sorted as text.
fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut texts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}
