//! What a cluster holds, a line a thing: nodes, sets, claims, volumes, quotas.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    quantity::Quantity,
    requests::{self, Amounts},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// What was read of a cluster.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
    pub(super) sets: Vec<StatefulSet>,
    pub(super) claims: Vec<PersistentVolumeClaim>,
    pub(super) volumes: Vec<PersistentVolume>,
    pub(super) quotas: Vec<ResourceQuota>,
}

impl Seen {
    /// A line a node: how it is, and what its pods have asked for of what it has.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.iter().map(|node| self.node(node)).collect()
    }

    fn node(&self, node: &Node) -> String {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let own = self.pods.iter().filter(|pod| {
            !is_over(pod)
                && pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name)
        });
        let (mut pods, mut asked) = (0, Amounts::new());
        for pod in own {
            pods += 1;
            requests::add(&mut asked, &requests::of_pod(pod));
        }
        let status = node.status.as_ref();
        let room = requests::amounts(status.and_then(|status| status.allocatable.as_ref()));
        let of = |list: &Amounts, name: &str| list.get(name).copied().unwrap_or_default();
        let cpu = |list: &Amounts| Quantity::from_milli(of(list, "cpu")).to_string();
        let memory =
            |list: &Amounts| super::bytes(u64::try_from(of(list, "memory")).unwrap_or_default());
        format!(
            "node     {name} {}: asked for {pods} of {} pods, {} of {} cpu, {} of {} memory",
            health(node),
            of(&room, "pods"),
            cpu(&asked),
            cpu(&room),
            memory(&asked),
            memory(&room),
        )
    }

    /// A line a set, with its namespace, its name, and whether all its pods are ready; those that
    /// are not come first.
    pub(super) fn sets(&self) -> Vec<(String, String, bool, String)> {
        let mut lines: Vec<_> = self
            .sets
            .iter()
            .map(|set| {
                let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let ready = set.status.as_ref().and_then(|status| status.ready_replicas);
                let ready = ready.unwrap_or_default();
                let (space, name) = names(&set.metadata);
                let line = format!("set      {space}/{name} {ready} of {wanted} ready");
                (space.to_owned(), name.to_owned(), ready >= wanted, line)
            })
            .collect();
        lines.sort_by_key(|(.., is_ready, _)| *is_ready);
        lines
    }

    /// Claims and volumes, counted by phase; and how many claims a pod uses.
    pub(super) fn storage(&self) -> Vec<String> {
        let used: BTreeSet<(&str, &str)> = self
            .pods
            .iter()
            .filter(|pod| !is_over(pod))
            .flat_map(|pod| {
                let volumes = pod.spec.iter().filter_map(|spec| spec.volumes.as_ref()).flatten();
                let claims = volumes.filter_map(|one| one.persistent_volume_claim.as_ref());
                claims.map(|claim| (names(&pod.metadata).0, claim.claim_name.as_str()))
            })
            .collect();
        let in_use = self.claims.iter().filter(|claim| used.contains(&names(&claim.metadata)));
        let claims = self.claims.iter().map(|claim| claim.status.as_ref()?.phase.as_deref());
        let volumes = self.volumes.iter().map(|one| one.status.as_ref()?.phase.as_deref());
        vec![
            format!("claims   {}, {} in use", phases(claims), in_use.count()),
            format!("volumes  {}", phases(volumes)),
        ]
    }

    /// A line a quota: what is used of what may be.
    pub(super) fn quotas(&self) -> Vec<String> {
        let lines = self.quotas.iter().map(|quota| {
            let (space, name) = names(&quota.metadata);
            let status = quota.status.as_ref();
            let used = status.and_then(|status| status.used.as_ref());
            let hard = status.and_then(|status| status.hard.as_ref());
            let parts = hard.into_iter().flatten().map(|(resource, hard)| {
                let used = used.and_then(|used| used.get(resource));
                format!("{} of {} {resource}", used.map_or("0", |used| used.0.as_str()), hard.0)
            });
            format!("quota    {space}/{name}: {}", parts.collect::<Vec<_>>().join(", "))
        });
        lines.collect()
    }
}

fn names(meta: &ObjectMeta) -> (&str, &str) {
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// `Ready`, or why not; pressures, and whether it is closed to new pods.
fn health(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let mut words = vec![match ready {
        Some(condition) if condition.status == "True" => "Ready".to_owned(),
        Some(condition) => {
            format!("NotReady ({})", condition.message.as_deref().unwrap_or("without a reason"))
        }
        None => "NotReady (it has not said how it is)".to_owned(),
    }];
    let others = conditions.iter().filter(|one| one.type_ != "Ready" && one.status == "True");
    words.extend(others.map(|condition| condition.type_.clone()));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        words.push("cordoned".to_owned());
    }
    words.join(", ")
}

/// `3: 2 Bound, 1 Pending`
fn phases<'a>(all: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for phase in all {
        *counts.entry(phase.unwrap_or("Pending")).or_default() += 1;
    }
    let whole: usize = counts.values().sum();
    let parts: Vec<String> =
        counts.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    if parts.is_empty() { "0".to_owned() } else { format!("{whole}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn of<K: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<K> {
        values.iter().map(|value| serde_json::from_value(value.clone()).unwrap()).collect()
    }

    fn pod(name: &str, phase: &str, cpu: &str) -> Value {
        json!({
            "metadata": {"namespace": "db", "name": name}, "status": {"phase": phase},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": format!("data-{name}")}}],
            },
        })
    }

    #[test]
    fn a_cluster_in_lines() {
        let condition = |of: &str, status: &str, message: &str| json!({"type": of, "status": status, "message": message});
        let room = json!({"cpu": "2", "memory": "4Gi", "pods": "110"});
        let set = |name: &str, ready: i32| {
            json!({"metadata": {"namespace": "db", "name": name},
                "spec": {"replicas": 2, "selector": {}, "serviceName": "s", "template": {}},
                "status": {"replicas": 2, "readyReplicas": ready}})
        };
        let claim = |name: &str, phase: &str| json!({"metadata": {"namespace": "db", "name": name}, "status": {"phase": phase}});
        let seen = Seen {
            nodes: of(&[
                json!({"metadata": {"name": "n1"}, "status": {"allocatable": room,
                    "conditions": [condition("MemoryPressure", "False", ""),
                        condition("DiskPressure", "True", "full"), condition("Ready", "True", "")]}}),
                json!({"metadata": {"name": "n2"}, "spec": {"unschedulable": true},
                    "status": {"conditions": [condition("Ready", "False", "no network")]}}),
            ]),
            pods: of(&[
                pod("web-0", "Running", "500m"),
                pod("web-1", "Pending", "250m"),
                pod("old", "Succeeded", "1"),
            ]),
            sets: of(&[set("good", 2), set("web", 1)]),
            claims: of(&[
                claim("data-web-0", "Bound"),
                claim("data-web-1", "Pending"),
                claim("data-old", "Bound"),
            ]),
            volumes: of(&[json!({"metadata": {"name": "v"}, "status": {"phase": "Released"}})]),
            quotas: of(&[json!({"metadata": {"namespace": "db", "name": "q"},
                "status": {"hard": {"pods": "3", "requests.cpu": "1"}, "used": {"pods": "2"}}})]),
        };
        let sets = seen.sets().into_iter().map(|(.., line)| line);
        let lines = [seen.nodes(), sets.collect(), seen.storage(), seen.quotas()].concat();
        expect![[r#"
            node     n1 Ready, DiskPressure: asked for 2 of 110 pods, 750m of 2 cpu, 2.0 GiB of 4.0 GiB memory
            node     n2 NotReady (no network), cordoned: asked for 0 of 0 pods, 0 of 0 cpu, 0 B of 0 B memory
            set      db/web 1 of 2 ready
            set      db/good 2 of 2 ready
            claims   3: 2 Bound, 1 Pending, 2 in use
            volumes  1: 1 Released
            quota    db/q: 2 of 3 pods, 0 of 1 requests.cpu"#]]
        .assert_eq(&lines.join("\n"));
        let nothing = Seen::default();
        assert_eq!(nothing.storage(), ["claims   0, 0 in use", "volumes  0"]);
    }
}
