//! Lifecycle hooks: after a container's start and before its stop.

use std::{net::IpAddr, time::Duration};

use host::runtime::Runtime;
use k8s_openapi::api::core::v1::{ContainerPort, LifecycleHandler};

use crate::probe::{
    exec::{self, Ended},
    http::{Get, ask},
};

/// Seconds that an HTTP hook may take; upstream's client waits forever, within the pod's grace.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a hook to its end.
///
/// # Errors
/// What went wrong, for the log.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    (uid, container_id): (&str, &str),
    hook: &LifecycleHandler,
    address: Option<IpAddr>,
    ports: &[ContainerPort],
) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        let command = action.command.clone().unwrap_or_default();
        let words = format!("{command:?}");
        let Ended { exit_code, output } = exec::run(runtime, uid, container_id, command).await?;
        if exit_code != 0 {
            return Err(format!("command {words} exited with {exit_code}: {output}"));
        }
        return Ok(());
    }
    if let Some(action) = &hook.http_get {
        let own = address.map(|address| address.to_string());
        let host = action.host.clone().filter(|host| !host.is_empty()).or(own);
        let host = host.ok_or_else(|| "failed to find networking container".to_owned())?;
        let port = podsync::resolve_port(&action.port, ports)
            .ok_or_else(|| "invalid port number".to_owned())?;
        return ask(&Get::new(action, &host, port).for_hook(), HTTP_TIMEOUT).await.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}
