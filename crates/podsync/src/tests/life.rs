//! Rows: the ordinary life of a pod.

use expect_test::{Expect, expect};
use serde_json::json;

use super::World;
use crate::{
    Desired, Step,
    observed::{Busy, VolumesSeen, Work},
    sync,
};

fn check(world: &mut World, wanted: &Expect) {
    wanted.assert_eq(&world.show());
}

#[test]
fn starts_in_steps() {
    let mut world = World::new(json!({}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        start c attempt 0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
}

#[test]
fn nothing_starts_in_a_sandbox_that_is_still_being_made() {
    let mut world = World::new(json!({}));
    world.settle().held().clear();
    let sandbox = world.seen.sandbox.clone();
    for (busy, starts) in [(true, false), (false, true)] {
        let mut world = World::new(json!({}));
        world.seen.volumes = VolumesSeen::Mounted;
        world.seen.sandbox.clone_from(&sandbox);
        if busy {
            world.seen.busy.insert(Work::RunPod, Busy { deadline: None });
        }
        let plan = sync(Desired { pod: &world.pod, gone: false }, &world.seen, world.now);
        let begins = |step: &Step| matches!(step.work(), Some(Work::Pull(_) | Work::Start(_)));
        assert_eq!(plan.steps.iter().any(begins), starts, "busy: {busy}");
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::RunPod { .. })));
    }
}

#[test]
fn a_running_container_without_a_hook_is_ready_before_its_start_has_answered() {
    let hook = json!({"postStart": {"exec": {"command": ["true"]}}});
    for (lifecycle, ready) in [(json!({}), true), (hook, false)] {
        let container = json!({"name": "c", "image": "i:1", "lifecycle": lifecycle});
        let mut world = World::new(json!({"containers": [container]}));
        world.settle().pod.status = None;
        world.seen.busy.insert(Work::Start("c".to_owned()), Busy { deadline: None });
        let plan = sync(Desired { pod: &world.pod, gone: false }, &world.seen, world.now);
        let status = plan.steps.iter().find_map(|step| match step {
            Step::SetStatus(status) => status.container_statuses.clone(),
            _ => None,
        });
        let seen: Vec<bool> = status.unwrap().iter().map(|status| status.ready).collect();
        assert_eq!(seen, [ready], "{lifecycle}");
    }
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut world = World::new(json!({"initContainers": [
        {"name": "setup", "image": "setup:1"},
        {"name": "side", "image": "side:1", "restartPolicy": "Always"},
    ]}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        start setup attempt 0
        Pending
        PodReadyToStartContainers=True, Initialized=False (ContainersNotInitialized: containers with incomplete status: [setup side]), Ready=False (ContainersNotReady: containers with unready status: [side c]), ContainersReady=False (ContainersNotReady: containers with unready status: [side c]), PodScheduled=True
        setup: running; restarts 0, ready false, started true
        side: waiting PodInitializing; restarts 0, ready false, started false
        c: waiting PodInitializing; restarts 0, ready false, started false
    "#]],
    );
    check(
        world.wait(2).exit("setup", 0).settle(),
        &expect![[r#"
        start side attempt 0
        start c attempt 0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        setup: terminated Completed 0; restarts 0, ready true, started false
        side: running; restarts 0, ready true, started true
        c: running; restarts 0, ready true, started true
    "#]],
    );
    // Main containers first, sidecars after them.
    check(
        world.wait(2).delete(30).settle(),
        &expect![[r#"
        stop c within 30 s: Stopping container c
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        setup: terminated Completed 0; restarts 0, ready true, started false
        side: running; restarts 0, ready true, started true
        c: running; restarts 0, ready true, started true
    "#]],
    );
    check(
        world.wait(4).exit("c", 0).settle(),
        &expect![[r#"
        stop side within 26 s: Stopping container side
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        setup: terminated Completed 0; restarts 0, ready true, started false
        side: running; restarts 0, ready true, started true
        c: terminated Completed 0; restarts 0, ready false, started false
    "#]],
    );
    check(
        world.wait(1).exit("side", 0).settle(),
        &expect![[r#"
        stop pod
        confirm deletion of u1
        remove pod
        Succeeded
        PodReadyToStartContainers=False, Initialized=True (PodCompleted), Ready=False (PodCompleted), ContainersReady=False (PodCompleted), PodScheduled=True
        setup: terminated Completed 0; restarts 0, ready true, started false
        side: terminated Completed 0; restarts 0, ready false, started false
        c: terminated Completed 0; restarts 0, ready false, started false
    "#]],
    );
}

#[test]
fn a_failed_init_container_is_run_again_or_ends_the_pod() {
    let init = json!([{"name": "setup", "image": "setup:1"}]);
    let mut world = World::new(json!({"initContainers": init}));
    world.settle().wait(1).exit("setup", 1).settle();
    check(
        world.wait(1).exit("setup", 2).settle(),
        &expect![[r#"
        run pod, attempt 0
        start setup attempt 0
        start setup attempt 1
        Warning BackOff spec.initContainers{setup}: Back-off restarting failed container setup in pod web-0_default(u1)
        remove setup-0
        Pending
        PodReadyToStartContainers=True, Initialized=False (ContainersNotInitialized: containers with incomplete status: [setup]), Ready=False (ContainersNotReady: containers with unready status: [c]), ContainersReady=False (ContainersNotReady: containers with unready status: [c]), PodScheduled=True
        setup: waiting CrashLoopBackOff: back-off 10s restarting failed container=setup pod=web-0_default(u1); last terminated Error 2; restarts 1, ready false, started false
        c: waiting PodInitializing; restarts 0, ready false, started false
        look again in 10 s
    "#]],
    );
    let mut world = World::new(json!({"initContainers": init, "restartPolicy": "Never"}));
    world.settle().show();
    check(
        world.wait(1).exit("setup", 1).settle(),
        &expect![[r#"
            stop pod
            Failed
            PodReadyToStartContainers=False, Initialized=False (ContainersNotInitialized: containers with incomplete status: [setup]), Ready=False (PodFailed), ContainersReady=False (PodFailed), PodScheduled=True
            setup: terminated Error 1; restarts 0, ready false, started false
            c: waiting PodInitializing; restarts 0, ready false, started false
        "#]],
    );
}

#[test]
fn deletion_stops_confirms_and_forgets() {
    let hook = json!({"exec": {"command": ["true"]}});
    let mut world = World::new(json!({"containers": [
        {"name": "c", "image": "i:1", "lifecycle": {"preStop": hook}},
    ]}));
    world.settle().show();
    check(
        world.wait(5).delete(30).settle(),
        &expect![[r#"
        stop c within 30 s after preStop: Stopping container c
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    // Someone loses patience.
    check(
        world.wait(5).delete(0).settle(),
        &expect![[r#"
        stop c within 0 s after preStop: again
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    check(
        world.exit("c", 137).settle(),
        &expect![[r#"
        stop pod
        confirm deletion of u1
        remove pod
        Failed
        PodReadyToStartContainers=False, Initialized=True, Ready=False (PodFailed), ContainersReady=False (PodFailed), PodScheduled=True
        c: terminated Error 137; restarts 0, ready false, started false
    "#]],
    );
    assert!(world.last.done);
}

#[test]
fn jobs_end_by_their_restart_policy() {
    for (policy, code, wanted) in [
        (
            "OnFailure",
            0,
            expect![[r#"
            stop pod
            Succeeded
            PodReadyToStartContainers=False, Initialized=True (PodCompleted), Ready=False (PodCompleted), ContainersReady=False (PodCompleted), PodScheduled=True
            c: terminated Completed 0; restarts 0, ready false, started false
        "#]],
        ),
        (
            "Never",
            3,
            expect![[r#"
            stop pod
            Failed
            PodReadyToStartContainers=False, Initialized=True, Ready=False (PodFailed), ContainersReady=False (PodFailed), PodScheduled=True
            c: terminated Error 3; restarts 0, ready false, started false
        "#]],
        ),
        (
            "OnFailure",
            3,
            expect![[r#"
            start c attempt 1
            Running
            PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
            c: running; last terminated Error 3; restarts 1, ready true, started true
        "#]],
        ),
    ] {
        let mut world = World::new(json!({"restartPolicy": policy}));
        world.settle().show();
        check(world.wait(1).exit("c", code).settle(), &wanted);
    }
}

#[test]
fn a_new_image_restarts_the_container_in_place() {
    let mut world = World::new(json!({}));
    world.settle().show();
    if let Some(spec) = &mut world.pod.spec {
        spec.containers[0].image = Some("i:2".into());
    }
    world.pod.metadata.generation = Some(2);
    check(
        world.wait(20).settle(),
        &expect![[r#"
        stop c within 30 s: Container c definition changed, will be restarted
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
    check(
        world.wait(1).exit("c", 143).settle(),
        &expect![[r#"
        start c attempt 1
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True
        c: running; last terminated Error 143; restarts 1, ready true, started true
    "#]],
    );
}

#[test]
fn readiness_gates_hold_the_pod_back() {
    let mut world = World::new(json!({"readinessGates": [{"conditionType": "x.io/up"}]}));
    check(
        world.settle(),
        &expect![[r#"
        run pod, attempt 0
        start c attempt 0
        Running
        PodReadyToStartContainers=True, Initialized=True, Ready=False (ReadinessGatesNotReady: corresponding condition of pod readiness gate "x.io/up" does not exist.), ContainersReady=True, PodScheduled=True
        c: running; restarts 0, ready true, started true
    "#]],
    );
}
