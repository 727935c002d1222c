//! Claims and volumes: binding, provisioning, release, and protection while in use.
//!
//! ```text
//!   claim: unbound ──▶ a fitting volume is found or made ──▶ claimRef, then volumeName ──▶ Bound
//!           asks for more ──▶ `growth`
//!   volume: Available ──▶ Bound ──▶ Released ──▶ kept (Retain), deleted (Delete) or emptied and
//!                                                Available again (Recycle) by its node
//! ```
//!
//! `claim` and `volume` decide for one object each; `fit` says which volume suits a claim;
//! `provision` makes a folder's volume for the class `stead.io/local`.
//!
//! Source: kubernetes v1.36 `pkg/controller/volume/persistentvolume/pv_controller.go`,
//! `pkg/controller/volume/pvcprotection`, `pvprotection`.

pub mod claim;
pub mod fit;
pub mod growth;
mod provision;
#[cfg(test)]
mod tests;
pub mod volume;

/// Set on both sides by whoever bound them.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Set on a claim once both sides name each other.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The node that the scheduler chose for a claim whose class waits for its first consumer.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Who shall make a claim's volume.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The provisioner built in here: a folder on the node for each claim.
pub const LOCAL_PROVISIONER: &str = "stead.io/local";
/// On a Node: the folder in which its agent keeps those folders.
pub const LOCAL_PATH: &str = "stead.io/local-path";
/// Keeps a claim while a pod uses it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while it is bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
