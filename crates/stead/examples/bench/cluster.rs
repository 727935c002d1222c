//! A cluster of the binary in a fresh folder, with the times of its coming up.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use host::image::Images;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// The image that all pods here run: the binary itself, which ends at SIGTERM at once.
pub(crate) const IMAGE: &str = "stead.io/bench";
const NAME: &str = "bench";
/// Ports beside a person's own cluster.
const PORT: u16 = 17443;
const KUBELET_PORT: u16 = 17250;
/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at what cannot be watched.
const LOOK: Duration = Duration::from_millis(1);

/// A running one.
pub(crate) struct Cluster {
    binary: PathBuf,
    folder: tempfile::TempDir,
    server: Child,
    /// Its administrator.
    pub(crate) client: Client,
}

/// Milliseconds since a moment.
pub(crate) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

impl Cluster {
    /// Starts one; says milliseconds from exec to `/readyz`, to Node Ready, to the first pod Ready.
    pub(crate) async fn start(binary: &Path) -> Result<(Self, [f64; 3])> {
        let folder = tempfile::Builder::new().prefix("stead-bench-").tempdir()?;
        let named = cli::args::Cluster {
            name: NAME.to_owned(),
            data_dir: Some(folder.path().join("data")),
        };
        let images = Images::open(&cli::Instance::of(&named).runtime().join("images"))?;
        let entrypoint = vec!["/stead".to_owned(), "pet".to_owned()];
        images.from_binary(IMAGE, binary.to_owned(), entrypoint, SystemTime::now()).await?;
        drop(images);
        let began = Instant::now();
        let server = spawn(binary, folder.path())?;
        let mut guard = EndOnError(Some(server));
        let up = tokio::time::timeout(WAIT_MAX, times(folder.path(), began));
        let up = up.await.context("it did not come up").flatten();
        let (client, times) = up.inspect_err(|_| eprintln!("{}", log(folder.path())))?;
        let server = guard.0.take().context("it was started")?;
        Ok((Self { binary: binary.to_owned(), folder, server, client }, times))
    }

    /// Kills the server, starts it again; milliseconds from exec to `/readyz`.
    pub(crate) async fn restart(&mut self) -> Result<f64> {
        self.server.kill()?;
        self.server.wait()?;
        let began = Instant::now();
        self.server = spawn(&self.binary, self.folder.path())?;
        tokio::time::timeout(WAIT_MAX, ready(self.folder.path())).await??;
        Ok(ms(began))
    }

    /// Its folder of data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// What its server printed.
    pub(crate) fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Ends it and removes all it made.
    pub(crate) async fn down(mut self) -> Result<()> {
        let mut down = Command::new(&self.binary);
        down.args(["down", "--purge", "--name", NAME, "--data-dir"]).arg(self.data());
        let ended = down.stdout(Stdio::null()).status()?;
        self.server.wait()?;
        if !ended.success() {
            bail!("`stead down` failed: {ended}\n{}", self.log());
        }
        Ok(())
    }
}

/// A server that is not left behind by an error.
struct EndOnError(Option<Child>);

impl Drop for EndOnError {
    fn drop(&mut self) {
        if let Some(mut server) = self.0.take() {
            // It may have ended by itself; the error is told already.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn spawn(binary: &Path, folder: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(binary);
    command.args(["up", "--name", NAME, "--data-dir"]).arg(folder.join("data")).args([
        "--port",
        &PORT.to_string(),
        "--kubelet-port",
        &KUBELET_PORT.to_string(),
        "--pod-cidr",
        "10.250.0.0/16",
        "--service-cidr",
        "10.106.0.0/16",
        "--node-port-range",
        "28000-28999",
    ]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("could not start {}", binary.display()))
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn client(folder: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(folder.join("data/kubeconfig"))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(client::https(config)?)
}

/// Asks `/readyz` until it says 200.
async fn ready(folder: &Path) -> Result<Client> {
    let kubeconfig = folder.join("data/kubeconfig");
    while !kubeconfig.exists() {
        tokio::time::sleep(LOOK).await;
    }
    let client = client(folder).await?;
    loop {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        if client.request_text(request).await.is_ok() {
            return Ok(client);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn times(folder: &Path, began: Instant) -> Result<(Client, [f64; 3])> {
    let client = ready(folder).await?;
    let readyz = ms(began);
    let nodes = {
        let api: Api<Node> = Api::all(client.clone());
        tokio::spawn(async move {
            let has = |node: &Node| {
                let status = node.status.as_ref().and_then(|status| status.conditions.as_ref());
                status.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
            };
            seen(api, has).await.map(|()| ms(began))
        })
    };
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let first = pod("first");
    // Until its service account is there, a pod is refused.
    while let Err(error) = pods.create(&PostParams::default(), &first).await {
        let kube::Error::Api(status) = &error else { return Err(error.into()) };
        if status.code != 403 {
            return Err(error.into());
        }
        tokio::time::sleep(LOOK).await;
    }
    seen(pods, |pod| pod.name_any() == "first" && is_ready(pod)).await?;
    let first = ms(began);
    let node = nodes.await??;
    Ok((client, [readyz, node, first]))
}

/// Watches until an object is as wished.
async fn seen<K>(api: Api<K>, wished: impl Fn(&K) -> bool) -> Result<()>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = WatchParams::default();
    let mut events = std::pin::pin!(api.watch(&params, "0").await?);
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) if wished(&object) => {
                return Ok(());
            }
            _ => {}
        }
    }
    bail!("a watch ended")
}

/// Whether a pod's condition Ready is True.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// A pod of the image.
pub(crate) fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}]}
    }))
    .unwrap_or_default()
}
