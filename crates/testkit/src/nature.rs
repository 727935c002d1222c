//! How a runtime of words behaves: what takes time, what fails, and who hears of it.

use std::time::{Duration, SystemTime};

use host::runtime::{
    ContainerConfig, ContainerState, ExecConfig, ImageError, PodConfig, PodState, RuntimeError,
};

/// What happened to a pod.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Its sandbox is there, be it made now or found.
    Ran,
    /// A container's program runs.
    Started(&'a ContainerState, &'a ContainerConfig),
    /// The container of this id runs no more, and its exit code is this.
    Ended(&'a str, i32),
    /// A container's end has been asked for, within so many seconds.
    Stopping(&'a ContainerState, u64),
    /// Its sandbox has gone. The pod is shown as it was when this was asked.
    Stopped,
    /// Its records have gone.
    Removed,
}

/// The nature of a [`Words`](crate::Words): every choice that its books leave open.
///
/// The futures may sleep. They are dropped by nobody: what the agent has begun goes on without it.
pub trait Nature: Clone + Send + Sync + 'static {
    /// The wall clock of the node.
    fn now(&self) -> SystemTime;
    /// Hears what happened.
    fn hear(&self, pod: &PodState, event: Event<'_>);
    /// Whether a sandbox can be made now.
    ///
    /// # Errors
    /// Those of [`host::runtime::Runtime::run_pod`].
    fn sandbox(&self, config: &PodConfig) -> Result<(), RuntimeError>;
    /// Returns when the program could run.
    fn start(
        &self,
        config: &ContainerConfig,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;
    /// How long a program of this image runs before it exits with 1; without end where `None`.
    fn lifetime(&self, image: &str) -> Option<Duration>;
    /// Returns the exit code when the program has heard the signal, or its grace is over.
    fn stop(&self, container: &ContainerState, grace_s: u64) -> impl Future<Output = i32> + Send;
    /// The exit code of a program that is run in a running container.
    fn exec(&self, pod_uid: &str, container: &ContainerState, config: &ExecConfig) -> i32;
    /// Returns when the image is here.
    fn pull(&self, reference: &str) -> impl Future<Output = Result<(), ImageError>> + Send;
}
