//! Rows: crashes, probes, pulls, reboots, refusals.

use expect_test::{Expect, expect};
use serde_json::json;

use super::World;
use crate::observed::{Probed, Refusal, StartFailure};

fn check(world: &mut World, wanted: &Expect) {
    wanted.assert_eq(&world.show());
}

#[test]
fn crashes_wait_twice_as_long_each_time() {
    let mut world = World::new(json!({}));
    world.settle().show();
    check(
        world.wait(1).exit("c", 1).settle(),
        &expect![[r#"
        start c attempt 1
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; last terminated Error 1; restarts 1, ready true, started true
    "#]],
    );
    check(
        world.wait(1).exit("c", 1).settle(),
        &expect![[r#"
        Warning BackOff spec.containers{c}: Back-off restarting failed container c in pod web-0_default(u1)
        remove c-0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting CrashLoopBackOff: back-off 10s restarting failed container=c pod=web-0_default(u1); last terminated Error 1; restarts 1, ready false, started false
        look again in 10 s
    "#]],
    );
    world.wait(10).settle();
    check(
        world.wait(1).exit("c", 1).settle(),
        &expect![[r#"
        start c attempt 2
        Warning BackOff spec.containers{c}: Back-off restarting failed container c in pod web-0_default(u1)
        remove c-1
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting CrashLoopBackOff: back-off 20s restarting failed container=c pod=web-0_default(u1); last terminated Error 1; restarts 2, ready false, started false
        look again in 20 s
    "#]],
    );
    let mut waits = Vec::new();
    for _ in 0..6 {
        let at = world.last.look_again.unwrap();
        let seconds = at.duration_since(world.now).as_secs();
        waits.push(seconds);
        world.wait(seconds).settle().wait(1).exit("c", 1).settle();
    }
    assert_eq!(waits, [20, 40, 80, 160, 300, 300]);
    // Ten minutes of good conduct.
    let seconds = world.last.look_again.unwrap().duration_since(world.now).as_secs();
    world.wait(seconds).settle().wait(601).show();
    check(
        world.exit("c", 1).settle(),
        &expect![[r#"
        remove c-8
        start c attempt 10
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; last terminated Error 1; restarts 10, ready true, started true
    "#]],
    );
}

#[test]
fn probes_restart_and_unready() {
    let probe = json!({"tcpSocket": {"port": 80}});
    let mut world = World::new(json!({"containers": [{
        "name": "c", "image": "i:1",
        "startupProbe": probe, "livenessProbe": probe, "readinessProbe": probe,
    }]}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        start c attempt 0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: running; restarts 0, ready false, started false
    "#]],
    );
    assert_eq!(world.last.probes.len(), 1);
    let all = Probed { startup: Some(true), ..Probed::default() };
    world.seen.probes.insert("c-0".into(), all);
    world.settle();
    assert_eq!(world.last.probes.len(), 2);
    world.seen.probes.insert("c-0".into(), Probed { readiness: Some(true), ..all });
    check(
        world.settle(),
        &expect![[r#"
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    world.seen.probes.insert("c-0".into(), Probed { liveness: Some(false), ..all });
    check(
        world.settle(),
        &expect![[r#"
        stop c within 30 s: Container c failed liveness probe, will be restarted
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
}

#[test]
fn an_agent_that_begins_anew_believes_the_status() {
    let mut world = World::new(json!({"containers": [{
        "name": "c", "image": "i:1", "readinessProbe": {"tcpSocket": {"port": 80}},
    }]}));
    world.settle();
    let ready = Probed { readiness: Some(true), ..Probed::default() };
    world.seen.probes.insert("c-0".into(), ready);
    world.settle().show();
    world.seen.probes.clear();
    check(
        world.settle(),
        &expect![[r#"
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
}

#[test]
fn a_pull_that_fails_backs_off() {
    let mut world = World::new(json!({"containers": [{"name": "c", "image": "none:1"}]}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        pull of none:1 failed
        Warning Failed spec.containers{c}: Error: ErrImagePull
        Pending
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting ErrImagePull: no such image; restarts 0, ready false, started false
        look again in 1 s
    "#]],
    );
    check(
        world.wait(1).settle(),
        &expect![[r#"
        Normal BackOff spec.containers{c}: Back-off pulling image "none:1"
        Warning Failed spec.containers{c}: Error: ImagePullBackOff
        Pending
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting ImagePullBackOff: Back-off pulling image "none:1": ErrImagePull: no such image; restarts 0, ready false, started false
        look again in 9 s
    "#]],
    );
    world.images.push("none:1");
    check(
        world.wait(9).settle(),
        &expect![[r#"
        start c attempt 0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
}

#[test]
fn a_start_that_fails_says_why() {
    for (reason, wanted) in [
        (
            "CreateContainerError",
            expect![[r#"
            Running
            PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
            c: waiting CreateContainerError: exec: "nope": not found; last terminated ContainerStatusUnknown 137 The container could not be located when the pod was deleted.  The container used to be Running; restarts 0, ready false, started false
            look again in 9 s
        "#]],
        ),
        (
            "RunContainerError",
            expect![[r#"
            Warning BackOff spec.containers{c}: Back-off restarting failed container c in pod web-0_default(u1)
            Running
            PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
            c: waiting CrashLoopBackOff: back-off 10s restarting failed container=c pod=web-0_default(u1); last terminated StartError 128 exec: "nope": not found; restarts 0, ready false, started false
            look again in 9 s
        "#]],
        ),
    ] {
        let mut world = World::new(json!({}));
        world.settle();
        world.held().clear();
        world.seen.back_offs.insert("c".into(), super::back_off(10, "2026-01-01T00:00:00Z"));
        let failure = StartFailure {
            reason: reason.into(),
            message: "exec: \"nope\": not found".into(),
            at: world.now,
            attempt: 0,
        };
        world.seen.failures.insert("c".into(), failure);
        world.show();
        check(world.wait(1).settle(), &wanted);
    }
}

#[test]
fn settings_that_lead_nowhere_are_named() {
    let mut world = World::new(json!({"containers": [{
        "name": "c", "image": "i:1", "envFrom": [{"configMapRef": {"name": "gone"}}],
    }]}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        Warning Failed spec.containers{c}: Error: configmap "gone" not found
        Pending
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting CreateContainerConfigError: configmap "gone" not found; restarts 0, ready false, started false
    "#]],
    );
}

#[test]
fn a_reboot_counts_as_a_restart() {
    let mut world = World::new(json!({}));
    world.settle().show();
    // The record is there, its processes are not.
    world.seen.sandbox.as_mut().unwrap().alive = false;
    check(
        world.wait(60).settle(),
        &expect![[r#"
            Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.
            run pod, attempt 1
            start c attempt 1
            Running
            PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
            c: running; last terminated ContainerStatusUnknown 137 The container could not be located when the pod was terminated; restarts 1, ready true, started true
        "#]],
    );
    // Not even the record is there.
    world.seen.sandbox = None;
    check(
        world.wait(60).settle(),
        &expect![[r#"
        run pod, attempt 0
        start c attempt 2
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; last terminated ContainerStatusUnknown 137 The container could not be located when the pod was deleted.  The container used to be Running; restarts 2, ready true, started true
    "#]],
    );
}

#[test]
fn nothing_starts_beside_a_pod_of_the_same_name() {
    let mut world = World::new(json!({}));
    world.seen.blocked_by = Some("u0".into());
    check(
        world.settle(),
        &expect![[r#"
        Pending
        PodReadyToStartContainers=False, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        c: waiting ContainerCreating; restarts 0, ready false, started false
    "#]],
    );
    assert_eq!(world.last.waits, ["the pod of this name with uid u0 to be gone"]);
}

#[test]
fn a_pod_that_is_not_wanted_any_more_goes() {
    let mut world = World::new(json!({}));
    world.settle().show();
    world.gone = true;
    check(
        world.settle(),
        &expect![[r#"
        stop c within 1 s: Stopping container c
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    check(
        world.exit("c", 143).settle(),
        &expect![[r#"
        stop pod
        remove pod
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    assert!(world.last.done);
}

#[test]
fn refused_and_overdue_pods_fail() {
    let mut world = World::new(json!({}));
    world.seen.refused = Some(Refusal {
        reason: "OutOfcpu".into(),
        message: "Node didn't have enough resource: cpu, requested: 8000, used: 0, capacity: 2000"
            .into(),
    });
    check(
        world.settle(),
        &expect![[r#"
        Warning OutOfcpu: Node didn't have enough resource: cpu, requested: 8000, used: 0, capacity: 2000
        Failed OutOfcpu Pod was rejected: Node didn't have enough resource: cpu, requested: 8000, used: 0, capacity: 2000

    "#]],
    );
    let mut world = World::new(json!({"activeDeadlineSeconds": 60}));
    world.settle().show();
    check(
        world.wait(60).settle(),
        &expect![[r#"
        Normal DeadlineExceeded: Pod was active on the node longer than the specified deadline
        stop c within 30 s: Stopping container c
        Failed DeadlineExceeded Pod was active on the node longer than the specified deadline
        PodReadyToStartContainers=True, Initialized=True, Ready=False (PodFailed), ContainersReady=False (PodFailed), PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    check(
        world.wait(1).exit("c", 143).settle(),
        &expect![[r#"
        stop pod
        Failed DeadlineExceeded Pod was active on the node longer than the specified deadline
        PodReadyToStartContainers=False, Initialized=True, Ready=False (PodFailed), ContainersReady=False (PodFailed), PodScheduled=True
        c: terminated Error 143; restarts 0, ready false, started false
    "#]],
    );
}
