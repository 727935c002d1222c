//! Storage with the set, as a person sees it: claims that grow, stay, go and come back.

#![expect(clippy::disallowed_methods, reason = "a person waits, by the clock")]

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Turn, text};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Runs the line until it prints what is wanted, every blank and line end a single blank.
#[track_caller]
fn eventually(cluster: &Cluster, line: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let output = text(&cluster.sh(line));
        let found = output.split_whitespace().collect::<Vec<_>>().join(" ");
        if found.contains(wanted) && (!wanted.is_empty() || found.is_empty()) {
            return;
        }
        if began.elapsed() > WAIT_MAX {
            let told = text(&cluster.sh("kubectl get all,pvc,pv; kubectl get events"));
            panic!("never: {line}: {wanted}\nbut: {output}\n{told}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs the line, which must succeed.
#[track_caller]
fn done(cluster: &Cluster, line: &str) -> String {
    let output = cluster.sh(line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    text(&output)
}

/// Runs the line, which must be refused with these words.
#[track_caller]
fn refused(cluster: &Cluster, line: &str, words: &str) {
    let output = cluster.sh(line);
    let said = text(&output);
    assert!(!output.status.success() && said.contains(words), "{line}: {said}");
}

/// Applies a manifest.
#[track_caller]
fn apply(cluster: &Cluster, manifest: &str) {
    done(cluster, &format!("kubectl apply -f - <<'END'\n{manifest}\nEND"));
}

fn start(name: &str) -> Cluster {
    let cluster = Cluster::start(name, &[]);
    cluster.import(&["busybox.tar"]);
    cluster
}

/// A set `web` whose pods sleep, with a claim `data` each; `more` stands in its spec.
fn set(replicas: u32, more: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  replicas: {replicas}
  podManagementPolicy: Parallel
  {more}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox:1.28.4
        command: [sleep, '1000000']
        volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {{requests: {{storage: 1Gi}}}}
"
    )
}

fn policy(deleted: &str, scaled: &str) -> String {
    format!(
        "persistentVolumeClaimRetentionPolicy: {{whenDeleted: {deleted}, whenScaled: {scaled}}}"
    )
}

const READY: &str = "kubectl get statefulset web -o jsonpath='{.status.readyReplicas} ready'";
const CLAIMS: &str =
    "kubectl get pvc -o jsonpath='{range .items[*]}{.metadata.name} {end}'; echo .";
/// Kind, name and controller of each owner of a claim.
fn owners(claim: &str) -> String {
    format!(
        "kubectl get pvc {claim} -o jsonpath='{{range .metadata.ownerReferences[*]}}{{.kind}}/{{.name}}={{.controller}} {{end}}'; echo ."
    )
}

#[test]
fn claims_grow_and_are_kept_while_they_are_used() {
    let _turn = Turn::take();
    let cluster = start("grow");
    apply(&cluster, &set(1, ""));
    eventually(&cluster, READY, "1 ready");
    let size = |size: &str| {
        let patch =
            format!("{{\"spec\":{{\"resources\":{{\"requests\":{{\"storage\":\"{size}\"}}}}}}}}");
        format!("kubectl patch pvc data-web-0 -p '{patch}'")
    };
    done(&cluster, &size("2Gi"));
    eventually(&cluster, "kubectl get pvc data-web-0", "2Gi RWO local-path");
    eventually(&cluster, "kubectl get pv", "2Gi RWO Delete Bound default/data-web-0");
    let told = "kubectl describe pvc data-web-0";
    eventually(&cluster, told, "External resizer is resizing volume pvc-");
    eventually(&cluster, told, "VolumeResizeSuccessful");
    let conditions = "kubectl get pvc data-web-0 -o jsonpath='{.status.conditions}'";
    assert_eq!(text(&cluster.sh(conditions)), "");
    refused(&cluster, &size("1Gi"), "field can not be less than status.capacity");
    apply(
        &cluster,
        "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: rigid}
provisioner: stead.io/local
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: rigid}
spec: {storageClassName: rigid, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: waiting}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    eventually(&cluster, "kubectl get pvc rigid", "Bound");
    let claim = |name: &str| size("2Gi").replace("data-web-0", name);
    refused(
        &cluster,
        &claim("rigid"),
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    );
    refused(&cluster, &claim("waiting"), "Only bound persistent volume claims can be expanded");
    // A claim in use stays until its pod is gone; a bound volume until its claim is.
    done(&cluster, "kubectl delete pvc data-web-0 --wait=false");
    done(
        &cluster,
        "kubectl delete pv $(kubectl get pvc data-web-0 -o jsonpath='{.spec.volumeName}') --wait=false",
    );
    eventually(&cluster, "kubectl get pvc data-web-0", "Terminating");
    eventually(&cluster, "kubectl get pv", "Terminating");
    eventually(
        &cluster,
        "kubectl exec web-0 -- sh -c 'echo kept > /data/x && cat /data/x'",
        "kept",
    );
    done(&cluster, "kubectl scale statefulset web --replicas=0");
    eventually(&cluster, "kubectl get pvc data-web-0", "NotFound");
    eventually(&cluster, "kubectl get pv -o name | wc -l", "1");
}

/// A `local` volume that a person made waits for its node; hostPath and local ones are recycled.
#[test]
fn volumes_that_a_person_made_are_grown_and_recycled() {
    let _turn = Turn::take();
    let cluster = start("recycle");
    let pid = cluster.pid();
    done(&cluster, &format!("nsenter -t {pid} -m mkdir /mnt/local /mnt/host"));
    apply(
        &cluster,
        "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: hand}
provisioner: kubernetes.io/no-provisioner
allowVolumeExpansion: true
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local}
spec:
  storageClassName: hand
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Recycle
  local: {path: /mnt/local}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: Exists}]}]}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: host}
spec:
  storageClassName: other
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Recycle
  hostPath: {path: /mnt/host}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: local}
spec: {storageClassName: hand, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: host}
spec: {storageClassName: other, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    eventually(&cluster, "kubectl get pvc local", "Bound local 1Gi");
    eventually(&cluster, "kubectl get pvc host", "Bound host 1Gi");
    done(
        &cluster,
        r#"kubectl patch pvc local -p '{"spec":{"resources":{"requests":{"storage":"3Gi"}}}}'"#,
    );
    eventually(&cluster, "kubectl get pvc local", "Bound local 3Gi");
    let told = "kubectl describe pvc local";
    eventually(&cluster, told, "Require file system resize of volume on node");
    eventually(&cluster, told, "MountVolume.NodeExpandVolume succeeded for volume \"local\"");
    let fill = "for p in /mnt/local /mnt/host; do mkdir -p $p/a/b && echo x > $p/a/b/c && ln -s /etc $p/out; done";
    done(&cluster, &format!("nsenter -t {pid} -m sh -c '{fill}'"));
    done(&cluster, "kubectl delete pvc local host");
    for volume in ["local", "host"] {
        eventually(&cluster, &format!("kubectl get pv {volume}"), "Recycle Available");
        eventually(&cluster, &format!("kubectl describe pv {volume}"), "VolumeRecycled");
    }
    let left = done(&cluster, &format!("nsenter -t {pid} -m ls -A /mnt/local /mnt/host"));
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["/mnt/host:", "/mnt/local:"]);
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[test]
fn s17_16_claims_go_as_the_policy_says() {
    let _turn = Turn::take();
    let cluster = start("retain");
    apply(&cluster, &set(2, &policy("Delete", "Retain")));
    eventually(&cluster, READY, "2 ready");
    eventually(&cluster, &owners("data-web-0"), "StatefulSet/web=true .");
    done(&cluster, "kubectl delete statefulset web");
    eventually(&cluster, CLAIMS, ".");
    eventually(&cluster, "kubectl get pvc", "No resources found");

    apply(&cluster, &set(3, &policy("Retain", "Delete")));
    eventually(&cluster, READY, "3 ready");
    done(&cluster, "kubectl scale statefulset web --replicas=1");
    eventually(&cluster, CLAIMS, "data-web-0 .");
    // Another controller's claim is left alone, and said to be.
    done(&cluster, "kubectl scale statefulset web --replicas=2");
    eventually(&cluster, READY, "2 ready");
    done(&cluster, "kubectl create configmap boss");
    let boss = "kubectl patch pvc data-web-1 --type=merge -p \
        '{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"boss\",\"uid\":\"'$(kubectl get configmap boss -o jsonpath='{.metadata.uid}')'\",\"controller\":true}]}}'";
    done(&cluster, boss);
    done(&cluster, "kubectl scale statefulset web --replicas=1");
    eventually(&cluster, "kubectl get pods -o name | wc -l", "1");
    eventually(
        &cluster,
        "kubectl get events",
        "PersistentVolumeClaim data-web-1 has a conflicting OwnerReference",
    );
    eventually(&cluster, CLAIMS, "data-web-0 data-web-1 .");
    let free =
        "kubectl patch pvc data-web-1 --type=merge -p '{\"metadata\":{\"ownerReferences\":null}}'";
    done(&cluster, free);
    done(&cluster, "kubectl scale statefulset web --replicas=2");
    eventually(&cluster, READY, "2 ready");
    done(&cluster, "kubectl scale statefulset web --replicas=1");
    eventually(&cluster, CLAIMS, "data-web-0 .");
    // An orphaned pod is adopted, then both policies work.
    done(&cluster, "kubectl delete statefulset web --cascade=orphan");
    apply(&cluster, &set(2, &policy("Delete", "Delete")));
    eventually(&cluster, READY, "2 ready");
    done(&cluster, "kubectl scale statefulset web --replicas=1");
    eventually(&cluster, CLAIMS, "data-web-0 .");
    eventually(&cluster, &owners("data-web-0"), "StatefulSet/web=true .");
    done(&cluster, "kubectl delete statefulset web");
    eventually(&cluster, "kubectl get pvc", "No resources found");
}

#[test]
fn s17_17_other_owners_are_respected() {
    let _turn = Turn::take();
    let cluster = start("owners");
    done(&cluster, "kubectl create configmap friend");
    apply(&cluster, &set(3, &policy("Delete", "Retain")));
    eventually(&cluster, READY, "3 ready");
    for claim in ["data-web-0", "data-web-1", "data-web-2"] {
        eventually(&cluster, &owners(claim), "StatefulSet/web=true .");
    }
    let own = |claim: &str, kind: &str, group: &str, name: &str, uid: &str, controller: &str| {
        format!(
            "kubectl patch pvc {claim} --type=merge -p '{{\"metadata\":{{\"ownerReferences\":[{{\"apiVersion\":\"{group}\",\"kind\":\"{kind}\",\"name\":\"{name}\",\"uid\":\"'{uid}'\"{controller}}}]}}}}'"
        )
    };
    let uid = |what: &str| format!("$(kubectl get {what} -o jsonpath='{{.metadata.uid}}')");
    // An owner that does not control stays beside the set; a flag that is missing is set again.
    let friend = own("data-web-0", "ConfigMap", "v1", "friend", &uid("configmap friend"), "");
    done(&cluster, &friend);
    eventually(&cluster, &owners("data-web-0"), "ConfigMap/friend= StatefulSet/web=true .");
    let plain = own("data-web-1", "StatefulSet", "apps/v1", "web", &uid("statefulset web"), "");
    done(&cluster, &plain);
    eventually(&cluster, &owners("data-web-1"), "StatefulSet/web=true .");
    done(&cluster, "kubectl delete statefulset web");
    eventually(&cluster, CLAIMS, "data-web-0 .");
    eventually(&cluster, &owners("data-web-0"), "ConfigMap/friend= .");
    done(&cluster, "kubectl delete configmap friend");
    eventually(&cluster, "kubectl get pvc", "No resources found");
}

#[test]
fn s17_18_a_claim_lost_while_its_pod_is_pending_is_made_again() {
    let _turn = Turn::take();
    let cluster = start("pending");
    done(&cluster, "kubectl cordon $(kubectl get nodes -o name)");
    apply(&cluster, &set(1, ""));
    eventually(&cluster, "kubectl get pvc data-web-0", "Pending");
    eventually(&cluster, "kubectl get pod web-0", "Pending");
    let uid = "kubectl get pvc data-web-0 -o jsonpath='{.metadata.uid}'";
    let first = done(&cluster, uid);
    // It waits for the end of the claim; that of its successor would never come.
    done(&cluster, "kubectl delete pvc data-web-0 --timeout=60s");
    eventually(&cluster, "kubectl get pvc data-web-0", "Pending");
    assert_ne!(done(&cluster, uid), first);
    done(&cluster, "kubectl uncordon $(kubectl get nodes -o name)");
    eventually(&cluster, READY, "1 ready");
}

#[test]
fn a_quota_stops_a_set_half_way_and_lets_it_go_on() {
    let _turn = Turn::take();
    let cluster = start("quota");
    done(&cluster, "kubectl create quota small --hard=pods=2,requests.storage=10Gi");
    apply(&cluster, &set(3, ""));
    eventually(&cluster, READY, "2 ready");
    let wanted = "exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
    eventually(&cluster, "kubectl get events", wanted);
    eventually(
        &cluster,
        "kubectl get quota",
        "NAME REQUEST LIMIT AGE small pods: 2/2, requests.storage: 3Gi/10Gi",
    );
    eventually(
        &cluster,
        "kubectl describe quota small",
        "Resource Used Hard -------- ---- ---- pods 2 2",
    );
    // A claim cannot grow beyond it.
    refused(
        &cluster,
        r#"kubectl patch pvc data-web-0 -p '{"spec":{"resources":{"requests":{"storage":"9Gi"}}}}'"#,
        "exceeded quota: small, requested: requests.storage=8Gi, used: requests.storage=3Gi, limited: requests.storage=10Gi",
    );
    done(&cluster, r#"kubectl patch quota small -p '{"spec":{"hard":{"pods":"3"}}}'"#);
    eventually(&cluster, READY, "3 ready");
    eventually(&cluster, "kubectl get quota small", "pods: 3/3");
    refused(
        &cluster,
        "kubectl run one --image=busybox:1.28.4",
        "pods \"one\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3",
    );
    // Who waits behind another's pods goes on when those go.
    done(&cluster, "kubectl scale statefulset web --replicas=1");
    eventually(&cluster, "kubectl get quota small", "pods: 1/3");
    done(&cluster, "kubectl run one --image=busybox:1.28.4 -- sleep 1000000");
    done(&cluster, "kubectl scale statefulset web --replicas=3");
    eventually(&cluster, READY, "2 ready");
    done(&cluster, "kubectl delete pod one --grace-period=0 --force");
    eventually(&cluster, READY, "3 ready");
    // What containers do not name, a limit range says.
    done(&cluster, "kubectl create quota compute --hard=limits.cpu=1");
    refused(&cluster, "kubectl run two --image=busybox:1.28.4", "must specify limits.cpu for: two");
    apply(
        &cluster,
        "
apiVersion: v1
kind: LimitRange
metadata: {name: usual}
spec: {limits: [{type: Container, default: {cpu: 2}}]}
",
    );
    refused(
        &cluster,
        "kubectl run two --image=busybox:1.28.4",
        "exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=0, limited: limits.cpu=1",
    );
}
