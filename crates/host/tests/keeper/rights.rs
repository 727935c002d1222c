//! What containers may and may not do.

use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
};

use expect_test::{Expect, expect};
use host::runtime::{ContainerConfig, Device, Mount, Seccomp};

use crate::world::{POD, World, keeper_pid};

async fn check(script: &str, change: impl FnOnce(&mut ContainerConfig), expected: &Expect) {
    let world = World::with_pod().await;
    let mut config = World::container(script);
    change(&mut config);
    let (code, log) = world.run(config).await;
    expected.assert_eq(&format!("{log}{code}"));
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_capabilities() {
    let caps = "id; grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t'; echo $HOME";
    check(
        caps,
        |_| (),
        &expect![[r"
        stdout F uid=0(root) gid=0(root) groups=0(root)
        stdout F CapPrm:00000000a80425fb
        stdout F CapEff:00000000a80425fb
        stdout F CapBnd:00000000a80425fb
        stdout F CapAmb:0000000000000000
        stdout F NoNewPrivs:0
        stdout F Seccomp:2
        stdout F /root
        0"]],
    )
    .await;
    let change = |c: &mut ContainerConfig| {
        (c.security.user, c.security.no_new_privileges) = (Some(101), true);
        c.security.drop_capabilities = vec!["ALL".into()];
        c.security.supplemental_groups = vec![7];
    };
    check(
        caps,
        change,
        &expect![[r"
        stdout F uid=101(web) gid=102(web) groups=7,102(web),200(logs)
        stdout F CapPrm:0000000000000000
        stdout F CapEff:0000000000000000
        stdout F CapBnd:0000000000000000
        stdout F CapAmb:0000000000000000
        stdout F NoNewPrivs:1
        stdout F Seccomp:2
        stdout F /var/web
        0"]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn walls() {
    let script = "mount -t tmpfs x /tmp 2>&1; mkdir /sys/fs/cgroup/x /proc/sys/x /sys/x 2>&1 | cut -d: -f3 | tr '\\n' .; echo; \
                  cat /proc/timer_list | wc -c; mknod /disk b 254 0; head -c 1 /disk 2>&1; \
                  mknod /dev/disk b 254 0; head -c 1 /dev/disk 2>&1; echo x > /dev/null && echo null; ls /dev | grep -v core | tr '\\n' ' '";
    check(
        script,
        |_| (),
        &expect![[r"
        stdout F mount: permission denied (are you root?)
        stdout F  Read-only file system. No such file or directory. Read-only file system.
        stdout F 0
        stdout F head: /disk: Permission denied
        stdout F head: /dev/disk: Permission denied
        stdout F null
        stdout F disk fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 
        0"]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_and_volumes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "volume\n").unwrap();
    let mount = |target: &str, read_only| Mount {
        source: dir.path().to_path_buf(),
        target: target.to_owned(),
        read_only,
        propagation: None,
    };
    let mounts = vec![mount("/data", false), mount("/fixed/deep", true)];
    let script = "cat /data/file; touch /data/new && echo written; touch /fixed/deep/x 2>&1; touch /x 2>&1; touch /dev/shm/y && pwd";
    let change = |c: &mut ContainerConfig| {
        (c.mounts, c.security.read_only_root) = (mounts, true);
        c.working_dir = Some("/var".into());
    };
    check(
        script,
        change,
        &expect![[r"
        stdout F volume
        stdout F written
        stdout F touch: /fixed/deep/x: Read-only file system
        stdout F touch: /x: Read-only file system
        stdout F /var
        0"]],
    )
    .await;
    assert!(dir.path().join("new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privileged_and_unconfined() {
    let script = "grep ^Seccomp: /proc/self/status | tr -d '\\t'; mount -t tmpfs x /tmp && echo mounted; ls /dev/kmsg";
    check(
        script,
        |c| c.security.privileged = true,
        &expect![[r"
        stdout F Seccomp:0
        stdout F mounted
        stdout F /dev/kmsg
        0"]],
    )
    .await;
    check(
        "grep ^Seccomp: /proc/self/status | tr -d '\\t'",
        |c| c.security.seccomp = Seccomp::Unconfined,
        &expect![[r"
        stdout F Seccomp:0
        0"]],
    )
    .await;
}

/// In the manner of CVE-2019-5736: a container that runs as what started it must not write to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keepers_program_cannot_be_overwritten() {
    let world = World::new().await;
    let mut config = world.pod_config();
    config.host_pid = true;
    world.keepers.run_pod(config, Vec::new()).await.unwrap();
    let keeper = keeper_pid(world.dir.path());
    // While it runs, the kernel itself protects it.
    let mut attacker = World::container(&format!("echo x >> /proc/{keeper}/exe; echo status $?"));
    attacker.security.privileged = true;
    let (code, log) = world.run(attacker).await;
    assert_eq!((code, log.contains("Text file busy")), (0, true), "{log}");
    // The entrypoint of the published attack: the program that is starting containers, by its link.
    let mut own = World::container("");
    (own.attempt, own.command) = (1, Some(vec!["/proc/self/exe".to_owned()]));
    let state = world.keepers.start_container(POD, own, &world.image()).await.unwrap();
    world.ended(&state.id).await;
    // A descriptor that was opened meanwhile outlives it, and still cannot be opened for writing.
    let held = fs::File::open(format!("/proc/{keeper}/exe")).unwrap();
    world.keepers.remove_pod(POD).await.unwrap();
    let link = format!("/proc/self/fd/{}", held.as_raw_fd());
    let error = fs::OpenOptions::new().write(true).open(link).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_processes_see_each_other() {
    let world = World::new().await;
    let mut config = world.pod_config();
    config.share_processes = true;
    config.sysctls = [("net.core.somaxconn".to_owned(), "77".to_owned())].into();
    world.keepers.run_pod(config, Vec::new()).await.unwrap();
    let first = world.start(World::container("touch /dev/shm/mark; sleep 1000")).await;
    let mut second = World::container(
        "ps | grep -c '[s]leep 1000'; ls /dev/shm; cat /proc/sys/net/core/somaxconn; ip -o addr show lo | grep -c 127.0.0.1",
    );
    second.name = "side".to_owned();
    let (_, log) = world.run(second).await;
    assert_eq!(log, "stdout F 1\nstdout F mark\nstdout F 77\nstdout F 1\n");
    world.keepers.stop_container(POD, &first.id, None, 0).await.unwrap();
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_travel_as_far_as_asked() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let dir = tempfile::tempdir().unwrap();
    let none: Option<&str> = None;
    let make = |path: &std::path::Path| {
        fs::create_dir_all(path).unwrap();
        mount(Some("x"), path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    };
    let volume = dir.path().join("volume");
    make(&volume);
    mount(none, &volume, none, MsFlags::MS_SHARED, none).unwrap();
    let world = World::with_pod().await;
    let at = |target: &str, propagation: &str| Mount {
        source: volume.clone(),
        target: target.to_owned(),
        read_only: false,
        propagation: Some(propagation.to_owned()),
    };
    let mut config = World::container("sleep 1000");
    config.security.privileged = true;
    config.mounts =
        vec![at("/both", "Bidirectional"), at("/in", "HostToContainer"), at("/none", "None")];
    let container = world.start(config).await;
    make(&volume.join("host"));
    fs::write(volume.join("host/file"), "").unwrap();
    assert_eq!(
        world.exec(&container.id, "ls /both/host /in/host /none/host").await.1,
        "/both/host:\nfile\n\n/in/host:\nfile\n\n/none/host:\n"
    );
    let script =
        "mkdir /both/inner && mount -t tmpfs x /both/inner && touch /both/inner/file; ls /in/inner";
    assert_eq!(world.exec(&container.id, script).await.1, "file\n");
    assert!(volume.join("inner/file").exists());
    world.keepers.remove_pod(POD).await.unwrap();
    let left = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !left.contains(world.dir.path().to_str().unwrap()),
        "nothing of the pod is mounted on the node"
    );
    for path in [volume.join("inner"), volume.join("host"), volume] {
        umount2(&path, MntFlags::MNT_DETACH).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_own_namespaces() {
    let world = World::new().await;
    let mut config = world.pod_config();
    (config.host_network, config.host_ipc, config.host_pid) = (true, true, true);
    let (_, net) = world.keepers.run_pod(config, Vec::new()).await.unwrap();
    assert!(net.is_none());
    let spaces = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; ls -d /sys/class/net/lo; cat /proc/self/oom_score_adj";
    let (code, log) = world.run(World::container(spaces)).await;
    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned()
    };
    let mut lines = log.lines().map(|line| line.trim_start_matches("stdout F "));
    for name in ["net", "ipc", "uts", "pid"] {
        assert_eq!(lines.next(), Some(own(name).as_str()));
    }
    assert_ne!(lines.next(), Some(own("mnt").as_str()));
    assert_eq!((lines.next(), lines.next(), code), (Some("/sys/class/net/lo"), Some("0"), 0));
    let script =
        "head -c 1 /dev/chosen | wc -c; chmod 600 /dev/chosen && head -c 1 /disk/chosen | wc -c";
    let mut device = World::container(script);
    device.attempt = 1;
    let at = |target: &str| Device {
        source: "/dev/zero".into(),
        target: target.to_owned(),
        access: "rwm".to_owned(),
    };
    device.devices = vec![at("/dev/chosen"), at("/disk/chosen")];
    let (code, log) = world.run(device).await;
    assert_eq!((code, log.as_str()), (0, "stdout F 1\nstdout F 1\n"));
    let mode = fs::metadata("/dev/zero").unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "the node's file is untouched");
    world.keepers.remove_pod(POD).await.unwrap();
}
