//! What the node and its containers use: `/pods`, `/stats/summary` and `/metrics`.
//!
//! Names of metrics and fields are upstream's. Source: kubernetes v1.36
//! `pkg/kubelet/metrics/collectors/resource_metrics.go`, `kubelet/pkg/apis/stats/v1alpha1`.

use std::{collections::BTreeMap, io, time::SystemTime};

use bytes::Bytes;
use host::runtime::{ContainerPhase, ContainerState, PodState, Usage};
use hyper::Response;
use jiff::Timestamp;
use k8s_openapi::{List, api::core::v1::Pod};
use serde_json::{Value, json};

use super::{
    Body, Kubelet,
    answer::{self, Refusal, refuse},
    route::Page,
};

/// The kernel counts CPU time of `/proc/stat` in hundredths of a second, on every machine.
const TICK_NS: u64 = 10_000_000;

/// What everything uses at one instant.
#[derive(Debug, Default)]
struct Figures {
    node: Used,
    pods: Vec<(PodState, Vec<Usage>)>,
}

/// CPU time since the start, and memory that cannot be dropped.
#[derive(Debug, Default, PartialEq, Eq)]
struct Used {
    cpu_ns: u64,
    memory_bytes: u64,
}

/// `/pods`
pub(crate) fn pods(kubelet: &Kubelet) -> Result<Response<Body>, Refusal> {
    let items: Vec<Pod> = kubelet.pods.pods().iter().map(|pod| Pod::clone(pod)).collect();
    answer::json(&List { items, ..List::default() })
}

/// `/stats/summary`
pub(crate) async fn summary(kubelet: &Kubelet) -> Result<Response<Body>, Refusal> {
    let figures = look(kubelet).await?;
    let now = crate::Clock::system().now().to_string();
    answer::json(&summarize(&figures, &kubelet.node, &now))
}

/// `/metrics`, `/metrics/resource`, `/metrics/cadvisor`
pub(crate) async fn metrics(kubelet: &Kubelet, page: Page) -> Result<Response<Body>, Refusal> {
    let figures = look(kubelet).await?;
    let text = match page {
        Page::Kubelet => own(&figures, &kubelet.node),
        Page::Resource => resource(&figures),
        Page::Cadvisor => cadvisor(&figures),
    };
    Ok(answer::whole(200, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(text)))
}

async fn look(kubelet: &Kubelet) -> Result<Figures, Refusal> {
    let failed = |error: io::Error| refuse(500, error);
    let node = Used {
        cpu_ns: cpu_ns(&std::fs::read_to_string("/proc/stat").map_err(failed)?),
        memory_bytes: memory_bytes(&std::fs::read_to_string("/proc/meminfo").map_err(failed)?),
    };
    let states = kubelet.runtime.pods().await.map_err(|error| refuse(500, error))?;
    let mut pods = Vec::new();
    for state in states.into_iter().filter(|state| state.alive) {
        match kubelet.runtime.usage(&state.uid).await {
            Ok(usage) => pods.push((state, usage)),
            // It may have ended since; the other pods' figures are worth having.
            Err(error) => tracing::debug!(%error, uid = state.uid, "no figures of a pod"),
        }
    }
    pods.sort_by(|(a, _), (b, _)| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(Figures { node, pods })
}

/// CPU time that was not idle, of the first line of `/proc/stat`.
fn cpu_ns(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are within user.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<u64>();
    busy.saturating_mul(TICK_NS)
}

/// Memory in use that could not be given back, of `/proc/meminfo`.
fn memory_bytes(meminfo: &str) -> u64 {
    let kib = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0)
    };
    kib("MemTotal:").saturating_sub(kib("MemAvailable:")).saturating_mul(1024)
}

fn started(container: &ContainerState) -> Option<SystemTime> {
    match container.phase {
        ContainerPhase::Running { started_at, .. } => Some(started_at),
        _ => None,
    }
}

/// Each running container with its figures.
fn running(
    (state, usages): &(PodState, Vec<Usage>),
) -> impl Iterator<Item = (&PodState, &ContainerState, SystemTime, &Usage)> {
    state.containers.iter().filter_map(move |container| {
        let usage = usages.iter().find(|usage| usage.container_id == container.id)?;
        Some((state, container, started(container)?, usage))
    })
}

fn whole((_, usages): &(PodState, Vec<Usage>)) -> Option<&Usage> {
    usages.iter().find(|usage| usage.container_id.is_empty())
}

fn time(at: SystemTime) -> Option<String> {
    Timestamp::try_from(at).ok().map(|at| at.to_string())
}

fn summarize(figures: &Figures, node: &str, now: &str) -> Value {
    let cpu = |ns: u64| json!({ "time": now, "usageCoreNanoSeconds": ns });
    let memory = |bytes: u64| json!({ "time": now, "workingSetBytes": bytes });
    let pod = |entry: &(PodState, Vec<Usage>)| {
        let containers: Vec<Value> = running(entry)
            .map(|(_, container, started, usage)| {
                json!({
                    "name": container.name,
                    "startTime": time(started),
                    "cpu": cpu(usage.cpu_ns),
                    "memory": memory(usage.working_set_bytes),
                })
            })
            .collect();
        let (state, _) = entry;
        let mut shown = json!({
            "podRef": { "name": state.name, "namespace": state.namespace, "uid": state.uid },
            "startTime": time(state.created_at),
            "containers": containers,
        });
        if let Some(usage) = whole(entry) {
            shown["cpu"] = cpu(usage.cpu_ns);
            shown["memory"] = memory(usage.working_set_bytes);
            shown["process_stats"] = json!({ "process_count": usage.pids });
        }
        shown
    };
    json!({
        "node": {
            "nodeName": node,
            "cpu": cpu(figures.node.cpu_ns),
            "memory": memory(figures.node.memory_bytes),
        },
        "pods": figures.pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

/// Name, kind and help of a metric, and how its value is told.
type Family<Show> = (&'static str, &'static str, &'static str, Show);
type Show = fn(&Usage) -> String;
type ShowStarted = fn(&Usage, SystemTime) -> String;

/// One page in the text format of Prometheus.
#[derive(Debug, Default)]
struct Text {
    out: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(&format!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let escape =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(&format!("{name}{labels} {value}"));
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

/// Nanoseconds as seconds, exactly.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn since_epoch(at: SystemTime) -> String {
    let passed = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", passed.as_secs(), passed.subsec_millis())
}

/// The kubelet's own.
fn own(figures: &Figures, node: &str) -> String {
    let mut text = Text::default();
    text.family("kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    text.sample("kubelet_node_name", &[("node", node)], 1);
    let name = "kubelet_running_pods";
    text.family(name, "gauge", "Number of pods that have a running pod sandbox");
    text.sample(name, &[], figures.pods.len());
    let name = "kubelet_running_containers";
    text.family(name, "gauge", "Number of containers currently running");
    let mut states = BTreeMap::new();
    for container in figures.pods.iter().flat_map(|(state, _)| &state.containers) {
        let state = match container.phase {
            ContainerPhase::Created => "created",
            ContainerPhase::Running { .. } => "running",
            ContainerPhase::Exited { .. } => "exited",
        };
        *states.entry(state).or_insert(0_usize) += 1;
    }
    for (state, count) in states {
        text.sample(name, &[("container_state", state)], count);
    }
    text.out
}

fn resource(figures: &Figures) -> String {
    let mut text = Text::default();
    let rows: [Family<ShowStarted>; 3] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
            |usage, _| seconds(usage.cpu_ns),
        ),
        (
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
            |usage, _| usage.working_set_bytes.to_string(),
        ),
        (
            "container_start_time_seconds",
            "gauge",
            "Start time of the container since unix epoch in seconds",
            |_, started| since_epoch(started),
        ),
    ];
    for (name, kind, help, show) in rows {
        text.family(name, kind, help);
        for (pod, container, started, usage) in figures.pods.iter().flat_map(running) {
            let labels = [
                ("container", &*container.name),
                ("namespace", &pod.namespace),
                ("pod", &pod.name),
            ];
            text.sample(name, &labels, show(usage, started));
        }
    }
    let name = "node_cpu_usage_seconds_total";
    text.family(name, "counter", "Cumulative cpu time consumed by the node in core-seconds");
    text.sample(name, &[], seconds(figures.node.cpu_ns));
    let name = "node_memory_working_set_bytes";
    text.family(name, "gauge", "Current working set of the node in bytes");
    text.sample(name, &[], figures.node.memory_bytes);
    let rows: [Family<Show>; 2] = [
        (
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
            |usage| seconds(usage.cpu_ns),
        ),
        (
            "pod_memory_working_set_bytes",
            "gauge",
            "Current working set of the pod in bytes",
            |usage| usage.working_set_bytes.to_string(),
        ),
    ];
    for (name, kind, help, show) in rows {
        text.family(name, kind, help);
        for entry in &figures.pods {
            let labels = [("namespace", &*entry.0.namespace), ("pod", &entry.0.name)];
            if let Some(usage) = whole(entry) {
                text.sample(name, &labels, show(usage));
            }
        }
    }
    let name = "resource_scrape_error";
    text.family(
        name,
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    text.sample(name, &[], 0);
    text.out
}

fn cadvisor(figures: &Figures) -> String {
    let mut text = Text::default();
    let rows: [Family<Show>; 3] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed in seconds.",
            |usage| seconds(usage.cpu_ns),
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |usage| {
            usage.working_set_bytes.to_string()
        }),
        (
            "container_processes",
            "gauge",
            "Number of processes running inside the container.",
            |usage| usage.pids.to_string(),
        ),
    ];
    for (name, kind, help, show) in rows {
        text.family(name, kind, help);
        for entry in &figures.pods {
            let of_pod = whole(entry).map(|usage| (("", "", ""), usage));
            let containers = running(entry).map(|(_, container, _, usage)| {
                ((&*container.name, &*container.id, &*container.image), usage)
            });
            for ((container, id, image), usage) in of_pod.into_iter().chain(containers) {
                let mut labels = vec![
                    ("container", container),
                    ("id", id),
                    ("image", image),
                    ("name", id),
                    ("namespace", &*entry.0.namespace),
                    ("pod", &*entry.0.name),
                ];
                if name == "container_cpu_usage_seconds_total" {
                    labels.insert(1, ("cpu", "total"));
                }
                text.sample(name, &labels, show(usage));
            }
        }
    }
    text.out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;

    fn figures() -> Figures {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let container = ContainerState {
            id: "c1".to_owned(),
            name: "nginx".to_owned(),
            attempt: 0,
            image: "nginx:1".to_owned(),
            image_id: String::new(),
            annotations: BTreeMap::new(),
            created_at: at,
            phase: ContainerPhase::Running { pid: 7, started_at: at },
        };
        let state = PodState {
            uid: "u".to_owned(),
            namespace: "default".to_owned(),
            name: "web-0".to_owned(),
            attempt: 0,
            alive: true,
            addresses: Vec::new(),
            created_at: at,
            annotations: BTreeMap::new(),
            containers: vec![container],
        };
        let usage = |id: &str, cpu_ns| Usage {
            container_id: id.to_owned(),
            cpu_ns,
            working_set_bytes: 4096,
            pids: 3,
        };
        let node = Used { cpu_ns: 5, memory_bytes: 6 };
        Figures { node, pods: vec![(state, vec![usage("", 1_500_000_000), usage("c1", 7)])] }
    }

    #[test]
    fn what_the_kernel_says() {
        assert_eq!(cpu_ns("cpu  1 2 3 400 50 6 7 8 0 0\ncpu0 1\n"), 27 * TICK_NS);
        let text = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n";
        assert_eq!(memory_bytes(text), 600 * 1024);
        assert_eq!((cpu_ns(""), memory_bytes("")), (0, 0));
    }

    #[test]
    fn pages() {
        let samples = |text: String| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.collect::<Vec<_>>().join("\n")
        };
        expect![[r#"
            kubelet_node_name{node="n\"1"} 1
            kubelet_running_pods 1
            kubelet_running_containers{container_state="running"} 1"#]]
        .assert_eq(&samples(own(&figures(), "n\"1")));
        expect![[r#"
            container_cpu_usage_seconds_total{container="nginx",namespace="default",pod="web-0"} 0.000000007
            container_memory_working_set_bytes{container="nginx",namespace="default",pod="web-0"} 4096
            container_start_time_seconds{container="nginx",namespace="default",pod="web-0"} 1700000000.500
            node_cpu_usage_seconds_total 0.000000005
            node_memory_working_set_bytes 6
            pod_cpu_usage_seconds_total{namespace="default",pod="web-0"} 1.500000000
            pod_memory_working_set_bytes{namespace="default",pod="web-0"} 4096
            resource_scrape_error 0"#]]
        .assert_eq(&samples(resource(&figures())));
        let page = cadvisor(&figures());
        assert!(page.contains(
            "container_cpu_usage_seconds_total{container=\"nginx\",cpu=\"total\",id=\"c1\",\
             image=\"nginx:1\",name=\"c1\",namespace=\"default\",pod=\"web-0\"} 0.000000007"
        ));
    }

    #[test]
    fn summaries() {
        let summary = summarize(&figures(), "n1", "2026-01-01T00:00:00Z");
        assert_eq!(summary["pods"][0]["containers"][0]["startTime"], "2023-11-14T22:13:20.5Z");
        assert_eq!(summary["pods"][0]["process_stats"]["process_count"], 3);
        assert_eq!(summary["node"]["memory"]["workingSetBytes"], 6);
    }
}
