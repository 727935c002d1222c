//! The demo's own cluster: a temporary folder, free ports, addresses that nobody routes.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use cli::{
    Instance,
    demo::{Detail, Screen},
    status::bytes,
};
use client::kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use host::image::Images;
use stdx::cidr::Cidr;

use super::story::IMAGE;
use crate::{down, house::keeper_options, up};

/// The cluster's only node.
pub(super) const NODE: &str = "demo";
/// What the name of a demo's folder begins with; its process id follows.
const PREFIX: &str = "stead-demo-";
/// Blocks of addresses that are tried: pairs of /24 in 198.18.0.0/15, which RFC 2544 keeps for
/// tests of devices, so that no address of the world is hidden while the demo runs.
const BLOCKS: u32 = 256;
/// How long one request may take before the server counts as gone.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A cluster that belongs to this process.
#[derive(Debug)]
pub(super) struct Own {
    instance: Instance,
    ports: [u16; 2],
    pods: Cidr,
    services: Cidr,
}

impl Own {
    /// Finds what is free; nothing is made but the folder.
    pub(super) fn choose() -> Result<Self> {
        let pid = std::process::id();
        let (pods, services) = free_blocks(&host::net::routed()?, pid)
            .context("no addresses in 198.18.0.0/15 are free: remove the routes that lead there")?;
        let ports = free_ports().context("no port is free")?;
        let instance = instance(pid);
        let folder = &instance.folder;
        DirBuilder::new().mode(0o700).create(folder).with_context(|| {
            format!("could not make {}: set TMPDIR to a folder of yours", folder.display())
        })?;
        Ok(Self { instance, ports, pods, services })
    }

    /// Makes the image and starts the cluster; returns a client of it once its API answers.
    pub(super) async fn open(&self, screen: &mut Screen) -> Result<Client> {
        screen
            .chapter("An image, made from this very binary: no registry is needed", Detail::Facts);
        screen.waits("image", "reads the binary");
        let binary = std::env::current_exe()?;
        let size = fs::metadata(&binary)?.len();
        let words = ["/stead", "pet"].map(str::to_owned).to_vec();
        let images = Images::open(&keeper_options(&self.instance).data_dir.join("images"))?;
        images.from_binary(IMAGE, binary, words, now()).await?;
        screen.say(
            "image",
            &format!("{IMAGE} holds `stead pet`, a small web program ({})", bytes(size)),
        );
        screen.chapter("A cluster of its own, beside any other on this machine", Detail::Waits);
        screen.waits("cluster", &format!("starts in {}", self.instance.folder.display()));
        let (instance, words) = (self.instance.clone(), self.words());
        tokio::task::spawn_blocking(move || up::start(&instance, &words)).await??;
        screen.say("cluster", &format!("answers on https://127.0.0.1:{}", self.ports[0]));
        screen.say("network", &format!("{} for pods, {} for Services", self.pods, self.services));
        let kubeconfig = Kubeconfig::from_yaml(&self.instance.read_kubeconfig()?)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        config.connect_timeout = Some(ANSWER_MAX);
        Ok(client::https(config)?)
    }

    /// `stead up` for it.
    fn words(&self) -> Vec<OsString> {
        let mut words = vec!["up".into()];
        words.extend(flags(&self.instance));
        for (flag, value) in [
            ("--node-name", NODE.to_owned()),
            ("--port", self.ports[0].to_string()),
            ("--kubelet-port", self.ports[1].to_string()),
            ("--pod-cidr", self.pods.to_string()),
            ("--service-cidr", self.services.to_string()),
        ] {
            words.extend([flag.into(), value.into()]);
        }
        words
    }

    /// The command that removes it.
    pub(super) fn down(&self) -> String {
        let words: Vec<_> =
            flags(&self.instance).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("sudo stead down --purge {}", words.join(" "))
    }

    /// The last lines that its server has printed, without what it always prints.
    pub(super) fn log_tail(&self, lines: usize) -> Vec<String> {
        let text = fs::read_to_string(self.instance.log()).unwrap_or_default();
        let said: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("stead is up")).collect();
        said[said.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect()
    }

    /// Stops its server and pods, removes its network, mounts and folder.
    pub(super) async fn remove(&self) -> Result<()> {
        down::stop(&self.instance, true).await.map(drop)
    }
}

/// Removes what demos left that were killed before they could.
pub(super) async fn sweep() -> Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        // Anyone may make a folder in /tmp: only root's own is a demo's.
        let is_ours = fs::symlink_metadata(entry.path())
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o077 == 0);
        if is_ours && !Path::new(&format!("/proc/{pid}")).exists() {
            down::stop(&instance(pid), true)
                .await
                .with_context(|| format!("an earlier demo was killed and left {name}"))?;
        }
    }
    Ok(())
}

/// The cluster of the demo that this process is, or was.
fn instance(pid: u32) -> Instance {
    Instance { name: format!("demo-{pid}"), folder: folder(pid) }
}

fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{pid}"))
}

fn flags(instance: &Instance) -> [OsString; 4] {
    ["--name".into(), (&instance.name).into(), "--data-dir".into(), (&instance.folder).into()]
}

#[expect(clippy::disallowed_methods, reason = "an image tells when it was made")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Two blocks side by side that overlap nothing. Demos that start at the same time begin to look
/// at different places.
fn free_blocks(taken: &[Cidr], pid: u32) -> Option<(Cidr, Cidr)> {
    let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let block = |index: u32| Cidr::new(Ipv4Addr::from(base + (index << 8)), 24);
    let is_free = |block: Cidr| taken.iter().all(|other| !other.overlaps(block));
    (0..BLOCKS).find_map(|step| {
        let pair = (pid + step) % BLOCKS;
        let (pods, services) = (block(2 * pair)?, block(2 * pair + 1)?);
        (is_free(pods) && is_free(services)).then_some((pods, services))
    })
}

/// Two ports that nobody listens on, on any address.
fn free_ports() -> Result<[u16; 2]> {
    let any = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
    let held = [any()?, any()?];
    let [first, second] = &held;
    let ports = [first.local_addr()?.port(), second.local_addr()?.port()];
    if ports.contains(&0) {
        bail!(std::io::Error::from(ErrorKind::AddrNotAvailable));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_step_over_what_is_routed() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        for (taken, pid, found) in [
            (vec![], 0, Some("198.18.0.0/24 198.18.1.0/24")),
            (vec![], 256 + 3, Some("198.18.6.0/24 198.18.7.0/24")),
            (vec![cidr("198.18.1.0/24")], 0, Some("198.18.2.0/24 198.18.3.0/24")),
            (vec![cidr("198.19.255.0/24")], 255, Some("198.18.0.0/24 198.18.1.0/24")),
            (
                vec![cidr("10.0.0.0/8"), cidr("198.18.0.0/16")],
                9,
                Some("198.19.0.0/24 198.19.1.0/24"),
            ),
            (vec![cidr("198.18.0.0/15")], 7, None),
        ] {
            let pair =
                free_blocks(&taken, pid).map(|(pods, services)| format!("{pods} {services}"));
            assert_eq!(pair.as_deref(), found, "{taken:?}");
        }
    }
}
