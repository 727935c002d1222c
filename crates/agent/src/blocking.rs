//! Work that blocks: files, mounts.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::JoinError,
};

/// Does `work` where it keeps nobody waiting: on a thread of its own, unless one thread is all
/// there is. There nothing runs beside anything, so that a run can be replayed.
///
/// # Errors
/// When `work` panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
