//! What containers may and may not do.

use std::{fs, os::fd::AsRawFd};

use expect_test::{Expect, expect};
use host::runtime::{ContainerConfig, Mount, Seccomp};

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
