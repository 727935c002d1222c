//! `stead controller` as a process of its own, over HTTPS, under the rights of `deploy/rbac.yaml`,
//! against a cluster whose own StatefulSet controller is off.

#![expect(clippy::disallowed_methods, reason = "a person's view is made of programs and time")]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::cluster::{Cluster, Turn, binary, root, text};

/// Longest wait for anything; a lease runs out in 15 s.
const WAIT_MAX: Duration = Duration::from_secs(90);

const SET: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  serviceName: web
  replicas: 2
  selector:
    matchLabels: {app: web}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Delete}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox:1.28.4
        imagePullPolicy: IfNotPresent
        command: [sleep, "100000"]
        volumeMounts:
        - {name: data, mountPath: /data}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Mi}}
"#;

const POLICY: &str = r#"
apiVersion: stead.io/v1alpha1
kind: StatefulSetPolicy
metadata:
  name: web
spec:
  statefulSetName: web
  ordinals:
    reserved: ["1"]
    claims: Delete
"#;

/// A controller, ended when dropped.
struct Controller {
    child: Child,
    log: PathBuf,
}

impl Controller {
    /// Starts one; returns once it has printed this.
    fn start(cluster: &Cluster, name: &str, flags: &str, until: &str) -> Self {
        let log = cluster.folder.path().join(format!("{name}.log"));
        let out = File::create(&log).unwrap();
        let line = format!(
            "exec {} controller --kubeconfig {} --health-bind-address 127.0.0.1:0 {flags}",
            binary().display(),
            cluster.folder.path().join("controller.kubeconfig").display(),
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let controller = Self { child: command.spawn().unwrap(), log };
        controller.until(until, |log| log.contains(until));
        controller
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn until(&self, what: &str, done: impl Fn(&str) -> bool) {
        until(what, || done(&self.log()), || self.log());
    }

    /// What a path of its health port answers.
    fn ask(&self, cluster: &Cluster, path: &str) -> String {
        let log = self.log();
        let url = log.lines().find_map(|line| line.split_once("metrics on ")).unwrap().1;
        let program = "import sys, urllib.request, urllib.error
try: print(urllib.request.urlopen(sys.argv[1]).read().decode())
except urllib.error.HTTPError as error: print(error.code, error.read().decode())";
        text(&cluster.sh(&format!("python3 -c '{program}' {url}{path}")))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn until(what: &str, done: impl Fn() -> bool, said: impl Fn() -> String) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < WAIT_MAX, "never: {what}\n{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A line of shell that must succeed; what it prints.
fn run(cluster: &Cluster, line: &str) -> String {
    let output = cluster.sh(line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    text(&output)
}

/// Gives the controller its account in this namespace, with the rights of the manifest and no others.
fn admit(cluster: &Cluster, manifest: &str, namespace: &str) {
    let folder = cluster.folder.path();
    fs::write(folder.join("web.yaml"), SET).unwrap();
    run(cluster, &format!("kubectl apply -f {}", root().join(manifest).display()));
    let line = format!(
        "set -e
token=$(kubectl create token stead-statefulset-controller -n {namespace} --duration 1h)
cp $KUBECONFIG ~/controller.kubeconfig
export KUBECONFIG=~/controller.kubeconfig
user=$(kubectl config view -o jsonpath='{{.users[0].name}}')
kubectl config unset users
kubectl config set-credentials $user --token=$token"
    );
    run(cluster, &line);
}

fn set_is(cluster: &Cluster, wanted: &str) {
    let status = "kubectl get sts web -o jsonpath='{.status.readyReplicas}/{.status.replicas} {.status.updatedReplicas}'";
    let found = || text(&cluster.sh(status));
    until(
        wanted,
        || found() == wanted,
        || found() + &text(&cluster.sh("kubectl get pods,pvc,events")),
    );
}

#[test]
fn a_set_lives_under_a_controller_of_its_own() {
    let _turn = Turn::take();
    let cluster = Cluster::start("controller", &["--controllers='*,-statefulset'"]);
    cluster.import(&["busybox.tar"]);
    admit(&cluster, "deploy/rbac.yaml", "kube-system");
    run(&cluster, "kubectl apply -f ~/web.yaml");
    assert_eq!(run(&cluster, "kubectl get pods -o name"), "", "its own controller is off");

    let mut controller = Controller::start(&cluster, "one", "", "works, against");
    set_is(&cluster, "2/2 2");
    assert_eq!(controller.ask(&cluster, "/healthz").trim(), "ok");
    assert_eq!(controller.ask(&cluster, "/readyz").trim(), "ok");
    let metrics = controller.ask(&cluster, "/metrics");
    assert!(metrics.contains("workqueue_adds_total{name=\"statefulset\"} "), "{metrics}");
    run(&cluster, "kubectl scale sts web --replicas 3");
    set_is(&cluster, "3/3 3");
    run(&cluster, "kubectl set env sts web a=b");
    run(&cluster, "kubectl rollout status sts web --timeout 90s");
    set_is(&cluster, "3/3 3");
    run(&cluster, "kubectl scale sts web --replicas 1");
    set_is(&cluster, "1/1 1");
    let claims = || text(&cluster.sh("kubectl get pvc -o name"));
    until("whenScaled: Delete", || claims() == "persistentvolumeclaim/data-web-0\n", claims);
    // Orphaned pods are adopted by the set's next life.
    run(&cluster, "kubectl delete sts web --cascade=orphan");
    let uid = "kubectl get pod web-0 -o jsonpath='{.metadata.uid}'";
    let before = run(&cluster, uid);
    // Its template is there at once: one that comes a moment later may find the pod replaced.
    run(&cluster, "kubectl set env --local -f ~/web.yaml a=b -o yaml | kubectl apply -f -");
    set_is(&cluster, "2/2 2");
    assert_eq!(run(&cluster, uid), before);
    policies_hold(&cluster);
    assert!(!controller.log().contains("forbidden"), "{}", controller.log());
    controller.signal("-TERM");
    assert!(controller.child.wait().unwrap().success(), "{}", controller.log());
    assert!(controller.log().contains("stead controller has ended"), "{}", controller.log());

    rights_that_are_missing_are_named(&cluster);
}

/// The rights for what policies ask: their status, and the claims of reserved ordinals.
fn policies_hold(cluster: &Cluster) {
    fs::write(cluster.folder.path().join("policy.yaml"), POLICY).unwrap();
    run(cluster, "kubectl apply -f ~/policy.yaml");
    run(cluster, "kubectl wait --for=condition=Accepted stsp web --timeout=60s");
    let found = || text(&cluster.sh("kubectl get pods,pvc -o name"));
    let wanted = "pod/web-0\npod/web-2\npersistentvolumeclaim/data-web-0\npersistentvolumeclaim/data-web-2\n";
    until("1 is left out", || found() == wanted, found);
    run(cluster, "kubectl delete stsp web");
    set_is(cluster, "2/2 2");
}

fn rights_that_are_missing_are_named(cluster: &Cluster) {
    run(cluster, "kubectl delete clusterrolebinding stead:statefulset-controller");
    run(cluster, "kubectl scale sts web --replicas 1");
    let controller = Controller::start(cluster, "bare", "", "works, against");
    let line = "pods is forbidden: User \"system:serviceaccount:kube-system:stead-statefulset-controller\" \
                cannot list resource \"pods\" in API group \"\" at the cluster scope";
    let said = |log: &str| log.replace('\\', "").contains(line);
    controller.until("it says what it may not", said);
    let ready = controller.ask(cluster, "/readyz");
    assert!(ready.contains("[-]pods failed") && ready.starts_with("500"), "{ready}");
    assert_eq!(controller.ask(cluster, "/healthz").trim(), "ok");
    run(cluster, &format!("kubectl apply -f {}", root().join("deploy/rbac.yaml").display()));
    set_is(cluster, "1/1 1");
}

#[test]
fn a_dead_leader_is_followed_and_nothing_is_done_twice() {
    let _turn = Turn::take();
    let cluster = Cluster::start("leaders", &["--controllers='*,-statefulset'"]);
    cluster.import(&["busybox.tar"]);
    admit(&cluster, "deploy/rbac.yaml", "kube-system");
    let one = Controller::start(&cluster, "one", "--leader-elect", "works, against");
    let two = Controller::start(&cluster, "two", "--leader-elect", "another process leads");
    assert!(
        two.ask(&cluster, "/metrics")
            .contains("leader_election_master_status{name=\"stead-statefulset-controller\"} 0")
    );
    assert_eq!(two.ask(&cluster, "/readyz").trim(), "ok", "who waits is ready to take over");
    run(&cluster, "kubectl apply -f ~/web.yaml");
    run(&cluster, "kubectl scale sts web --replicas 4");
    // In the middle of the set's creation.
    until(
        "a first pod",
        || text(&cluster.sh("kubectl get pods -o name")).contains("web-0"),
        || one.log(),
    );
    one.signal("-KILL");
    assert!(!one.ended().success());
    assert!(!two.log().contains("works, against"), "a lease is waited for");
    two.until("the other takes over", |log| log.contains("works, against"));
    set_is(&cluster, "4/4 4");
    let told = run(
        &cluster,
        "kubectl get events --field-selector reason=SuccessfulCreate -o jsonpath='{range .items[*]}{.count} {.message}{\"\\n\"}{end}'",
    );
    let mut pods: Vec<&str> = told.lines().filter(|line| line.contains(" Create Pod ")).collect();
    pods.sort_unstable();
    // Of what one did last, the event may have died with it.
    let all: Vec<String> =
        (0..4).map(|n| format!("1 Create Pod web-{n} in StatefulSet web successful")).collect();
    assert!(pods.iter().all(|line| all.iter().any(|one| one == line)), "{told}");
    pods.dedup();
    assert!(pods.len() >= 3, "{told}");
    two.signal("-TERM");
    let log = two.log.clone();
    assert!(two.ended().success(), "{}", fs::read_to_string(log).unwrap());
    let lease = "kubectl get lease -n kube-system stead-statefulset-controller -o jsonpath='{.spec.holderIdentity}/{.spec.leaseTransitions}'";
    assert_eq!(run(&cluster, lease), "/1", "it was given back");
}

#[test]
fn a_role_in_one_namespace_is_enough() {
    let _turn = Turn::take();
    let cluster = Cluster::start("namespaced", &["--controllers='*,-statefulset'"]);
    cluster.import(&["busybox.tar"]);
    run(&cluster, "kubectl create namespace shop");
    admit(&cluster, "deploy/namespaced-rbac.yaml", "shop");
    run(&cluster, "kubectl apply -f ~/web.yaml");
    run(&cluster, "kubectl config set-context --current --namespace shop");
    run(&cluster, "kubectl apply -f ~/web.yaml");
    let flags = "--namespace shop --leader-elect";
    let controller = Controller::start(&cluster, "one", flags, "works, against");
    set_is(&cluster, "2/2 2");
    policies_hold(&cluster);
    assert_eq!(controller.ask(&cluster, "/readyz").trim(), "ok");
    run(&cluster, "kubectl delete sts web --cascade=orphan");
    run(&cluster, "kubectl apply -f ~/web.yaml");
    set_is(&cluster, "2/2 2");
    assert_eq!(run(&cluster, "kubectl get pods -n default -o name"), "", "it is not its namespace");
    let lease = "kubectl get lease -n shop stead-statefulset-controller -o jsonpath='{.spec.holderIdentity}'";
    assert_ne!(run(&cluster, lease), "");
    controller.signal("-TERM");
    let log = controller.log.clone();
    let ended = controller.ended();
    let log = fs::read_to_string(log).unwrap();
    assert!(ended.success(), "{log}");
    assert_eq!(run(&cluster, lease), "", "it was given back");
    assert!(!log.contains("forbidden") && !log.contains("WARN"), "{log}");
}
