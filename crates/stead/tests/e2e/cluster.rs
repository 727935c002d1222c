//! A cluster of the binary under test, in a mount namespace of its own, gone at the end.

#![expect(clippy::disallowed_methods, reason = "a person's view is made of programs and time")]
#![expect(clippy::print_stderr, reason = "a test tells what it does")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// How long a cluster may take to come up under a loaded machine.
const UP_MAX: Duration = Duration::from_secs(60);

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The binary under test: `$STEAD`, or the one cargo built for these tests.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("STEAD").map_or_else(|| env!("CARGO_BIN_EXE_stead").into(), PathBuf::from)
}

/// Scripts of what a person types and sees, beside the manifests and programs that they use.
pub(crate) fn rows() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/rows")
}

/// Where the test images are.
fn images() -> PathBuf {
    let default = || root().join("target/images");
    std::env::var_os("STEAD_IMAGES").map_or_else(default, PathBuf::from)
}

/// This machine, for one test at a time.
pub(crate) struct Turn(File);

impl Turn {
    /// Waits until no other test of this suite runs.
    pub(crate) fn take() -> Self {
        let path = std::env::temp_dir().join("stead-e2e.lock");
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        Self(file)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.unlock().unwrap();
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    name: String,
    /// Its folder.
    pub(crate) folder: tempfile::TempDir,
    flags: Vec<String>,
    /// Run in a mount namespace of its own before the server; `None`: on this machine's mounts.
    before: Option<String>,
    server: Option<Child>,
    beside: Vec<Child>,
}

impl Cluster {
    /// Starts one with these flags of `stead up`, in a mount namespace with empty `/data` and
    /// `/mnt`; returns once its node is Ready.
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        let mut cluster = Self::new(name, flags);
        cluster.before("mkdir -p /data /mnt");
        cluster.before("mount -t tmpfs tmpfs /data");
        cluster.before("mount -t tmpfs tmpfs /mnt");
        cluster.up();
        cluster
    }

    /// Starts one on this machine's own mounts: a server that is started again finds those of the
    /// first.
    pub(crate) fn start_here(name: &str, flags: &[&str]) -> Self {
        let mut cluster = Self::new(name, flags);
        cluster.up();
        cluster
    }

    /// One that is still to be started.
    pub(crate) fn new(name: &str, flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("stead-e2e-").tempdir().unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (name, beside) = (name.to_owned(), Vec::new());
        Self { name, folder, flags, before: None, server: None, beside }
    }

    /// Adds a line of shell that runs before its server, in a mount namespace of its own.
    pub(crate) fn before(&mut self, line: &str) {
        let lines = self.before.get_or_insert_default();
        *lines += line;
        *lines += " && ";
    }

    fn cluster_flags(&self) -> String {
        format!("--name {} --data-dir {}", self.name, self.data().display())
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts its server; returns once its node is Ready.
    pub(crate) fn up(&mut self) {
        self.begin();
        let ready = "kubectl wait --for=condition=Ready node --all --timeout=1s";
        let started = Instant::now();
        while !self.sh(ready).status.success() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < UP_MAX,
                "the cluster did not come up:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts its server.
    pub(crate) fn begin(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .unwrap();
        let line = format!(
            "exec {} up {} {}",
            binary().display(),
            self.cluster_flags(),
            self.flags.join(" ")
        );
        let mut command = match &self.before {
            Some(before) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-c"]);
                command.arg(before.clone() + &line);
                command
            }
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", &line]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
    }

    /// Its administrator, over HTTPS.
    pub(crate) async fn client(&self) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(self.data().join("kubeconfig")).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        client::https(config).unwrap()
    }

    /// What tells its links, cgroups and sockets from others'.
    pub(crate) fn tag(&self) -> String {
        let flags = cli::args::Cluster { name: self.name.clone(), data_dir: Some(self.data()) };
        cli::Instance::of(&flags).tag()
    }

    /// What its server has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Process id of its server.
    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Child::id)
    }

    /// Ends its server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Imports the test images of these archives.
    pub(crate) fn import(&self, archives: &[&str]) {
        for archive in archives {
            let file = images().join(archive);
            let imported = self.stead(&format!("image import {}", file.display()));
            assert!(imported.status.success(), "{}", text(&imported));
        }
    }

    /// Runs a verb of stead against this cluster.
    pub(crate) fn stead(&self, verb: &str) -> Output {
        let line = format!("{} {verb} {}", binary().display(), self.cluster_flags());
        self.sh(&line)
    }

    /// Runs a line of shell with this cluster's kubeconfig, among the manifests.
    pub(crate) fn sh(&self, line: &str) -> Output {
        self.shell(line).output().unwrap()
    }

    /// Starts a line of shell that runs until the cluster ends.
    pub(crate) fn beside(&mut self, line: &str) {
        let child = self.shell(&format!("exec {line}")).stdout(Stdio::null()).spawn().unwrap();
        self.beside.push(child);
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(root().join("tests/manifests"))
            .env("KUBECONFIG", self.data().join("kubeconfig"))
            .env("ROWS", rows())
            .env("STEAD", binary())
            .env("STEAD_IMAGES", images())
            .env("CLUSTER", self.cluster_flags())
            .env("DATA", self.data())
            .env("TAG", self.tag())
            .env("SERVER", "https://127.0.0.1:6443")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.beside {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        let down = self.data().exists().then(|| self.stead("down --purge"));
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- server\n{}", self.log());
        } else if let Some(down) = down {
            assert!(down.status.success(), "down failed: {}", text(&down));
        }
    }
}

/// Both streams of a command.
pub(crate) fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    text
}
