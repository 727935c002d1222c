//! Running a command in a container to its end, with what it wrote.

use std::time::Duration;

use host::runtime::{ExecConfig, Runtime};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Outcome, Target};

/// Most bytes kept of a command's output. Source: kubelet v1.36 `maxReadLength` of exec probes.
const OUTPUT_MAX_BYTES: u64 = 10 << 10;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) output: String,
}

/// Runs a command to its end.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    uid: &str,
    container_id: &str,
    command: Vec<String>,
) -> Result<Ended, String> {
    let config = ExecConfig { command, stdout: true, stderr: true, ..ExecConfig::default() };
    let exec = runtime.exec(uid, container_id, config).await.map_err(|error| error.to_string())?;
    let (out, err) = tokio::join!(read(exec.streams.stdout), read(exec.streams.stderr));
    let exit_code = exec.exit.await.map_err(|_| "the command's end was lost".to_owned())?;
    Ok(Ended { exit_code, output: format!("{out}{err}") })
}

pub(super) async fn probe(
    target: &Target,
    container_id: &str,
    command: Vec<String>,
    timeout: Duration,
) -> Outcome {
    let words = command.join(" ");
    let run = run(target.runtime.as_ref(), &target.uid, container_id, command);
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok(Ended { exit_code: 0, .. })) => Outcome::Success,
        Ok(Ok(ended)) => Outcome::Failure(ended.output),
        Ok(Err(why)) => Outcome::Unknown(why),
        Err(_) => Outcome::Failure(format!(
            "command timed out: \"{words}\" timed out after {}s",
            timeout.as_secs()
        )),
    }
}

async fn read(fd: Option<std::os::fd::OwnedFd>) -> String {
    let Some(fd) = fd else { return String::new() };
    let copy = fd.try_clone();
    match tokio::net::unix::pipe::Receiver::from_owned_fd(fd) {
        Ok(pipe) => text(pipe).await,
        // No pipe: a file or a socket, which blocking reads serve as well.
        Err(_) => match copy {
            Ok(copy) => text(tokio::fs::File::from_std(copy.into())).await,
            Err(error) => format!("the output was lost: {error}"),
        },
    }
}

async fn text(from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let mut limited = from.take(OUTPUT_MAX_BYTES);
    if let Err(error) = limited.read_to_end(&mut bytes).await {
        return format!("the output was lost: {error}");
    }
    // Whatever is more is read and dropped, so that the command does not wait for a reader.
    let mut rest = limited.into_inner();
    if let Err(error) = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await {
        tracing::debug!(%error, "the rest of a command's output was lost");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
