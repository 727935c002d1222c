//! Lives of pods and containers: start, end, restart of the agent, death of the keeper.

use std::{fs, time::Instant};

use expect_test::{Expect, expect};
use futures::StreamExt;
use host::runtime::{ContainerPhase, Resources, RuntimeError};

use crate::world::{POD, World, keeper_pid, kill};

fn running_pid(phase: &ContainerPhase) -> u32 {
    match phase {
        ContainerPhase::Running { pid, .. } => *pid,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_exit_code() {
    let world = World::with_pod().await;
    let (code, log) = world.run(World::container("echo out; hostname; exit 3")).await;
    assert_eq!(code, 3);
    expect![[r"
        stdout F out
        stdout F web-0
    "]]
    .assert_eq(&log);
    let again = world
        .keepers
        .start_container(POD, World::container("never"), &world.image())
        .await
        .unwrap();
    assert!(
        matches!(again.phase, ContainerPhase::Exited { exit_code: 3, .. }),
        "a repeated start finds the first"
    );
    world.keepers.remove_container(POD, &again.id).await.unwrap();
    assert_eq!(world.keepers.pod(POD).unwrap().containers, vec![]);
    world.keepers.remove_pod(POD).await.unwrap();
    assert_eq!(world.keepers.pods(), vec![]);
    assert!(!world.dir.path().join("keepers").join(POD).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_finds_the_same_processes() {
    let mut world = World::with_pod().await;
    let first = world.start(World::container("sleep 1000")).await;
    world.reopen().await;
    let pod = world.keepers.pod(POD).unwrap();
    assert!(pod.alive);
    assert_eq!(pod.containers, vec![first.clone()]);
    assert_eq!(world.exec(&first.id, "echo hi").await, (0, "hi\n".to_owned()));
    let (state, net) = world.keepers.run_pod(world.pod_config(), Vec::new()).await.unwrap();
    assert_eq!((state.containers.len(), net.is_some()), (1, true));
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_die_with_their_keeper() {
    let world = World::with_pod().await;
    let container = world.start(World::container("sleep 1000")).await;
    let pid = running_pid(&container.phase);
    let mut wakes = world.keepers.wakes();
    kill(keeper_pid(world.dir.path()));
    while world.keepers.pod(POD).unwrap().alive {
        wakes.next().await;
    }
    let state = &world.keepers.pod(POD).unwrap().containers[0];
    assert!(
        matches!(state.phase, ContainerPhase::Exited { exit_code: 137, signal: Some(9), .. }),
        "{state:?}"
    );
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| ") Z".to_owned());
    assert!(
        stat.contains(") Z") || stat.contains(") X"),
        "dead, if not reaped by its new parent yet: {stat}"
    );
    let error =
        world.keepers.exec(POD, &state.id, host::runtime::ExecConfig::default()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Keeper { .. }), "{error}");
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_runs_once() {
    let world = World::with_pod().await;
    let mut second = world.pod_config();
    second.uid = "99999999-2222-3333-4444-555555555555".to_owned();
    let error = world.keepers.run_pod(second.clone(), Vec::new()).await.unwrap_err();
    expect!["a keeper of pod default/web-0 (uid 11111111-2222-3333-4444-555555555555) still lives on this node"]
        .assert_eq(&error.to_string());
    world.keepers.remove_pod(POD).await.unwrap();
    world.keepers.run_pod(second.clone(), Vec::new()).await.unwrap();
    world.keepers.remove_pod(&second.uid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_its_grace() {
    let world = World::with_pod().await;
    let polite = world
        .start(World::container("trap 'echo bye; exit 5' TERM; while :; do sleep 0.01; done"))
        .await;
    world.keepers.stop_container(POD, &polite.id, None, 20).await.unwrap();
    assert!(matches!(
        world.ended(&polite.id).await.phase,
        ContainerPhase::Exited { exit_code: 5, signal: None, .. }
    ));
    let mut deaf = World::container("trap '' TERM; while :; do sleep 0.01; done");
    deaf.attempt = 1;
    let deaf = world.start(deaf).await;
    world.keepers.stop_container(POD, &deaf.id, None, 1).await.unwrap();
    let state = world.ended(&deaf.id).await;
    assert!(matches!(
        state.phase,
        ContainerPhase::Exited { exit_code: 137, signal: Some(9), oom_killed: false, .. }
    ));
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_has_a_limit() {
    let world = World::with_pod().await;
    let mut config =
        World::container("x=$(cat /dev/zero | head -c 200000000 | tr '\\0' x); echo ${#x}");
    config.resources =
        Resources { memory_max_bytes: Some(16 << 20), pids_max: Some(64), ..Resources::default() };
    let state = world.start(config).await;
    let state = world.ended(&state.id).await;
    assert!(matches!(state.phase, ContainerPhase::Exited { oom_killed: true, .. }), "{state:?}");
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_written() {
    let world = World::with_pod().await;
    let mut config = World::container("sleep 1000");
    config.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(100_000),
        memory_max_bytes: Some(64 << 20),
        pids_max: Some(50),
        oom_score_adj: Some(500),
    };
    let container = world.start(config).await;
    let script = "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes pids/pids.max 2>/dev/null \
                  || cat cpu.weight cpu.max memory.max pids.max; cat /proc/1/oom_score_adj";
    let (_, text) = world.exec(&container.id, script).await;
    let v1 = text == "512\n20000\n67108864\n50\n500\n";
    let v2 = text == "20\n20000 100000\n67108864\n50\n500\n";
    assert!(v1 || v2, "{text}");
    let usage = world.keepers.usage(POD).unwrap();
    assert_eq!(usage.len(), 2);
    assert!(
        usage[1].working_set_bytes > 0 && usage[1].pids > 0 && usage[1].cpu_ns > 0,
        "{usage:?}"
    );
    world.keepers.remove_pod(POD).await.unwrap();
}

async fn check_start_error(
    command: &[&str],
    change: impl FnOnce(&mut host::runtime::ContainerConfig),
    expected: &Expect,
) {
    let world = World::with_pod().await;
    let mut config = World::container("");
    config.command = Some(command.iter().map(ToString::to_string).collect());
    change(&mut config);
    let error = world.keepers.start_container(POD, config, &world.image()).await.unwrap_err();
    let kind = match error {
        RuntimeError::Start(_) => "Start",
        RuntimeError::Create(_) => "Create",
        RuntimeError::Config(_) => "Config",
        _ => "?",
    };
    expected.assert_eq(&format!("{kind} {error}"));
    let codes: Vec<_> =
        world.keepers.pod(POD).unwrap().containers.into_iter().map(|c| c.phase).collect();
    match codes.as_slice() {
        [] => assert_ne!(kind, "Start"),
        [ContainerPhase::Exited { exit_code: 128, started_at: None, .. }] => {
            assert_eq!(kind, "Start")
        }
        other => panic!("{other:?}"),
    }
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_cannot_start() {
    check_start_error(&["nosuch"], |_| (), &expect![[r#"Start failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "nosuch": executable file not found in $PATH: unknown"#]]).await;
    check_start_error(&["/nosuch"], |_| (), &expect![[r#"Start failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/nosuch": stat /nosuch: no such file or directory: unknown"#]]).await;
    check_start_error(&["/etc/passwd"], |_| (), &expect![[r#"Start failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/etc/passwd": permission denied: unknown"#]]).await;
    check_start_error(&["sh"], |c| c.working_dir = Some("/etc/passwd".into()), &expect![[r#"Start failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: chdir to cwd ("/etc/passwd") set in config.json failed: not a directory: unknown"#]]).await;
    check_start_error(&["sh"], |c| c.security.run_as_non_root = true, &expect![[r#"Config container has runAsNonRoot and image will run as root (pod: "web-0_default(11111111-2222-3333-4444-555555555555)", container: app)"#]]).await;
    check_start_error(
        &["sh"],
        |c| c.security.add_capabilities = vec!["FLY".into()],
        &expect![[r#"Create unknown capability "FLY""#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_another_boot_are_closed() {
    let mut world = World::with_pod().await;
    world.start(World::container("sleep 1000")).await;
    let folder = world.dir.path().join("keepers").join(POD);
    let state = fs::read(folder.join("state.json")).unwrap();
    let mut wakes = world.keepers.wakes();
    kill(keeper_pid(world.dir.path()));
    while world.keepers.pod(POD).unwrap().alive {
        wakes.next().await;
    }
    // As the machine left it when it lost power: its containers were running.
    fs::write(folder.join("state.json"), state).unwrap();
    let record = fs::read_to_string(folder.join("pod.json")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(
        folder.join("pod.json"),
        record.replace(boot.trim(), "00000000-0000-0000-0000-000000000000"),
    )
    .unwrap();
    world.reopen().await;
    let pod = world.keepers.pod(POD).unwrap();
    assert!(!pod.alive);
    assert!(
        matches!(pod.containers[0].phase, ContainerPhase::Exited { exit_code: 255, .. }),
        "{pod:?}"
    );
    world.keepers.remove_pod(POD).await.unwrap();
}

/// Measures; its bounds are wide enough for a loaded machine. Run it with `--no-capture` for figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "it measures wall time for people"
)]
async fn starts_are_quick_and_keepers_small() {
    let world = World::new().await;
    world.keepers.prepare().await.unwrap();
    let (mut pods_ms, mut containers_ms, mut pss_kib) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..5 {
        let mut config = world.pod_config();
        config.uid = format!("{number}1111111-2222-3333-4444-555555555555");
        config.name = format!("web-{number}");
        let uid = config.uid.clone();
        let begin = Instant::now();
        world.keepers.run_pod(config, Vec::new()).await.unwrap();
        pods_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        let begin = Instant::now();
        world
            .keepers
            .start_container(&uid, World::container("sleep 1000"), &world.image())
            .await
            .unwrap();
        containers_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&cmdline).contains(world.dir.path().to_str().unwrap()) {
            let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            pss_kib.push(pss.trim().trim_end_matches(" kB").to_owned());
        }
    }
    eprintln!(
        "run_pod ms {pods_ms:.1?}; start_container ms {containers_ms:.1?}; PSS KiB {pss_kib:?}"
    );
    for pod in world.keepers.pods() {
        world.keepers.remove_pod(&pod.uid).await.unwrap();
    }
    assert!(containers_ms.iter().all(|ms| *ms < 1000.0), "{containers_ms:?}");
}
