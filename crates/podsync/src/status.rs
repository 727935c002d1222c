//! The pod's status: phase, conditions, addresses.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    containers::{Kind, Unit},
    ending::Ending,
    observed::{Desired, Observed},
    resources::qos,
    restart::pod_policy,
    statuses::{Draft, initialized, statuses, whole_seconds},
};

/// Upstream's sentence for a pod that ran too long.
pub(crate) const OVERDUE: &str = "Pod was active on the node longer than the specified deadline";

/// The conditions that a node owns, in upstream's order.
pub const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// The status to show.
///
/// Source: kubernetes v1.36 `pkg/kubelet/kubelet_pods.go` (`generateAPIPodStatus`, `getPhase`)
/// and `pkg/kubelet/status/generate.go`.
pub(crate) fn status(
    want: Desired<'_>,
    seen: &Observed,
    units: &[Unit<'_>],
    draft: &Draft,
    ending: Option<Ending>,
    ended: bool,
    now: Timestamp,
) -> PodStatus {
    let pod = want.pod;
    let old = pod.status.clone().unwrap_or_default();
    if ending == Some(Ending::Refused) {
        return refused(pod, seen, old, now);
    }
    // Once initialized is enough: its sandbox may be gone by now.
    let began = initialized(want, seen, units)
        || old.conditions.iter().flatten().any(|c| c.type_ == "Initialized" && c.status == "True");
    let of = |kinds: &[Kind]| {
        let chosen = units.iter().filter(|unit| kinds.contains(&unit.kind));
        statuses(want, seen, chosen, draft, began, ended)
    };
    let init = of(&[Kind::Init, Kind::Sidecar]);
    let main = of(&[Kind::Main]);
    let ephemeral = of(&[Kind::Ephemeral]);
    let mut phase = phase(pod, units, &init, &main, ended).to_owned();
    let old_phase = old.phase.as_deref().unwrap_or("");
    if matches!(old_phase, "Failed" | "Succeeded") || old_phase == "Running" && phase == "Pending" {
        // A phase never goes back.
        phase = old_phase.to_owned();
    }
    let overdue = ending == Some(Ending::Overdue);
    if overdue || ended && !matches!(phase.as_str(), "Failed" | "Succeeded") {
        phase = "Failed".to_owned();
    }
    let mut status = PodStatus {
        phase: Some(phase.clone()),
        observed_generation: pod.metadata.generation,
        start_time: old.start_time.clone().or_else(|| Some(Time(whole_seconds(now)))),
        qos_class: old
            .qos_class
            .clone()
            .or_else(|| pod.spec.as_ref().map(|spec| qos(spec).to_owned())),
        reason: old.reason.clone(),
        message: old.message.clone(),
        init_container_statuses: Some(init.clone()).filter(|all| !all.is_empty()),
        container_statuses: Some(main.clone()),
        ephemeral_container_statuses: Some(ephemeral).filter(|all| !all.is_empty()),
        ..old.clone()
    };
    if overdue {
        status.reason = Some("DeadlineExceeded".to_owned());
        status.message = Some(OVERDUE.to_owned());
    }
    addresses(pod, seen, &mut status);
    let alive = seen.sandbox.as_ref().is_some_and(|sandbox| sandbox.alive);
    let found = vec![
        verdict("PodReadyToStartContainers", alive, None),
        initialized_condition(units, &init, &main, &phase),
        ready_condition(pod, units, &old, &init, &main, &phase),
        containers_ready(units, &init, &main, &phase, "ContainersReady"),
        verdict("PodScheduled", true, None),
    ];
    status.conditions = Some(conditions(pod, &old, found, now));
    status
}

/// A pod that the node would not have.
fn refused(pod: &Pod, seen: &Observed, old: PodStatus, now: Timestamp) -> PodStatus {
    let refusal = seen.refused.clone();
    let message = refusal.as_ref().map(|r| format!("Pod was rejected: {}", r.message));
    PodStatus {
        phase: Some("Failed".to_owned()),
        observed_generation: pod.metadata.generation,
        start_time: old.start_time.clone().or_else(|| Some(Time(whole_seconds(now)))),
        qos_class: old
            .qos_class
            .clone()
            .or_else(|| pod.spec.as_ref().map(|spec| qos(spec).to_owned())),
        reason: refusal.map(|refusal| refusal.reason),
        message,
        ..old
    }
}

fn addresses(pod: &Pod, seen: &Observed, status: &mut PodStatus) {
    let hosts: Vec<String> = seen.node.addresses.iter().map(ToString::to_string).collect();
    if !hosts.is_empty() {
        status.host_ip = hosts.first().cloned();
        status.host_ips = Some(hosts.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    }
    let Some(sandbox) = &seen.sandbox else { return };
    let shares = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let own: Vec<String> =
        if shares { hosts } else { sandbox.addresses.iter().map(ToString::to_string).collect() };
    if sandbox.alive && !own.is_empty() {
        status.pod_ip = own.first().cloned();
        status.pod_ips = Some(own.into_iter().map(|ip| PodIP { ip }).collect());
    }
}

#[derive(Debug, Default)]
struct Count {
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

fn phase(
    pod: &Pod,
    units: &[Unit<'_>],
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    ended: bool,
) -> &'static str {
    let mut pending_init = false;
    let mut failed_init = false;
    for status in init {
        let sidecar =
            units.iter().any(|unit| unit.kind == Kind::Sidecar && unit.name() == status.name);
        let state = status.state.clone().unwrap_or_default();
        match (&state.terminated, sidecar) {
            (Some(ended), false) if ended.exit_code == 0 => {}
            (Some(_), false) => failed_init = true,
            (Some(_), true) => {}
            (None, true) => pending_init |= status.started != Some(true),
            (None, false) => pending_init = true,
        }
    }
    let count = count(main);
    let policy = pod_policy(pod);
    if failed_init && policy == "Never" {
        return "Failed";
    }
    let began = count.running + count.stopped > 0;
    if (pending_init || failed_init) && !began && !ended || count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 && count.unknown == 0 {
        return "Running";
    }
    if count.stopped > 0 && count.unknown == 0 {
        let all_well = count.stopped == count.succeeded;
        return match (ended, policy) {
            (true, _) if all_well && !failed_init => "Succeeded",
            (true, _) => "Failed",
            (false, "Always") => "Running",
            (false, _) if all_well => "Succeeded",
            (false, "Never") => "Failed",
            (false, _) => "Running",
        };
    }
    "Pending"
}

fn count(main: &[ContainerStatus]) -> Count {
    let mut count = Count::default();
    for status in main {
        let state = status.state.clone().unwrap_or_default();
        let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        if state.running.is_some() {
            count.running += 1;
        } else if let Some(ended) = &state.terminated {
            count.stopped += 1;
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if state.waiting.is_some() {
            if before.is_some() {
                count.stopped += 1;
            } else {
                count.waiting += 1;
            }
        } else {
            count.unknown += 1;
        }
    }
    count
}

/// A condition's kind, status, and why.
type Found = (&'static str, bool, Option<(String, String)>);

fn verdict(kind: &'static str, holds: bool, why: Option<(&str, String)>) -> Found {
    (kind, holds, why.map(|(reason, message)| (reason.to_owned(), message)))
}

fn initialized_condition(
    units: &[Unit<'_>],
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: &str,
) -> Found {
    let kind = "Initialized";
    if phase == "Succeeded" {
        return verdict(kind, true, Some(("PodCompleted", String::new())));
    }
    let began = main.iter().any(|status| {
        let state = status.state.clone().unwrap_or_default();
        state.running.is_some()
            || state
                .terminated
                .is_some_and(|t| t.reason.as_deref() != Some("ContainerStatusUnknown"))
            || status.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
    });
    if began {
        return verdict(kind, true, None);
    }
    let incomplete: Vec<&str> = init
        .iter()
        .filter(|status| {
            let sidecar =
                units.iter().any(|unit| unit.kind == Kind::Sidecar && unit.name() == status.name);
            if sidecar { status.started != Some(true) } else { !status.ready }
        })
        .map(|status| status.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return verdict(kind, true, None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    verdict(kind, false, Some(("ContainersNotInitialized", message)))
}

fn containers_ready(
    units: &[Unit<'_>],
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: &str,
    kind: &'static str,
) -> Found {
    match phase {
        "Succeeded" => return verdict(kind, false, Some(("PodCompleted", String::new()))),
        "Failed" => return verdict(kind, false, Some(("PodFailed", String::new()))),
        _ => {}
    }
    let unready: Vec<&str> = init
        .iter()
        .filter(|status| {
            units.iter().any(|unit| unit.kind == Kind::Sidecar && unit.name() == status.name)
        })
        .chain(main)
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        return verdict(kind, true, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    verdict(kind, false, Some(("ContainersNotReady", message)))
}

fn ready_condition(
    pod: &Pod,
    units: &[Unit<'_>],
    old: &PodStatus,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: &str,
) -> Found {
    let (kind, holds, why) = containers_ready(units, init, main, phase, "Ready");
    if !holds {
        return (kind, holds, why);
    }
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let missing: Vec<String> = gates
        .filter_map(|gate| {
            let name = &gate.condition_type;
            let condition = old.conditions.iter().flatten().find(|c| c.type_ == *name);
            match condition.map(|condition| condition.status.as_str()) {
                Some("True") => None,
                Some(other) => Some(format!(
                    "the status of pod readiness gate \"{name}\" is not \"True\", but {other}"
                )),
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{name}\" does not exist."
                )),
            }
        })
        .collect();
    if missing.is_empty() {
        return (kind, true, None);
    }
    verdict(kind, false, Some(("ReadinessGatesNotReady", missing.join(", "))))
}

/// Ours as found, with the time of their last change; others' as they were.
fn conditions(pod: &Pod, old: &PodStatus, found: Vec<Found>, now: Timestamp) -> Vec<PodCondition> {
    let old = old.conditions.clone().unwrap_or_default();
    let mut all: Vec<PodCondition> = found
        .into_iter()
        .map(|(kind, holds, why)| {
            let status = if holds { "True" } else { "False" };
            let before = old.iter().find(|condition| condition.type_ == kind);
            let since = before
                .filter(|condition| condition.status == status)
                .and_then(|condition| condition.last_transition_time.clone());
            let (reason, message) = why.unzip();
            PodCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: reason.filter(|text| !text.is_empty()),
                message: message.filter(|text| !text.is_empty()),
                observed_generation: pod.metadata.generation,
                last_transition_time: since.or_else(|| Some(Time(whole_seconds(now)))),
                last_probe_time: before.and_then(|condition| condition.last_probe_time.clone()),
            }
        })
        .collect();
    all.extend(
        old.into_iter().filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str())),
    );
    all
}
