//! A data folder, a root file system of busybox, and keepers over them; all gone after the test.

use std::{
    fs,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use host::{
    keepers::{KeeperOptions, Keepers, RootImage},
    runtime::{ContainerConfig, ContainerPhase, ContainerState, ExecConfig, PodConfig},
};

/// Long enough for a busy machine; a test that needs it all has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const POD: &str = "11111111-2222-3333-4444-555555555555";

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keepers: Keepers,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_root(&dir.path().join("layer"));
        let keepers = Keepers::open(options(dir.path())).await.unwrap();
        Self { dir, keepers }
    }

    /// As a new agent would find it.
    pub(crate) async fn reopen(&mut self) {
        self.keepers = Keepers::open(options(self.dir.path())).await.unwrap();
    }

    pub(crate) fn pod_config(&self) -> PodConfig {
        PodConfig {
            uid: POD.to_owned(),
            namespace: "default".to_owned(),
            name: "web-0".to_owned(),
            hostname: "web-0".to_owned(),
            qos: "Burstable".to_owned(),
            log_dir: self.dir.path().join("logs"),
            ..PodConfig::default()
        }
    }

    pub(crate) async fn with_pod() -> Self {
        let world = Self::new().await;
        world.keepers.run_pod(world.pod_config(), Vec::new()).await.unwrap();
        world
    }

    pub(crate) fn image(&self) -> RootImage {
        RootImage { layers: vec![self.dir.path().join("layer")], ..RootImage::default() }
    }

    pub(crate) fn container(script: &str) -> ContainerConfig {
        ContainerConfig {
            name: "app".to_owned(),
            command: Some(["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec()),
            ..ContainerConfig::default()
        }
    }

    pub(crate) async fn start(&self, config: ContainerConfig) -> ContainerState {
        self.keepers.start_container(POD, config, &self.image()).await.unwrap()
    }

    /// Waits, by wake-ups, until the container has ended.
    pub(crate) async fn ended(&self, id: &str) -> ContainerState {
        Self::ended_in(&self.keepers, id).await
    }

    pub(crate) async fn ended_in(keepers: &Keepers, id: &str) -> ContainerState {
        use futures::StreamExt;
        let mut wakes = keepers.wakes();
        let look = async {
            loop {
                let pod = keepers.pod(POD).unwrap();
                let found =
                    pod.containers.into_iter().find(|container| container.id == id).unwrap();
                if matches!(found.phase, ContainerPhase::Exited { .. }) {
                    return found;
                }
                wakes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("the container ends")
    }

    /// Runs a script in a fresh container to its end: exit code and log, without times.
    pub(crate) async fn run(&self, config: ContainerConfig) -> (i32, String) {
        let (name, attempt) = (config.name.clone(), config.attempt);
        let state = self.start(config).await;
        let state = self.ended(&state.id).await;
        let ContainerPhase::Exited { exit_code, .. } = state.phase else { unreachable!() };
        (exit_code, self.log(&name, attempt))
    }

    pub(crate) fn log(&self, name: &str, attempt: u32) -> String {
        let text =
            fs::read_to_string(self.dir.path().join(format!("logs/{name}/{attempt}.log"))).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned() + "\n").collect()
    }

    /// Runs a script by exec: exit code and output.
    pub(crate) async fn exec(&self, id: &str, script: &str) -> (i32, String) {
        let command = ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec();
        let config = ExecConfig { command, stdout: true, ..ExecConfig::default() };
        let exec = self.keepers.exec(POD, id, config).await.unwrap();
        let output = read(exec.streams.stdout.unwrap()).await;
        (exec.exit.await.unwrap(), output)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever a failed test left: its keepers end with their locks' folders known.
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
            if cmdline.contains("keeper") && cmdline.contains(self.dir.path().to_str().unwrap()) {
                let pid: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
                kill(pid);
            }
        }
        // Of pods that a test did remove; those of a failed test stay for a look.
        self.keepers.remove_groups();
    }
}

pub(crate) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
}

/// The process id of the pod's keeper.
pub(crate) fn keeper_pid(dir: &Path) -> i32 {
    let folder = dir.join("keepers").join(POD);
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if String::from_utf8_lossy(&cmdline).contains(folder.to_str().unwrap())
            && cgroup.contains("/keepers/")
        {
            return entry.file_name().to_str().unwrap().parse().unwrap();
        }
    }
    panic!("no keeper")
}

pub(crate) async fn read(fd: OwnedFd) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        // A terminal ends with an error where a pipe ends.
        fs::File::from(fd).read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    tokio::time::timeout(PATIENCE, reading).await.expect("the stream ends").unwrap()
}

pub(crate) fn options(dir: &Path) -> KeeperOptions {
    let hash = dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    KeeperOptions {
        data_dir: dir.to_path_buf(),
        run_dir: dir.join("run"),
        cgroup: format!("stead-test-{hash}"),
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_host-keeper"))),
    }
}

fn make_root(root: &Path) {
    for folder in ["bin", "etc", "tmp", "var"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("apt-get install busybox-static");
    let applets = [
        "sh", "cat", "echo", "sleep", "id", "ls", "mkdir", "mknod", "mount", "hostname", "stty",
        "tty", "touch", "chmod", "dd", "tail", "head", "ps", "grep", "kill", "pwd", "env", "nc",
        "ip", "test", "true", "tr", "cut", "readlink", "stat",
    ];
    for applet in applets {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/var/web:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:102:\nlogs:x:200:web\n").unwrap();
}
