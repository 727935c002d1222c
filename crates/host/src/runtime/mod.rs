//! What the agent asks of a node: the words of CRI, without its wire.
//!
//! Three implementations: our keepers ([`crate`]'s own), any CRI runtime over gRPC (later), and a
//! fake kernel for simulation. All calls are safe to repeat: a second one with the same ids finds
//! what the first one made.

mod container;
mod error;
mod image;
mod pod;

use std::{os::fd::OwnedFd, path::PathBuf};

use futures::{future::BoxFuture, stream::BoxStream};

pub use container::{
    ContainerConfig, ContainerPhase, ContainerState, Device, Exec, ExecConfig, Mount, Seccomp,
    Security, Streams,
};
pub use error::{ImageError, RuntimeError};
pub use image::{Credential, Image, PullRequest};

use crate::image::Unused;
pub use pod::{HostPort, PodConfig, PodState, Resources, Usage};

/// A node's containers, images and pod networks.
pub trait Runtime: Send + Sync + 'static {
    /// Starts the pod's keeper: its cgroup, namespaces, network. Idempotent by `uid` and `attempt`.
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>>;
    /// Kills what runs in it and takes its network down; the record stays for `pods`.
    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Removes the stopped pod with its containers, root file systems and records (not its logs).
    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Every pod that a keeper holds or left a record of, with its containers.
    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>>;
    /// Prepares and starts one container of a running pod, returning when its program runs.
    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>>;
    /// Sends `signal`, and SIGKILL `grace_s` seconds later; returns when it has exited.
    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        signal: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Removes an exited container's root file system and record.
    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Runs a program inside a running container.
    fn exec(
        &self,
        pod_uid: &str,
        container_id: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>>;
    /// Connects to a running container's own standard streams.
    fn attach(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<Streams, RuntimeError>>;
    /// A TCP connection to a port, made inside the pod's network namespace (`127.0.0.1`).
    fn dial(&self, pod_uid: &str, port: u16) -> BoxFuture<'_, Result<OwnedFd, RuntimeError>>;
    /// Sets the size of a container's or exec's terminal.
    fn resize(
        &self,
        pod_uid: &str,
        container_id: &str,
        exec_id: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// What its cgroup says it uses now.
    fn usage(&self, pod_uid: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>>;
    /// "Look again at this pod": exits, starts, keepers found or lost. Carries no facts.
    fn wakes(&self) -> BoxStream<'static, String>;

    /// Makes sure that the image is here.
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>>;
    /// The image that this reference names, if it is here.
    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>>;
    /// Every image here.
    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>>;
    /// Images that no container uses, the longest unused first; those in use are noted as used now.
    fn unused_images(&self) -> BoxFuture<'_, Result<Vec<Unused>, ImageError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Adds the images of an OCI layout or docker archive file.
    fn import(&self, file: PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>>;
    /// Forgets a name; the image goes with its last one when no container uses it.
    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>>;
}
