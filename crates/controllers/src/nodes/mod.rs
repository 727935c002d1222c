//! Nodes: their pod addresses, whether they answer, and what becomes of the pods of one that is gone.
//!
//! `lifecycle` decides for a node (podCIDR, conditions, taints); `eviction` for a pod on a tainted
//! node; `orphans` for a pod whose node is no more.
//!
//! Source: kubernetes v1.36 `pkg/controller/nodelifecycle`, `pkg/controller/nodeipam`,
//! `pkg/controller/tainteviction`, `pkg/controller/podgc`.

pub mod eviction;
pub mod lifecycle;
pub mod orphans;
#[cfg(test)]
mod tests;

/// A node whose kubelet says it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// A node whose kubelet says nothing.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// A node that a person says is off for good.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
