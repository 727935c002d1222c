//! A pod without a node: gates, claims, and each node's reason against it.

use std::{collections::BTreeMap, sync::Arc};

use api::k8s::api::core::v1::Pod;
use scheduler::{Cluster, Storage, Verdict, View, claim_names};

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    pod::{condition, is_stuck},
    snapshot::{Part, created_at, name_of},
};

/// A scheduler takes a new pod within seconds.
const SILENCE_S: i64 = 20;
/// Nodes that are named one by one.
const NODES_SHOWN: usize = 5;

impl Case<'_> {
    /// Why it has no node.
    pub(crate) fn unplaced(&self, pod: &Pod) -> Finding {
        let spec = pod.spec.clone().unwrap_or_default();
        let gates: Vec<String> =
            spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect();
        if !gates.is_empty() {
            let why = format!("its scheduling gates hold it back: {}", gates.join(", "));
            let cure =
                format!("whoever put the gate there must take it off, or: {}", self.edit(pod));
            let since = created_at(&pod.metadata);
            return Cause::new(Reason::SchedulingGated, why, cure).since(since).stuck();
        }
        let claims = claim_names(pod);
        let findings = claims.iter().filter_map(|name| Some((name, self.claim_of(pod, name)?)));
        let stuck = findings.into_iter().find(|(_, finding)| is_stuck(Some(finding)));
        if let Some((name, finding)) = stuck {
            return finding.through("pvc", name);
        }
        let placed = condition(pod, "PodScheduled").filter(|placed| placed.status == "False");
        let Some(placed) = placed else { return self.scheduler_silent(pod) };
        let since = placed.last_transition_time.as_ref().map(|time| time.0);
        let message = placed.message.clone().unwrap_or_default();
        let nodes = self.nodes_against(pod);
        let brief = message.split(" no new claims to deallocate").next().unwrap_or(&message);
        let brief =
            brief.split(" preemption: ").next().unwrap_or(brief).trim_end_matches(". not found");
        let why = match &nodes {
            Some(nodes) if !nodes.is_empty() => {
                let each = nodes
                    .iter()
                    .take(NODES_SHOWN)
                    .map(|(node, reasons)| format!("{node}: {}", reasons.join(", ")));
                let rest = nodes.len().saturating_sub(NODES_SHOWN);
                let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
                format!("no node will do: {}{rest}", each.collect::<Vec<_>>().join("; "))
            }
            _ => format!("no node will do: {}", brief.trim_end_matches('.')),
        };
        let cure = self.cure_placement(pod, &format!("{message} {why}"));
        let mut cause = Cause::new(Reason::Unschedulable, why, cure).since(since);
        cause.wants_all_pods = true;
        cause.stuck()
    }

    fn scheduler_silent(&self, pod: &Pod) -> Finding {
        let since = created_at(&pod.metadata);
        let spec = pod.spec.as_ref();
        let name = spec.and_then(|s| s.scheduler_name.as_deref()).unwrap_or("default-scheduler");
        if self.age_s(since) <= SILENCE_S {
            let why = "it has no node yet";
            let cause =
                Cause::new(Reason::Starting, why, "none needed: ask again in a few seconds");
            return cause.since(since).waiting();
        }
        let why = format!("no scheduler named {name:?} has looked at it");
        let cure = match name {
            "default-scheduler" => {
                "start the cluster's scheduler: `stead up`, or kube-scheduler".to_owned()
            }
            _ => format!("start it, or take schedulerName out: {}", self.edit(pod)),
        };
        Cause::new(Reason::SchedulerSilent, why, cure).since(since).stuck()
    }

    /// Each node's reasons, asked of the scheduler's own rules; `None` where they would guess.
    fn nodes_against(&self, pod: &Pod) -> Option<BTreeMap<String, Vec<String>>> {
        let parts =
            [Part::Nodes, Part::Pods, Part::Claims, Part::Volumes, Part::Classes, Part::Elsewhere];
        if !parts.into_iter().all(|part| self.seen.knows(part)) {
            return None;
        }
        let mut cluster = Cluster::default();
        for node in &self.seen.nodes {
            cluster.put_node(Arc::clone(node));
        }
        for other in self.seen.pods.iter().chain(&self.seen.elsewhere) {
            cluster.put_pod(other);
        }
        let mut storage = Storage::default();
        for name in claim_names(pod) {
            let Some(claim) = self.seen.claim(&name) else { continue };
            storage.claims.insert(name, Arc::clone(claim));
        }
        for volume in &self.seen.volumes {
            storage.bound.insert(name_of(&volume.metadata).to_owned(), Arc::clone(volume));
        }
        storage.available = self.seen.volumes.clone();
        for class in &self.seen.classes {
            storage.classes.insert(name_of(&class.metadata).to_owned(), Arc::clone(class));
        }
        match scheduler::schedule(&View { pod, cluster: &cluster, storage: &storage }) {
            Verdict::Refused(refusal) => Some(refusal.nodes),
            // The snapshot shows room that the scheduler has not tried yet.
            _ => None,
        }
    }

    /// What ends the first reason that a person can end.
    fn cure_placement(&self, pod: &Pod, said: &str) -> String {
        let edit = self.edit(pod);
        let has = |words: &str| said.contains(words);
        let node = |when: &dyn Fn(&api::k8s::api::core::v1::Node) -> bool| {
            let found = self.seen.nodes.iter().find(|node| when(node));
            found.map_or_else(|| "NODE".to_owned(), |node| name_of(&node.metadata).to_owned())
        };
        if has("no nodes available") {
            return "let a node join the cluster: `stead up`".to_owned();
        }
        if has("were unschedulable") {
            let cordoned =
                node(&|n| n.spec.as_ref().is_some_and(|s| s.unschedulable == Some(true)));
            return format!("kubectl uncordon {cordoned}");
        }
        if has("Insufficient") || has("Too many pods") {
            let asks = asks_for(pod);
            return format!(
                "ask for less (it asks for {asks}): {edit}; or add a node with that much room"
            );
        }
        if has("node affinity/selector") || has("[NodeAffinity]") {
            let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.clone());
            let wanted =
                selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
            let wanted = wanted.collect::<Vec<_>>().join(" ");
            let first = node(&|_| true);
            return match wanted.is_empty() {
                true => format!("change its nodeAffinity: {edit}; or label a node as it wants"),
                false => format!(
                    "kubectl label node {first} {wanted}; or change its nodeSelector: {edit}"
                ),
            };
        }
        if has("untolerated taint") || has("had taint") {
            let tainted = self.seen.nodes.iter().find_map(|node| {
                let taint = node.spec.as_ref()?.taints.as_ref()?.first()?;
                Some((name_of(&node.metadata), taint))
            });
            return match tainted {
                Some((node, taint)) => format!(
                    "kubectl taint node {node} {}:{}-; or tolerate it: {edit}",
                    taint.key, taint.effect
                ),
                None => format!("take the taint off a node, or tolerate it: {edit}"),
            };
        }
        cure_company(said, &edit)
    }
}

/// What ends a reason that has to do with other pods or volumes.
fn cure_company(said: &str, edit: &str) -> String {
    let has = |words: &str| said.contains(words);
    if has("anti-affinity") {
        return format!("add a node: its anti-affinity wants one for itself; or relax it: {edit}");
    }
    if has("pod affinity") {
        return format!("start the pods that it wants to be with, or change its affinity: {edit}");
    }
    if has("topology spread") {
        return format!(
            "add a node in the domain that lacks pods, or relax its spread constraints: {edit}"
        );
    }
    if has("free ports") {
        return format!("end what has the port on the node, or change hostPort: {edit}");
    }
    if has("PersistentVolume's node affinity") || has("volume node affinity") {
        return "make room on the node that has its volume (kubectl get pv -o wide), for there \
                is its data"
            .to_owned();
    }
    if has("persistent volumes to bind") {
        return "make a PersistentVolume that fits its claim on a node that fits the pod"
            .to_owned();
    }
    format!("mend what the message names: {edit}")
}

/// `cpu 4, memory 1Gi`: the sum is the scheduler's business; a person edits the parts.
fn asks_for(pod: &Pod) -> String {
    let spec = pod.spec.iter();
    let lists = spec.flat_map(|spec| &spec.containers).filter_map(|container| {
        container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
    });
    let asked = lists.flatten().map(|(name, amount)| format!("{name} {}", amount.0));
    let asked = asked.collect::<Vec<_>>().join(", ");
    if asked.is_empty() { "nothing".to_owned() } else { asked }
}
