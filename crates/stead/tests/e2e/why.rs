//! `stead why` on a real cluster: things break in many ways, and each is told with its cure; the
//! cures work. `stead rollout` goes back to what worked.

#![expect(clippy::disallowed_methods, reason = "an answer is asked for until it is the final one")]
#![expect(clippy::print_stderr, reason = "a test tells what it does")]

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Cluster, Turn, text},
    pattern,
};

/// How long a breakage may take until everybody has said what they have to say.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A set of busybox pods, and its Service.
fn set(name: &str, replicas: u32, service: &str, pod: &str, claims: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  serviceName: {service}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: main, {pod}}}
{claims}---
"
    )
}

fn claim(class: &str, size: &str) -> String {
    format!(
        "  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: {size}}}}}}}
"
    )
}

const SLEEPS: &str = "image: busybox:1.28.4, command: [sleep, '3600']";
const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: known}
spec: {clusterIP: None, selector: {app: fine}}
---
apiVersion: v1
kind: Service
metadata: {name: typo}
spec: {selector: {app: fien}, ports: [{port: 80}]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: byhand}
provisioner: kubernetes.io/no-provisioner
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: small}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: byhand, hostPath: {path: /mnt}}
---
apiVersion: v1
kind: Pod
metadata: {name: squat-0, finalizers: [example.com/keep]}
spec: {containers: [{name: main, image: busybox:1.28.4, command: [sleep, '3600']}], terminationGracePeriodSeconds: 0}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: early}
spec: {accessModes: [ReadWriteOnce], storageClassName: local-path, resources: {requests: {storage: 1Gi}}}
---
";

fn broken_world() -> String {
    let mut world = SERVICES.to_owned();
    let with = |fields: &str| format!("{SLEEPS}, {fields}");
    let nothing = "\"\"";
    world += &set("squat", 1, nothing, SLEEPS, "");
    world += &set("fine", 1, "known", SLEEPS, "");
    world += &set("nodns", 1, "nowhere", SLEEPS, "");
    world += &set("image", 3, nothing, "image: '127.0.0.1:1/nope:1'", "");
    world += &set(
        "crash",
        1,
        nothing,
        "image: busybox:1.28.4, command: [sh, -c, 'echo no database in /data; exit 3']",
        "",
    );
    let probe = "readinessProbe: {exec: {command: [cat, /ready]}, periodSeconds: 1}";
    world += &set("probe", 1, nothing, &with(probe), "");
    world += &set("large", 1, nothing, &with("resources: {requests: {cpu: '500'}}"), "");
    world += &set("class", 1, nothing, SLEEPS, &claim("fast", "1Gi"));
    world += &set("volume", 1, nothing, SLEEPS, &claim("byhand", "10Gi"));
    let settings = "envFrom: [{configMapRef: {name: settings}}]";
    world + &set("config", 1, nothing, &with(settings), "")
}

/// What is asked, and the answer.
const ANSWERS: &[(&str, &str)] = &[
    ("sts/fine", "statefulset/fine: nothing is wrong: 1 of 1 pods are ready"),
    (
        "sts/nodns",
        "statefulset/nodns works: 1 of 1 pods are ready
why: service/nowhere: the set's Service does not exist; its pods run, but names such as nodns-0.nowhere do not resolve (since [..])
cure: kubectl create service clusterip nowhere --clusterip=None, then kubectl set selector service nowhere app=nodns",
    ),
    (
        "statefulset image",
        "statefulset/image is stuck: 0 of 3 pods are ready, it waits until pod image-0 is healthy
why: pod/image-0 > container/main > image/127.0.0.1:1/nope:1: [..]refused[..] (since [..])
cure: make the registry reachable from the node[..]kubectl set image statefulset/image main=IMAGE; after an edit of the set also: kubectl delete pod image-0[..]",
    ),
    (
        "pod/image-2",
        "pod/image-2 is stuck: it does not exist, and statefulset/image wants it
why: statefulset/image > pod/image-0 > container/main > image/127.0.0.1:1/nope:1: [..]; image-2 is made only after image-0 is ready (since [..])
cure: [..]",
    ),
    (
        "sts/crash",
        "statefulset/crash is stuck: 0 of 1 pods are ready, it waits until pod crash-0 is healthy
why: pod/crash-0 > container/main: its program ended with exit code 3[..]; its last lines: \"no database in /data\" (since [..])
cure: mend what its log says (kubectl logs crash-0 -c main[..]): kubectl edit statefulset crash; after an edit of the set also: kubectl delete pod crash-0[..]",
    ),
    (
        "sts/probe",
        "statefulset/probe is stuck: 0 of 1 pods are ready, it waits until pod probe-0 is healthy
why: pod/probe-0 > container/main > probe/readinessProbe: its readinessProbe (exec cat /ready) fails; the last answer: cat: can't open '/ready': No such file or directory (since [..])
cure: mend what the program answers[..]",
    ),
    (
        "sts/large",
        "statefulset/large is stuck: 0 of 1 pods are ready, it waits until pod large-0 is healthy
why: pod/large-0: no node will do: [..]: Insufficient cpu (since [..])
cure: ask for less (it asks for cpu 500): kubectl edit statefulset large; or add a node with that much room[..]",
    ),
    (
        "sts/class",
        "statefulset/class is stuck: 0 of 1 pods are ready, it waits until pod class-0 is healthy
why: pod/class-0 > pvc/data-class-0 > storageclass/fast: there is no such class (there are: [..]), and no volume has that class (since [..])
cure: make a StorageClass \"fast\"; or with another class in volumeClaimTemplates: [..]",
    ),
    (
        "pvc/data-volume-0",
        "pvc/data-volume-0 is stuck: it is Pending
why: storageclass/byhand: no volume fits 10Gi, ReadWriteOnce, class \"byhand\": small has only 1Gi[..] (since [..])
cure: make a PersistentVolume with 10Gi, ReadWriteOnce, class \"byhand\"; or [..]",
    ),
    (
        "sts/config",
        "statefulset/config is stuck: 0 of 1 pods are ready, it waits until pod config-0 is healthy
why: pod/config-0 > container/main > configmap/settings: configmap \"settings\" not found (since [..])
cure: kubectl create configmap settings --from-literal=KEY=VALUE[..]",
    ),
    (
        "sts/squat",
        "statefulset/squat is stuck: 0 of 1 pods are ready, it waits until pod squat-0 is gone
why: pod/squat-0: another pod has the name that the set needs: it belongs to nobody[..] (since [..])
cure: kubectl delete pod squat-0, or [..]",
    ),
    (
        "svc/typo",
        "service/typo is stuck: it has no endpoints
why: its selector app=fien matches no pod; near it are pods with [..] (since [..])
cure: kubectl set selector service typo app=[..]",
    ),
    (
        "pvc early",
        "pvc/early goes on by itself: it is Pending
why: its class waits until a pod uses the claim (WaitForFirstConsumer) (since [..])
cure: none needed: a pod that uses it gets it bound",
    ),
];

/// Asks until the answer is this.
fn expect(cluster: &Cluster, subject: &str, wanted: &str) {
    let wanted: Vec<String> = wanted.lines().map(str::to_owned).collect();
    let started = Instant::now();
    loop {
        let answer = cluster.stead(&format!("why {subject}"));
        match pattern::check(&wanted, &text(&answer)) {
            Ok(()) => return eprintln!("$ stead why {subject}\n{}", text(&answer)),
            Err(_) if started.elapsed() < ANSWER_MAX => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(wrong) => panic!("stead why {subject}\n{wrong}"),
        }
    }
}

fn must(cluster: &Cluster, line: &str) -> String {
    let done = cluster.sh(line);
    assert!(done.status.success(), "{line}: {}", text(&done));
    text(&done)
}

fn apply(cluster: &Cluster, manifest: &str) {
    let file = cluster.folder.path().join("manifest.yaml");
    fs::write(&file, manifest).unwrap();
    must(cluster, &format!("kubectl apply -f {}", file.display()));
}

#[test]
fn each_breakage_is_told_with_its_cure() {
    let _turn = Turn::take();
    let cluster = Cluster::start("why", &[]);
    cluster.import(&["busybox.tar"]);
    apply(&cluster, &broken_world());
    for (subject, wanted) in ANSWERS {
        expect(&cluster, subject, wanted);
    }
    let json = text(&cluster.stead("why sts/class -o json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json["reason"].as_str(), json["healthy"].as_bool()),
        (Some("ClassMissing"), Some(false))
    );
    let missing = cluster.stead("why sts/nobody");
    assert!(!missing.status.success(), "{}", text(&missing));

    // The cures, as they were printed.
    must(&cluster, "kubectl create configmap settings --from-literal=KEY=VALUE");
    expect(&cluster, "sts/config", "statefulset/config: nothing is wrong: 1 of 1 pods are ready");
    must(&cluster, "kubectl set selector service typo app=fine");
    expect(
        &cluster,
        "svc/typo",
        "service/typo: nothing is wrong: 1 of 1 pods behind it are ready[..]",
    );
    must(&cluster, "kubectl set image statefulset/image main=busybox:1.28.4");
    expect(
        &cluster,
        "sts/image",
        "statefulset/image is stuck: 0 of 3 pods are ready, it waits until pod image-0 is healthy
why: pod/image-0 > container/main > image/127.0.0.1:1/nope:1: [..]; the set's template has changed since, but an OrderedReady set does not replace a broken pod by itself (since [..])
cure: kubectl delete pod image-0, which comes back with the new template [..]",
    );
    must(&cluster, "kubectl delete pod squat-0 --wait=false");
    expect(
        &cluster,
        "pod/squat-0",
        "pod/squat-0 is stuck: it is being deleted
why: it was deleted, and example.com/keep holds it: whoever put this finalizer there has not let go (since [..])
cure: start what owns the finalizer; if that is gone for good: kubectl patch pod squat-0 [..]",
    );
    must(
        &cluster,
        r#"kubectl patch pod squat-0 --type=merge -p '{"metadata":{"finalizers":null}}'"#,
    );
    expect(&cluster, "sts/squat", "statefulset/squat: nothing is wrong: 1 of 1 pods are ready");
}

#[test]
fn what_may_not_be_read_is_said() {
    let _turn = Turn::take();
    let cluster = Cluster::start("why-rights", &[]);
    cluster.import(&["busybox.tar"]);
    let nothing = "\"\"";
    apply(
        &cluster,
        &set(
            "large",
            1,
            nothing,
            &format!("{SLEEPS}, resources: {{requests: {{cpu: '500'}}}}"),
            "",
        ),
    );
    must(&cluster, "kubectl create serviceaccount asker");
    must(&cluster, "kubectl create role asks --verb=get,list --resource=statefulsets.apps,pods");
    must(&cluster, "kubectl create rolebinding asks --role=asks --serviceaccount=default:asker");
    must(
        &cluster,
        "cp $KUBECONFIG $HOME/asker && export KUBECONFIG=$HOME/asker \
         && kubectl config set-credentials asker --token=$(kubectl create token asker) \
         && kubectl config set-context asker --cluster=$(kubectl config view -o jsonpath='{.clusters[0].name}') --user=asker",
    );
    let ask = format!(
        "{} why sts/large --kubeconfig $HOME/asker --context asker",
        crate::cluster::binary().display()
    );
    let started = Instant::now();
    loop {
        let answer = text(&cluster.sh(&ask));
        let stuck = answer.contains("no node will do: 0/1 nodes are available: 1 Insufficient cpu");
        if stuck && answer.contains("note: nodes not read: nodes is forbidden") {
            break;
        }
        assert!(started.elapsed() < ANSWER_MAX, "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_rollout_goes_back_to_what_worked() {
    let _turn = Turn::take();
    let cluster = Cluster::start("rollout", &[]);
    cluster.import(&["busybox.tar"]);
    apply(&cluster, &set("web", 2, "\"\"", SLEEPS, ""));
    let stead = |verb: &str| {
        let done = cluster.stead(&format!("rollout {verb}"));
        eprintln!("$ stead rollout {verb}\n{}", text(&done));
        (done.status.success(), text(&done))
    };
    let (done, said) = stead("status sts/web --timeout 60");
    assert!(
        done && said.contains("statefulset rolling update complete 2 pods at revision web-"),
        "{said}"
    );
    must(&cluster, "kubectl set image sts/web main=127.0.0.1:1/bad:1");
    let (done, said) = stead("status sts/web --timeout 5");
    assert!(!done && said.contains("timed out waiting for the condition"), "{said}");
    assert!(said.contains("statefulset/web is stuck") && said.contains("cure: "), "{said}");
    must(&cluster, "kubectl set image sts/web main=127.0.0.1:1/worse:1");
    let (_, history) = stead("history sts/web");
    assert!(
        history.contains("\n1         old ") && history.contains("\n3         new "),
        "{history}"
    );
    // Two bad templates after each other: kubectl would go back to the first of them.
    let (done, said) = stead("undo sts/web");
    assert!(done && said.starts_with("statefulset.apps/web rolled back"), "{said}");
    let image = must(
        &cluster,
        "kubectl get sts web -o jsonpath='{.spec.template.spec.containers[0].image}'",
    );
    assert_eq!(image, "busybox:1.28.4");
    must(&cluster, "kubectl delete pod web-1 --wait=false");
    let (done, said) = stead("status sts/web --timeout 60");
    assert!(done, "{said}");

    let (done, said) = stead("pause sts/web");
    assert!(done && said == "statefulset.apps/web paused\n", "{said}");
    let (done, said) = stead("pause sts/web");
    assert!(!done && said.contains("statefulsets.apps \"web\" is already paused"), "{said}");
    let paused = must(
        &cluster,
        "kubectl get statefulsetpolicy web -o jsonpath='{.spec.statefulSetName} {.spec.paused}'",
    );
    assert_eq!(paused, "web true");
    let (done, said) = stead("undo sts/web");
    assert!(!done && said.contains("you cannot rollback a paused statefulset"), "{said}");
    let (done, said) = stead("resume sts/web");
    assert!(done && said == "statefulset.apps/web resumed\n", "{said}");
    let (done, said) = stead("return sts/web");
    assert!(!done && said.contains("is not in a rollout"), "{said}");
    let (done, said) = stead("restart sts/web");
    assert!(done && said == "statefulset.apps/web restarted\n", "{said}");
    let (done, said) = stead("status sts/web --timeout 60");
    assert!(done, "{said}");
}
