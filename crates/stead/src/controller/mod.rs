//! `stead controller`: only the StatefulSet controller, against any cluster whose own is off.
//!
//! ```text
//!   kubeconfig or pod ─▶ clients ─▶ [ Lease ─▶ ] manager with one controller ─▶ the cluster
//!                                                    └─ /healthz /readyz /metrics
//! ```
//!
//! It assumes nothing that only stead's API server has. Whoever loses the Lease ends at once: by then
//! another process may have begun.

mod health;

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cli::controller::{Controller, Gate};
use client::kube::{
    self, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use jiff::Timestamp;
use manager::{Election, Elector, Lists, Manager};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::Duration,
};

use self::health::Health;

/// An answer to a write that takes longer is taken for lost. Watches have a limit of their own.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Runs until a signal, or until the Lease is lost.
pub(crate) async fn run(flags: &Controller) -> Result<()> {
    crate::up::log("info");
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = async {
        tokio::select! {
            _ = term.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    tokio::pin!(asked);
    let election = election(flags)?;
    let config = config(flags).await?;
    let server = config.cluster_url.to_string();
    let listener = TcpListener::bind(flags.health_bind_address).await;
    let listener = listener.with_context(|| {
        format!("could not listen on {}: see --health-bind-address", flags.health_bind_address)
    })?;
    println!("stead controller serves health and metrics on http://{}", listener.local_addr()?);
    let health = Arc::new(Health::new(&election, flags.leader_elect));
    let serving = tokio::spawn(health::serve(listener, Arc::clone(&health)));
    let mut elector =
        Elector::new(writing(&config)?, election, Arc::new(Timestamp::now), crate::house::seed());
    if flags.leader_elect {
        println!("stead controller waits for the lease, against {server}");
        tokio::select! {
            () = elector.acquire() => (),
            () = &mut asked => return Ok(()),
        }
    }
    println!("stead controller works, against {server}");
    health.begin(start(flags, &config)?);
    let lost = async {
        if flags.leader_elect { elector.hold().await } else { std::future::pending().await }
    };
    let lost = tokio::select! {
        () = &mut asked => None,
        lost = lost => Some(lost),
    };
    if let Some(lost) = lost {
        // Nothing is awaited: what is under way must not be written any more.
        bail!(lost);
    }
    if let Some(handle) = health.end() {
        handle.stop().await;
    }
    if let Err(error) = elector.release().await {
        tracing::warn!(%error, "the lease was not given back; it runs out by itself");
    }
    serving.abort();
    println!("stead controller has ended");
    Ok(())
}

/// Starts the manager with this one controller.
fn start(flags: &Controller, config: &Config) -> Result<manager::Handle> {
    let mut options = manager::Options::new("", crate::house::seed());
    options.workers = flags.concurrent_statefulset_syncs;
    options.only = Some(vec![manager::STATEFULSET]);
    options.lists = Lists::Paged;
    options.quotas = false;
    options.namespace.clone_from(&flags.namespace);
    for gate in &flags.feature_gates {
        match gate {
            Gate::MaxUnavailableStatefulSet(open) => options.statefulset.max_unavailable = *open,
        }
    }
    let (reading, writing) = (client::https(config.clone())?, writing(config)?);
    let clients = |name: &str| {
        if name == manager::CACHES_CLIENT { reading.clone() } else { writing.clone() }
    };
    Ok(Manager::start(clients, &options))
}

/// A client whose requests end in time, whatever becomes of the connection.
fn writing(config: &Config) -> Result<kube::Client> {
    let mut config = config.clone();
    config.read_timeout = Some(ANSWER_MAX);
    config.write_timeout = Some(ANSWER_MAX);
    config.reset_reader_on_write = true;
    client::https(config).context("the credentials of the kubeconfig cannot be used")
}

async fn config(flags: &Controller) -> Result<Config> {
    let Some(file) = &flags.kubeconfig else {
        return Config::incluster().context(
            "this is not a pod with a service account: say which cluster by --kubeconfig FILE",
        );
    };
    let wrong = || format!("the kubeconfig {} cannot be used", file.display());
    let kubeconfig = Kubeconfig::read_from(file).with_context(wrong)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(wrong)
}

fn election(flags: &Controller) -> Result<Election> {
    let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    // Two processes of one name would both take the Lease for theirs.
    let unique = format!("{host}_{:x}-{}", Timestamp::now().as_nanosecond(), std::process::id());
    let election = Election {
        lease: flags.leader_elect_lease_duration,
        renew_deadline: flags.leader_elect_renew_deadline,
        retry: flags.leader_elect_retry_period,
        ..Election::new(flags.lease_namespace(), &flags.leader_elect_resource_name, &unique)
    };
    election.check().map_err(anyhow::Error::msg)?;
    Ok(election)
}
