//! Claims, classes, volumes.

use expect_test::expect;
use serde_json::{Value, json};

use super::world::{LATELY, World, claim, class, unplaced, volume};
use crate::Part;

const STATIC: &str = "kubernetes.io/no-provisioner";
const UNBOUND: &str =
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found";

/// A set with a claim template, and its pod that waits for its claim.
fn world() -> World {
    let templates = |set: &mut Value| {
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}}]);
    };
    World::new().set(2, templates).pod("web-0", |pod| {
        pod["spec"]["nodeName"] = Value::Null;
        pod["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]);
        pod["status"] = unplaced(UNBOUND);
    })
}

#[test]
fn class_missing() {
    let local = class("local", "stead.io/local", "WaitForFirstConsumer");
    let seen = world().with(local).with(claim("data-web-0", Some("fast"), "10Gi"));
    seen.check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0 > storageclass/fast: there is no such class (there are: local), and no volume has that class (since 2026-01-01T00:50:00Z, 10m)
        cure: make a StorageClass "fast"; or with another class in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    seen.check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 is stuck: it is Pending
        why:  storageclass/fast: there is no such class (there are: local), and no volume has that class (since 2026-01-01T00:50:00Z, 10m)
        cure: make a StorageClass "fast"; or with another class in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    seen.hide(Part::Classes)
        .check("pvc/data-web-0", expect!["pvc/data-web-0: nothing is wrong: it is Pending"]);
}

#[test]
fn no_volume_fits() {
    let base = || {
        world().with(class("manual", STATIC, "Immediate")).with(claim(
            "data-web-0",
            Some("manual"),
            "10Gi",
        ))
    };
    base().check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0 > storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": there is none at all, and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
        cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual""#]]);
    base()
        .with(volume("small", "manual", "5Gi"))
        .with(volume("other", "fast", "50Gi"))
        .check("sts/web", expect![[r#"
            statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
            why:  pod/web-0 > pvc/data-web-0 > storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": small has only 5Gi, other has class "fast"; and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
            cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual"; or with a smaller size in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    let mut many = volume("many", "manual", "20Gi");
    many["spec"]["accessModes"] = json!(["ReadOnlyMany"]);
    base().with(many).check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 is stuck: it is Pending
        why:  storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": many offers only ReadOnlyMany; and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
        cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual"; or with other accessModes in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    let mut released = volume("old", "manual", "20Gi");
    released["spec"]["claimRef"] =
        json!({"namespace": "default", "name": "data-web-0", "uid": "before"});
    released["status"]["phase"] = "Released".into();
    base().with(released).check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 is stuck: it is Pending
        why:  storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": old is Released, kept for the deleted claim default/data-web-0; and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
        cure: kubectl patch pv old --type=json -p '[{"op":"remove","path":"/spec/claimRef"}]' gives it free, its old data in it; or make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual""#]]);
    base()
        .hide(Part::Volumes)
        .check("pvc/data-web-0", expect!["pvc/data-web-0: nothing is wrong: it is Pending"]);
    world().with(claim("data-web-0", None, "10Gi")).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0: no volume fits 10Gi, ReadWriteOnce, no class: there is none at all, and no class is there to make one (since 2026-01-01T00:50:00Z, 10m)
        cure: make a PersistentVolume with 10Gi, ReadWriteOnce, no class; or with a storageClassName in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    let late = class("manual", STATIC, "WaitForFirstConsumer");
    world()
        .with(late)
        .with(claim("data-web-0", Some("manual"), "10Gi"))
        .check("sts/web", expect![[r#"
            statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
            why:  pod/web-0 > pvc/data-web-0 > storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": there is none at all, and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
            cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual""#]]);
    let alone = World::new().with(claim("alone", Some("manual"), "10Gi"));
    alone
        .with(class("manual", STATIC, "Immediate"))
        .with(volume("small", "manual", "5Gi"))
        .check("pvc/alone", expect![[r#"
            pvc/alone is stuck: it is Pending
            why:  storageclass/manual: no volume fits 10Gi, ReadWriteOnce, class "manual": small has only 5Gi; and class "manual" makes none (since 2026-01-01T00:50:00Z, 10m)
            cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class "manual"; or kubectl delete pvc alone, and make it anew with a smaller size"#]]);
}

#[test]
fn first_consumer() {
    let late = || class("local", "stead.io/local", "WaitForFirstConsumer");
    let alone = World::new().with(late()).with(claim("alone", Some("local"), "1Gi"));
    alone.check("pvc/alone", expect![[r#"
        pvc/alone goes on by itself: it is Pending
        why:  its class waits until a pod uses the claim (WaitForFirstConsumer) (since 2026-01-01T00:50:00Z, 10m)
        cure: none needed: a pod that uses it gets it bound"#]]);
    let used = world().with(late()).with(claim("data-web-0", Some("local"), "10Gi"));
    used.check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 is stuck: it is Pending
        why:  pod/web-0: no node will do: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims (since 2026-01-01T00:58:00Z, 2m)
        cure: mend what the message names: kubectl edit statefulset web"#]]);
}

#[test]
fn provisioners() {
    let base = || {
        world().with(class("csi", "csi.example.com", "Immediate")).with(claim(
            "data-web-0",
            Some("csi"),
            "10Gi",
        ))
    };
    base().check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0 > storageclass/csi: its provisioner csi.example.com has made no volume yet (since 2026-01-01T00:50:00Z, 10m)
        cure: see that the provisioner csi.example.com runs in this cluster; this class needs it"#]]);
    let said = "failed to provision volume with StorageClass \"csi\": rpc error: out of space";
    base()
        .event("PersistentVolumeClaim", "data-web-0", "ProvisioningFailed", said)
        .check("sts/web", expect![[r#"
            statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
            why:  pod/web-0 > pvc/data-web-0 > storageclass/csi: its provisioner csi.example.com fails: failed to provision volume with StorageClass "csi": rpc error: out of space (since 2026-01-01T00:58:00Z, 2m)
            cure: mend what csi.example.com says, or use another class"#]]);
}

#[test]
fn named_volumes() {
    let named = |name: &str| {
        let mut claim = claim("data-web-0", Some("manual"), "10Gi");
        claim["spec"]["volumeName"] = name.into();
        claim
    };
    let base = || world().with(class("manual", STATIC, "Immediate"));
    base().with(named("nowhere")).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0 > pv/nowhere: the volume that the claim names does not exist (since 2026-01-01T00:50:00Z, 10m)
        cure: make pv/nowhere; or with no volumeName in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
    base()
        .with(named("small"))
        .with(volume("small", "manual", "5Gi"))
        .check("sts/web", expect![[r#"
            statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
            why:  pod/web-0 > pvc/data-web-0 > pv/small: requested PV is too small (since 2026-01-01T00:50:00Z, 10m)
            cure: give the claim another volume: with a volume that fits in volumeClaimTemplates: kubectl delete statefulset web --cascade=orphan, kubectl delete pvc data-web-0, and apply the set again"#]]);
}

#[test]
fn ends() {
    let mut going = claim("data-web-0", Some("manual"), "10Gi");
    going["metadata"]["deletionTimestamp"] = LATELY.into();
    going["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    world().with(going.clone()).check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 is stuck: it is being deleted
        why:  pod/web-0: it was deleted, and lives on while a pod uses it (pvc-protection): web-0 (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl delete pod web-0; the claim goes then, and a set makes a new, empty one"#]]);
    let templates = |set: &mut Value| {
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    };
    World::new().set(1, templates).with(going).check("sts/web", expect![[r#"
        statefulset/web goes on by itself: 0 of 1 pods are ready, it waits until claim data-web-0 is gone
        why:  pvc/data-web-0: it was deleted, and no pod uses it any more (since 2026-01-01T00:58:00Z, 2m)
        cure: none needed: it goes as soon as the cluster's claim controller has looked"#]]);
    let mut lost = claim("data-web-0", Some("manual"), "10Gi");
    lost["status"]["phase"] = "Lost".into();
    lost["spec"]["volumeName"] = "pv-1".into();
    world().with(lost).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0: its volume "pv-1" is gone, and its data with it
        cure: bring pv/pv-1 back from a backup; or begin with an empty one: kubectl delete pvc data-web-0, then delete its pod"#]]);
    let mut bound = claim("data-web-0", Some("manual"), "10Gi");
    bound["status"]["phase"] = "Bound".into();
    bound["spec"]["volumeName"] = "pv-1".into();
    world().with(bound.clone()).check(
        "pvc/data-web-0",
        expect!["pvc/data-web-0: nothing is wrong: it is Bound to pv/pv-1"],
    );
    bound["status"]["conditions"] = json!([{"type": "ControllerResizeError", "status": "True",
        "message": "the class forbids it", "lastTransitionTime": LATELY}]);
    world().with(bound).check("pvc/data-web-0", expect![[r#"
        pvc/data-web-0 works: it is Bound to pv/pv-1
        why:  its volume cannot be grown: the class forbids it (since 2026-01-01T00:58:00Z, 2m)
        cure: ask for no more than it has: kubectl edit pvc data-web-0; or mend what the message says"#]]);
}

#[test]
fn claim_missing() {
    world().check("pod/web-0", expect![[r#"
        pod/web-0 is stuck: it is Pending
        why:  pvc/data-web-0: there is no such claim (since 2026-01-01T00:50:00Z, 10m)
        cure: make the claim "data-web-0", or change the pod's volume: kubectl edit statefulset web"#]]);
    let said = "Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: persistentvolumeclaims \"data-web-0\" is forbidden: exceeded quota: disks, requested: requests.storage=10Gi, used: requests.storage=0, limited: requests.storage=5Gi";
    world().event("StatefulSet", "web", "FailedCreate", said).check("sts/web", expect![[r#"
        statefulset/web is stuck: 0 of 2 pods are ready, it waits until pod web-0 is healthy
        why:  pod/web-0 > pvc/data-web-0 > resourcequota/disks: this quota is spent: requested: requests.storage=10Gi, used: requests.storage=0, limited: requests.storage=5Gi (since 2026-01-01T00:58:00Z, 2m)
        cure: kubectl edit quota disks, or ask for less: kubectl edit statefulset web"#]]);
}
