//! What keeps a pod: place, node, image, start, crash, probe, end.

use expect_test::expect;
use serde_json::{Value, json};

use super::world::{LATELY, THEN, World, ready, unplaced, waits};
use crate::Part;

fn with(status: Value) -> World {
    World::new().set(1, |_| ()).pod("web-0", |pod| pod["status"] = status.clone())
}

fn changed(change: impl Fn(&mut Value)) -> World {
    World::new().set(1, |_| ()).pod("web-0", change)
}

fn naked(change: impl Fn(&mut Value)) -> World {
    changed(|pod| {
        pod["metadata"]["name"] = "alone".into();
        pod["metadata"]["ownerReferences"] = Value::Null;
        change(pod);
    })
}

#[test]
fn fine() {
    with(ready())
        .check("po/web-0", expect!["pod/web-0: nothing is wrong: it is Running and ready"]);
}

#[test]
fn images() {
    let rows = [
        (
            "ImagePullBackOff",
            "Back-off pulling image \"nginx:1\": ErrImagePull: Failed to pull image \"nginx:1\": manifest unknown",
        ),
        (
            "ErrImagePull",
            "pull access denied, repository does not exist or may require authorization",
        ),
        ("ErrImagePull", "dial tcp: lookup registry.example.com: no such host"),
        (
            "InvalidImageName",
            "Failed to apply default image tag \"NGINX\": invalid reference format",
        ),
        (
            "ErrImageNeverPull",
            "Container image \"nginx:1\" is not present with pull policy of Never",
        ),
    ];
    let mut text = String::new();
    for (reason, message) in rows {
        let seen = with(waits(reason, message));
        let subject = crate::Subject { kind: crate::SubjectKind::Set, name: "web".to_owned() };
        let found = crate::explain(&seen.0, &subject, super::world::NOW.parse().unwrap());
        text += &format!("{}\n\n", found.unwrap());
    }
    expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: manifest unknown (since 2026-01-01T00:50:00Z, 10m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself

        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ErrImagePull: pull access denied, repository does not exist or may require authorization (since 2026-01-01T00:50:00Z, 10m)
        cure: give the registry's credentials (imagePullSecrets), or another image: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself

        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ErrImagePull: dial tcp: lookup registry.example.com: no such host (since 2026-01-01T00:50:00Z, 10m)
        cure: make the registry reachable from the node, bring the image there (`stead image import FILE`), or name another: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself

        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: InvalidImageName: Failed to apply default image tag "NGINX": invalid reference format (since 2026-01-01T00:50:00Z, 10m)
        cure: that is no image's name: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself

        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ErrImageNeverPull: Container image "nginx:1" is not present with pull policy of Never (since 2026-01-01T00:50:00Z, 10m)
        cure: bring it to the node (`stead image import FILE`), or allow a pull (imagePullPolicy): kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself

    "#]].assert_eq(&text);
    let event = with(waits("ImagePullBackOff", "Back-off pulling image \"nginx:1\""));
    let event =
        event.event("Pod", "web-0", "Failed", "Failed to pull image \"nginx:1\": 404 Not Found");
    event.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  container/nginx > image/nginx:1: ImagePullBackOff: 404 Not Found (since 2026-01-01T00:58:00Z, 2m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE"#]]);
    naked(|pod| pod["status"] = waits("ErrImagePull", "unauthorized"))
        .check("pod/alone", expect![[r#"
            pod/alone is stuck: it is Pending
            why:  container/nginx > image/nginx:1: ErrImagePull: unauthorized (since 2026-01-01T00:50:00Z, 10m)
            cure: give the registry's credentials (imagePullSecrets), or another image: kubectl set image pod/alone nginx=IMAGE"#]]);
}

fn crashed(code: i32, reason: &str) -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "nginx", "image": "nginx:1", "imageID": "", "ready": false,
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": LATELY}}}]})
}

#[test]
fn crashes() {
    with(crashed(1, "Error")).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx: its program ended with exit code 1, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what its log says (kubectl logs web-0 -c nginx --previous): kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let told = with(crashed(1, "Error")).log(
        "web-0",
        true,
        &["start", "no such file: /etc/app.conf", "bye"],
    );
    told.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ended with exit code 1, after 4 restarts; its last lines: "start" "no such file: /etc/app.conf" "bye" (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what its log says (kubectl logs web-0 -c nginx --previous): kubectl edit statefulset web"#]]);
    with(crashed(1, "Error")).log("web-0", true, &[]).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ended with exit code 1, after 4 restarts; its log is empty (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what its log says (kubectl logs web-0 -c nginx --previous): kubectl edit statefulset web"#]]);
    with(crashed(0, "Completed")).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ends by itself, with exit code 0, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: give it a command that keeps running: kubectl edit statefulset web"#]]);
    with(crashed(127, "Error")).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ended with exit code 127, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: name a program that the image has: kubectl edit statefulset web"#]]);
    let hungry = changed(|pod| {
        pod["status"] = crashed(137, "OOMKilled");
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "64Mi"}});
    });
    hungry.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: it was killed for using more memory than its limit of 64Mi, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: raise its memory limit: kubectl edit statefulset web"#]]);
    let mut between = crashed(2, "Error");
    between["containerStatuses"][0]["state"] =
        json!({"terminated": {"exitCode": 2, "finishedAt": LATELY}});
    with(between).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ended with exit code 2, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what its log says (kubectl logs web-0 -c nginx): kubectl edit statefulset web"#]]);
    let mut again = crashed(2, "Error");
    again["containerStatuses"][0]["state"] = json!({"running": {"startedAt": LATELY}});
    with(again).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx: its program ended with exit code 2, after 4 restarts (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what its log says (kubectl logs web-0 -c nginx --previous): kubectl edit statefulset web"#]]);
}

fn unready_with(probe: &str, restarts: i32) -> World {
    let mut status = ready();
    status["conditions"] = json!([{"type": "Ready", "status": "False", "lastTransitionTime": THEN},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": LATELY}]);
    status["containerStatuses"][0]["ready"] = false.into();
    status["containerStatuses"][0]["restartCount"] = restarts.into();
    changed(|pod| {
        pod["spec"]["containers"][0][probe] =
            json!({"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 5});
        pod["status"] = status.clone();
    })
}

#[test]
fn probes() {
    let waiting = unready_with("readinessProbe", 0);
    waiting.check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx: its probe (GET :80/healthz) has not answered yet (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed yet: it is asked every 5s after 0s"#]]);
    let text = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    waiting.event("Pod", "web-0", "Unhealthy", text).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > probe/readinessProbe: its readinessProbe (GET :80/healthz) fails; the last answer: HTTP probe failed with statuscode: 503 (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what the program answers (kubectl logs web-0 -c nginx), or the probe: kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let alive = unready_with("livenessProbe", 3);
    let text = "Liveness probe failed: Get \"http://10.0.0.1:80/healthz\": dial tcp 10.0.0.1:80: connect: connection refused";
    alive.event("Pod", "web-0", "Unhealthy", text).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx > probe/livenessProbe: its livenessProbe (GET :80/healthz) fails; the last answer: Get "http://10.0.0.1:80/healthz": dial tcp 10.0.0.1:80: connect: connection refused; it was restarted 3 times for it (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what the program answers (kubectl logs web-0 -c nginx), or the probe: kubectl edit statefulset web"#]]);
    let command = changed(|pod| {
        pod["spec"]["containers"][0]["startupProbe"] =
            json!({"exec": {"command": ["cat", "/ready"]}});
        pod["status"] = ready();
        pod["status"]["conditions"][0]["status"] = "False".into();
        pod["status"]["containerStatuses"][0]["ready"] = false.into();
    });
    let text = "Startup probe failed: cat: can't open '/ready': No such file or directory\n";
    command.event("Pod", "web-0", "Unhealthy", text).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  container/nginx > probe/startupProbe: its startupProbe (exec cat /ready) fails; the last answer: cat: can't open '/ready': No such file or directory (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what the program answers (kubectl logs web-0 -c nginx), or the probe: kubectl edit statefulset web"#]]);
}

#[test]
fn starts() {
    let message = "configmap \"settings\" not found";
    with(waits("CreateContainerConfigError", message)).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > configmap/settings: configmap "settings" not found (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl create configmap settings --from-literal=KEY=VALUE, or kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let message = "exec: \"nope\": executable file not found in $PATH";
    with(waits("RunContainerError", message)).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx: it cannot be started: exec: "nope": executable file not found in $PATH (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    with(waits("ContainerCreating", "")).check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx: its node prepares it: network, volumes, image (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed; kubectl describe pod web-0 shows how far it is"#]]);
    let mount = "MountVolume.SetUp failed for volume \"conf\" : secret \"key\" not found";
    let mounts = with(waits("ContainerCreating", "")).event("Pod", "web-0", "FailedMount", mount);
    mounts.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  container/nginx > secret/key: MountVolume.SetUp failed for volume "conf" : secret "key" not found (since 2026-01-01T00:58:00Z, 2m)
        cure: make secret "key", or kubectl edit statefulset web"#]]);
    let init = changed(|pod| {
        pod["spec"]["initContainers"] = json!([{"name": "wait"}]);
        pod["status"] = waits("PodInitializing", "");
        pod["status"]["initContainerStatuses"] = json!([{"name": "wait", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"running": {"startedAt": LATELY}}}]);
    });
    init.check("pod/web-0", expect![[r#"
        pod/web-0 goes on by itself: it is Pending
        why:  container/wait: this init container runs, and the others wait for its end (since 2026-01-01T00:58:00Z, 2m)
        cure: none needed while it works; kubectl logs web-0 -c wait shows what it does"#]]);
    let mut silent = ready();
    silent["phase"] = "Pending".into();
    silent["conditions"][0]["status"] = "False".into();
    silent["containerStatuses"] = json!([]);
    with(silent).check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  node/n1: the pod was given to it, and it has not begun with it (since 2026-01-01T00:50:00Z, 10m)
        cure: look at the agent of node n1 (its log; is it running?)"#]]);
    let gated = changed(|pod| {
        pod["spec"]["readinessGates"] = json!([{"conditionType": "example.com/lb"}]);
        pod["status"]["conditions"][0]["status"] = "False".into();
    });
    gated.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Running, but not ready
        why:  its readiness gate example.com/lb is not True (since 2026-01-01T00:50:00Z, 10m)
        cure: whoever sets condition example.com/lb must do so, or take the gate out: kubectl edit statefulset web"#]]);
}

#[test]
fn nodes() {
    let mut gone = with(waits("ContainerCreating", ""));
    gone.0.nodes.clear();
    gone.check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  node/n1: there is no such node any more, so nobody can say whether the pod still runs
        cure: once it is sure that it does not: kubectl delete pod web-0 --grace-period=0 --force"#]]);
    let lost = |world: World| {
        let mut world = world;
        world.0.nodes.clear();
        world.with(json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [{
            "type": "Ready", "status": "Unknown", "lastTransitionTime": LATELY,
            "message": "Kubelet stopped posting node status."}]}}))
    };
    let mut status = ready();
    status["conditions"][0]["status"] = "False".into();
    lost(with(status)).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > node/n1: it is not ready: Kubelet stopped posting node status. (since 2026-01-01T00:58:00Z, 2m)
        cure: bring n1 back (start its agent); if it is off and stays off: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, which lets its pods start elsewhere"#]]);
    let going = changed(|pod| pod["metadata"]["deletionTimestamp"] = THEN.into());
    lost(going).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0 > node/n1: it is not ready: Kubelet stopped posting node status.; the pod ends only when its node says so (since 2026-01-01T00:58:00Z, 2m)
        cure: bring n1 back (start its agent); if it is off and stays off: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, which lets its pods start elsewhere"#]]);
    gone.hide(Part::Nodes).check("pod/web-0", expect![[r#"
        pod/web-0 goes on by itself: it is Pending
        why:  container/nginx: its node prepares it: network, volumes, image (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed; kubectl describe pod web-0 shows how far it is"#]]);
}

#[test]
fn placement() {
    let refused = |message: &str, change: &dyn Fn(&mut Value)| {
        World::new().set(1, |_| ()).pod("web-0", |pod| {
            pod["spec"]["nodeName"] = Value::Null;
            pod["status"] = unplaced(message);
            change(pod);
        })
    };
    let large = |pod: &mut Value| {
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "64"}});
    };
    let cpu = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    refused(cpu, &large).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no node will do: n1: Insufficient cpu (since 2026-01-01T00:58:00Z, 2m)
        cure: ask for less (it asks for cpu 64): kubectl edit statefulset web; or add a node with that much room; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    refused(cpu, &large).hide(Part::Elsewhere).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no node will do: 0/1 nodes are available: 1 Insufficient cpu (since 2026-01-01T00:58:00Z, 2m)
        cure: ask for less (it asks for cpu 64): kubectl edit statefulset web; or add a node with that much room; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let selects = |pod: &mut Value| pod["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    refused(
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        &selects,
    )
    .check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no node will do: n1: node(s) didn't match Pod's node affinity/selector (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl label node n1 disk=ssd; or change its nodeSelector: kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let mut cordoned = refused("0/1 nodes are available: 1 node(s) were unschedulable.", &|_| ());
    cordoned.0.nodes.clear();
    let cordoned = cordoned.with(json!({"kind": "Node", "metadata": {"name": "n1"},
        "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    cordoned.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no node will do: n1: node(s) were unschedulable (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl uncordon n1"#]]);
    let mut tainted =
        refused("0/1 nodes are available: 1 node(s) had untolerated taint(s).", &|_| ());
    tainted.0.nodes.clear();
    let tainted = tainted.with(json!({"kind": "Node", "metadata": {"name": "n1"},
        "spec": {"taints": [{"key": "only", "value": "db", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
    tainted.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no node will do: n1: node(s) had untolerated taint(s) (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl taint node n1 only:NoSchedule-; or tolerate it: kubectl edit statefulset web; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    let gates =
        |pod: &mut Value| pod["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    refused("", &gates).check(
        "pod/web-0",
        expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  its scheduling gates hold it back: example.com/wait (since 2026-01-01T00:50:00Z, 10m)
        cure: whoever put the gate there must take it off, or: kubectl edit statefulset web"#]],
    );
    let own = |pod: &mut Value| {
        pod["spec"]["schedulerName"] = "mine".into();
        pod["status"] = json!({"phase": "Pending"});
    };
    refused("", &own).check(
        "pod/web-0",
        expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  no scheduler named "mine" has looked at it (since 2026-01-01T00:50:00Z, 10m)
        cure: start it, or take schedulerName out: kubectl edit statefulset web"#]],
    );
}

#[test]
fn ends() {
    let held = changed(|pod| {
        pod["metadata"]["deletionTimestamp"] = THEN.into();
        pod["metadata"]["finalizers"] = json!(["example.com/keep"]);
    });
    held.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: it was deleted, and example.com/keep holds it: whoever put this finalizer there has not let go (since 2026-01-01T00:50:00Z, 10m)
        cure: start what owns the finalizer; if that is gone for good: kubectl patch pod web-0 --type=merge -p '{"metadata":{"finalizers":null}}'"#]]);
    let grace = changed(|pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:20Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    grace.check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: it was asked to stop, and has 20s of its 30s of grace left (since 2026-01-01T00:59:50Z, 10s)
        cure: none needed: it is killed after its grace (terminationGracePeriodSeconds)"#]]);
    let late = changed(|pod| {
        pod["metadata"]["deletionTimestamp"] = LATELY.into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    late.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: its grace is over, and node n1 has not said that it ended (since 2026-01-01T00:58:00Z, 2m)
        cure: look at the agent of node n1; once it is sure that nothing runs there any more: kubectl delete pod web-0 --grace-period=0 --force"#]]);
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    with(evicted.clone()).check(
        "sts/web",
        expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: it ended as Failed: Evicted: The node was low on resource: memory.
        cure: none needed: its owner makes it anew"#]],
    );
    naked(|pod| pod["status"] = evicted.clone()).check(
        "pod/alone",
        expect![[r#"
        pod/alone is stuck: it is Failed
        why:  it ended as Failed: Evicted: The node was low on resource: memory.
        cure: kubectl delete pod alone, and make it anew"#]],
    );
}
