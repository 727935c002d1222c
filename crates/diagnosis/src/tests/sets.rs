//! What a set waits for, and what refuses its pods.

use expect_test::expect;
use serde_json::{Value, json};

use super::world::{LATELY, THEN, World, ready, waits};
use crate::Part;

fn unready(pod: &mut Value) {
    pod["status"] =
        waits("ImagePullBackOff", "Back-off pulling image \"nginx:1\": ErrImagePull: not found");
}

fn refused(message: &str) -> World {
    let said = format!("Create Pod web-0 in StatefulSet web failed error: {message}");
    World::new().set(2, |_| ()).event("StatefulSet", "web", "FailedCreate", &said)
}

#[test]
fn healthy() {
    let world = World::new().set(2, |_| ()).pod("web-0", |_| ()).pod("web-1", |_| ());
    world.check("sts/web", expect!["statefulset/web: nothing is wrong: 2 of 2 pods are ready"]);
    world.check("sts/nobody", expect!["not there"]);
    let nothing = World::new().set(0, |_| ());
    nothing.check("sts/web", expect!["statefulset/web: nothing is wrong: 0 of 0 pods are ready"]);
}

#[test]
fn being_made() {
    World::new().set(1, |_| ()).check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: it does not exist yet; the set's controller makes it next
        cure: none needed: ask again in a few seconds"#]]);
}

#[test]
fn nobody_acts() {
    let silent = World::new().set(1, |set| set["metadata"]["generation"] = 2.into());
    silent.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: no controller acts on the set: web-0 was never made, and the set's generation 2 was not looked at (the last one is 1) (since 2026-01-01T00:50:00Z, 10m)
        cure: start the cluster's StatefulSet controller: `stead up`, `stead controller`, or kube-controller-manager"#]]);
}

#[test]
fn lower_ordinal_blocks() {
    let world = World::new().set(3, |_| ()).pod("web-0", unready);
    world.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 3 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: not found (since 2026-01-01T00:50:00Z, 10m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    world.check("pod/web-2", expect![[r#"
        pod/web-2 is stuck: it does not exist, and statefulset/web wants it
        why:  statefulset/web > pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: not found; web-2 is made only after web-0 is ready (since 2026-01-01T00:50:00Z, 10m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
    world.check("pod/web-3", expect!["not there"]);
}

#[test]
fn parallel_names_the_worst() {
    let parallel = |set: &mut Value| set["spec"]["podManagementPolicy"] = "Parallel".into();
    let starts = |pod: &mut Value| pod["status"] = waits("ContainerCreating", "");
    let world = World::new()
        .set(3, parallel)
        .pod("web-0", starts)
        .pod("web-1", unready)
        .pod("web-2", unready);
    world.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 3 pods are ready, it waits until pod web-2 is healthy, 2 pods are stuck
        why:  pod/web-2 > container/nginx > image/nginx:1: ImagePullBackOff: not found (since 2026-01-01T00:50:00Z, 10m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE"#]]);
}

#[test]
fn a_broken_pod_of_an_old_template() {
    let other = |pod: &mut Value| {
        unready(pod);
        pod["metadata"]["labels"]["controller-revision-hash"] = "web-old".into();
    };
    World::new().set(1, |_| ()).pod("web-0", other).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: not found; the set's template has changed since, but an OrderedReady set does not replace a broken pod by itself (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl delete pod web-0, which comes back with the new template (a StatefulSetPolicy with rollout.replaceBrokenPods does this by itself)"#]]);
}

#[test]
fn name_squatted() {
    let foreign = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job",
            "name": "j", "uid": "j", "controller": true}]);
    };
    World::new().set(1, |_| ()).pod("web-0", foreign).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: another pod has the name that the set needs: it belongs to job/j (since 2026-01-01T00:50:00Z, 10m)
        cure: rename one of the two, or kubectl delete pod web-0 once its owner is gone"#]]);
    let released = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] = Value::Null;
        pod["metadata"]["labels"] = json!({"app": "other"});
    };
    World::new().set(1, |_| ()).pod("web-0", released).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: another pod has the name that the set needs: it belongs to nobody, and the set's selector does not match its labels (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl delete pod web-0, or give it the labels of the set's selector to have it adopted"#]]);
}

#[test]
fn the_server_refuses() {
    let quota = "pods \"web-0\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3";
    refused(quota).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > resourcequota/few: this quota is spent: requested: pods=1, used: pods=3, limited: pods=3 (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl edit quota few, or ask for less: kubectl edit statefulset web"#]]);
    let unsaid =
        "pods \"web-0\" is forbidden: failed quota: sized: must specify limits.memory for: nginx";
    refused(unsaid).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > resourcequota/sized: this quota wants sizes: must specify limits.memory for: nginx (since 2026-01-01T00:58:00Z, 2m)
        cure: give every container these sizes: kubectl edit statefulset web"#]]);
    let webhook = "admission webhook \"no.example.com\" denied the request: not on Fridays";
    refused(webhook).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > admission/no.example.com: admission refuses it: not on Fridays (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what it says: kubectl edit statefulset web; or change the rule of no.example.com"#]]);
    let down =
        "Internal error occurred: failed calling webhook \"no.example.com\": connection refused";
    refused(down).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > admission/no.example.com: a webhook that must be asked does not answer: Internal error occurred: failed calling webhook "no.example.com": connection refused (since 2026-01-01T00:58:00Z, 2m)
        cure: start the webhook's server; or remove its ValidatingWebhookConfiguration or MutatingWebhookConfiguration"#]]);
    let security = "pods \"web-0\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
    refused(security).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: the namespace's pod security level restricted:latest refuses it: runAsNonRoot != true (since 2026-01-01T00:58:00Z, 2m)
        cure: mend its securityContext: kubectl edit statefulset web; or kubectl label namespace default pod-security.kubernetes.io/enforce=LEVEL --overwrite"#]]);
    let account = "pods \"web-0\" is forbidden: error looking up service account default/db: serviceaccount \"db\" not found";
    refused(account).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > serviceaccount/db: its service account does not exist (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl create serviceaccount db, or change serviceAccountName: kubectl edit statefulset web"#]]);
    let priority = "pods \"web-0\" is forbidden: no PriorityClass with name high was found";
    refused(priority).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > priorityclass/high: its priority class does not exist (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl create priorityclass high --value=1000, or change priorityClassName: kubectl edit statefulset web"#]]);
    let namespace = "pods \"web-0\" is forbidden: unable to create new content in namespace default because it is being terminated";
    refused(namespace).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > namespace/default: its namespace is being deleted: nothing new may be made in it (since 2026-01-01T00:58:00Z, 2m)
        cure: none while it goes; kubectl get namespace default -o yaml says what it waits for"#]]);
    let long = "Pod \"web-0\" is invalid: metadata.labels: Invalid value: \"x\": must be no more than 63 bytes";
    refused(long).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: the set's name has 3 characters, and no room for the revision that its pods' labels carry: Pod "web-0" is invalid: metadata.labels: Invalid value: "x": must be no more than 63 bytes (since 2026-01-01T00:58:00Z, 2m)
        cure: make the set anew under a name of at most 52 characters"#]]);
    let range = "pods \"web-0\" is forbidden: maximum cpu usage per Container is 1, but limit is 2";
    refused(range).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: a LimitRange refuses its sizes: pods "web-0" is forbidden: maximum cpu usage per Container is 1, but limit is 2 (since 2026-01-01T00:58:00Z, 2m)
        cure: change its requests and limits: kubectl edit statefulset web; or kubectl edit limitrange"#]]);
    refused("Pod \"web-0\" is invalid: spec.x: Required value").check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: the server refuses it: Pod "web-0" is invalid: spec.x: Required value (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what the server says: kubectl edit statefulset web"#]]);
}

#[test]
fn a_refusal_that_is_over() {
    let world = refused("nothing").with(json!({"kind": "Event", "metadata": {"name": "later"},
        "involvedObject": {"kind": "StatefulSet", "name": "web"}, "reason": "SuccessfulCreate",
        "message": "Create Pod web-0 in StatefulSet web successful",
        "lastTimestamp": "2026-01-01T00:59:00Z"}));
    world.check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: it does not exist yet; the set's controller makes it next
        cure: none needed: ask again in a few seconds"#]]);
}

#[test]
fn the_condition_tells_where_events_are_hidden() {
    let failed = |set: &mut Value| {
        set["status"] = json!({"replicas": 0, "observedGeneration": 1, "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods \"web-0\" is forbidden: exceeded quota: few, requested: pods=1",
            "lastTransitionTime": LATELY}]});
    };
    World::new().set(1, failed).hide(Part::Events).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > resourcequota/few: this quota is spent: requested: pods=1 (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl edit quota few, or ask for less: kubectl edit statefulset web"#]]);
}

#[test]
fn deadline() {
    let late = |set: &mut Value| {
        set["status"] = json!({"replicas": 0, "observedGeneration": 1, "conditions": [{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "web-0 is not available for 10m"}]});
    };
    World::new().set(1, late).pod("web-0", unready).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is healthy, its rollout is past its deadline (web-0 is not available for 10m)
        why:  pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: not found (since 2026-01-01T00:50:00Z, 10m)
        cure: name an image that exists: kubectl set image statefulset/web nginx=IMAGE; after an edit of the set also: kubectl delete pod web-0, which an OrderedReady set does not replace by itself"#]]);
}

#[test]
fn old_templates_on_purpose() {
    let old =
        |pod: &mut Value| pod["metadata"]["labels"]["controller-revision-hash"] = "web-old".into();
    let on_delete = |set: &mut Value| set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let world = World::new().set(2, on_delete).pod("web-0", old).pod("web-1", old);
    world.check("sts/web", expect![[r#"
        statefulset/web works: 2 of 2 pods are ready
        why:  2 pods have the old template (web-0 web-1): with OnDelete a pod gets the new template when somebody deletes it
        cure: kubectl delete pod web-1, one after the other, from the highest down"#]]);
    let canary = |set: &mut Value| {
        set["spec"]["updateStrategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    };
    let world = World::new().set(2, canary).pod("web-0", old).pod("web-1", |_| ());
    world.check("sts/web", expect![[r#"
        statefulset/web works: 2 of 2 pods are ready
        why:  1 pod has the old template (web-0): the set's partition 1 keeps it
        cure: kubectl patch statefulset web -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'"#]]);
    let world = World::new().set(2, |_| ()).pod("web-0", old).pod("web-1", |_| ());
    world.check(
        "sts/web",
        expect![[r#"
        statefulset/web goes on by itself: 2 of 2 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: the set's controller does this next: delete Pod web-0
        cure: none needed: `stead rollout status` follows it"#]],
    );
}

#[test]
fn settling() {
    let patient = |set: &mut Value| set["spec"]["minReadySeconds"] = 900.into();
    let world = World::new().set(1, patient).pod("web-0", |pod| pod["status"] = ready());
    world.check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 1 of 1 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0: it is ready, and must stay so for 900s (minReadySeconds) (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed: in 300s it counts as available"#]]);
}

#[test]
fn service_missing() {
    let mut world = World::new().set(1, |_| ()).pod("web-0", |_| ());
    world.0.services.clear();
    world.check("sts/web", expect![[r#"
        statefulset/web works: 1 of 1 pods are ready
        why:  service/nginx: the set's Service does not exist; its pods run, but names such as web-0.nginx do not resolve (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl create service clusterip nginx --clusterip=None, then kubectl set selector service nginx app=web"#]]);
    let other = world.with(json!({"kind": "Service", "metadata": {"name": "nginx"},
        "spec": {"clusterIP": "None", "selector": {"app": "nginx"}}}));
    other.check("sts/web", expect![[r#"
        statefulset/web works: 1 of 1 pods are ready
        why:  service/nginx: its selector app=nginx does not match the set's pods; names such as web-0.nginx do not resolve (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl set selector service nginx app=web"#]]);
}

#[test]
fn a_set_that_goes() {
    let going = |set: &mut Value| {
        set["metadata"]["deletionTimestamp"] = LATELY.into();
        set["metadata"]["finalizers"] = json!(["example.com/keep"]);
    };
    World::new().set(1, going).check("sts/web", expect![[r#"
        statefulset/web is stuck: it is being deleted
        why:  it was deleted, and example.com/keep holds it: whoever put this finalizer there has not let go (since 2026-01-01T00:58:00Z, 2m)
        cure: start what owns the finalizer; if that is gone for good: kubectl patch statefulset web --type=merge -p '{"metadata":{"finalizers":null}}'"#]]);
}

#[test]
fn pods_may_not_be_read() {
    let mut world = World::new().set(1, |_| ()).hide(Part::Pods);
    world.check(
        "sts/web",
        expect![[r#"
        statefulset/web is stuck: its pods could not be read
        why:  pods could not be read: forbidden
        cure: ask with the right to list pods"#]],
    );
    world.0.namespace = "shop".to_owned();
    let squat =
        World(world.0).pod("web-0", |pod| pod["metadata"]["deletionTimestamp"] = THEN.into());
    let mut squat = squat.0;
    squat.unseen.clear();
    World(squat).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0: its grace is over, and node n1 has not said that it ended (since 2026-01-01T00:50:00Z, 10m)
        cure: look at the agent of node n1; once it is sure that nothing runs there any more: kubectl -n shop delete pod web-0 --grace-period=0 --force"#]]);
}

#[test]
fn policies() {
    let old = |pod: &mut Value| {
        pod["metadata"]["labels"]["controller-revision-hash"] = "web-old".into();
    };
    let policy = |name: &str, spec: Value, status: Value| {
        let mut spec = spec;
        spec["statefulSetName"] = "web".into();
        json!({"kind": "StatefulSetPolicy", "metadata": {"name": name}, "spec": spec,
            "status": status})
    };
    let world = || World::new().set(1, |_| ()).pod("web-0", old);
    world().with(policy("web", json!({"paused": true}), json!({}))).check(
        "sts/web",
        expect![[r#"
            statefulset/web works: 1 of 1 pods are ready, it waits until StatefulSetPolicy web is not paused
            why:  statefulsetpolicy/web: it pauses the set: no pod gets the new template (scaling goes on)
            cure: stead rollout resume statefulset/web"#]],
    );
    let fine = World::new().set(1, |_| ()).pod("web-0", |_| ());
    let two = fine.clone().with(policy("web", json!({}), json!({})));
    two.with(policy("other", json!({}), json!({}))).check(
        "sts/web",
        expect![[r#"
        statefulset/web works: 1 of 1 pods are ready
        why:  statefulsetpolicy/web: 2 policies name the set, so none acts: web, other
        cure: kubectl delete statefulsetpolicy other"#]],
    );
    let refused = json!({"conditions": [{"type": "Accepted", "status": "False",
        "reason": "Contradicts", "message": "maxUnavailable has no meaning with OnDelete",
        "lastTransitionTime": LATELY}]});
    fine.with(policy("web", json!({}), refused)).check("sts/web", expect![[r#"
        statefulset/web works: 1 of 1 pods are ready
        why:  statefulsetpolicy/web: it is not accepted, and the set goes on as without it: maxUnavailable has no meaning with OnDelete (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl edit statefulsetpolicy web"#]]);
    let broken = |pod: &mut Value| {
        unready(pod);
        old(pod);
    };
    let replaces = policy("web", json!({"rollout": {"replaceBrokenPods": true}}), json!({}));
    let world = World::new().set(1, |_| ()).pod("web-0", broken).with(replaces);
    world.check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until pod web-0 is gone
        why:  pod/web-0 > container/nginx > image/nginx:1: ImagePullBackOff: not found; the set's template has changed since (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed: the set's policy has broken pods replaced"#]]);
}
