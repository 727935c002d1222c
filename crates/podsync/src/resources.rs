//! Requests and limits as cgroup numbers, quality of service, and who is killed first.

use api::quantity::{milli_of, whole_of};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Microseconds of a CPU quota's period: the kernel's usual 100 ms.
pub const CPU_PERIOD_US: u64 = 100_000;

/// Cgroup numbers. `None` means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// 2..=262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds in each [`CPU_PERIOD_US`].
    pub cpu_quota_us: Option<i64>,
    /// Bytes.
    pub memory_max_bytes: Option<i64>,
    /// -1000..=1000.
    pub oom_score_adj: Option<i32>,
}

/// One container's numbers.
///
/// Source: kubernetes v1.36 `pkg/kubelet/cm/helpers_linux.go` (`MilliCPUToShares`,
/// `MilliCPUToQuota`).
#[must_use]
pub fn container_limits(pod: &Pod, container: &Container, memory_bytes: u64) -> Limits {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
    let cpu_limit = milli_of(limits, "cpu");
    let asked = milli_of(requests, "cpu");
    let memory = whole_of(limits, "memory");
    Limits {
        cpu_shares: Some(shares(if asked == 0 { cpu_limit } else { asked })),
        cpu_quota_us: (cpu_limit > 0).then(|| quota_us(cpu_limit)),
        memory_max_bytes: (memory > 0).then_some(memory),
        oom_score_adj: Some(oom_score(pod, whole_of(requests, "memory"), memory_bytes)),
    }
}

/// The whole pod's numbers: its parts together, or none where one part has none.
#[must_use]
pub fn pod_limits(spec: &PodSpec) -> Limits {
    let parts = || {
        spec.containers.iter().chain(
            spec.init_containers
                .iter()
                .flatten()
                .filter(|c| c.restart_policy.as_deref() == Some("Always")),
        )
    };
    let sum = |get: &dyn Fn(&Container) -> i64| -> i64 {
        parts().fold(0_i64, |all, c| all.saturating_add(get(c)))
    };
    let most_init = |get: &dyn Fn(&Container) -> i64| -> i64 {
        let plain = spec.init_containers.iter().flatten();
        plain.map(get).max().unwrap_or(0)
    };
    let request = |c: &Container| {
        let resources = c.resources.as_ref();
        match milli_of(resources.and_then(|r| r.requests.as_ref()), "cpu") {
            0 => milli_of(resources.and_then(|r| r.limits.as_ref()), "cpu"),
            asked => asked,
        }
    };
    let cpu = |c: &Container| milli_of(c.resources.as_ref().and_then(|r| r.limits.as_ref()), "cpu");
    let memory =
        |c: &Container| whole_of(c.resources.as_ref().and_then(|r| r.limits.as_ref()), "memory");
    let everyone = |get: &dyn Fn(&Container) -> i64| {
        parts().chain(spec.init_containers.iter().flatten()).all(|c| get(c) > 0)
    };
    Limits {
        cpu_shares: Some(shares(sum(&request).max(most_init(&request)))),
        cpu_quota_us: everyone(&cpu).then(|| quota_us(sum(&cpu).max(most_init(&cpu)))),
        memory_max_bytes: everyone(&memory).then(|| sum(&memory).max(most_init(&memory))),
        oom_score_adj: None,
    }
}

fn shares(cpu_milli: i64) -> u64 {
    let shares = u64::try_from(cpu_milli).unwrap_or(0).saturating_mul(1024) / 1000;
    shares.clamp(2, 262_144)
}

fn quota_us(cpu_milli: i64) -> i64 {
    cpu_milli.saturating_mul(100).max(1000)
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Source: kubernetes v1.36 `pkg/apis/core/v1/helper/qos/qos.go`, `ComputePodQOS`.
#[must_use]
pub fn qos(spec: &PodSpec) -> &'static str {
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let amount = |c: &Container, limit: bool, name: &str| {
        let resources = c.resources.as_ref();
        milli_of(
            resources.and_then(|r| if limit { r.limits.as_ref() } else { r.requests.as_ref() }),
            name,
        )
    };
    let names = ["cpu", "memory"];
    if all().all(|c| names.iter().all(|n| amount(c, true, n) == 0 && amount(c, false, n) == 0)) {
        return "BestEffort";
    }
    let fixed = all().all(|c| {
        names.iter().all(|n| {
            let limit = amount(c, true, n);
            let asked = amount(c, false, n);
            limit > 0 && (asked == 0 || asked == limit)
        })
    });
    if fixed { "Guaranteed" } else { "Burstable" }
}

/// Who the kernel kills first, -997..=1000.
///
/// Source: kubernetes v1.36 `pkg/kubelet/qos/policy.go`, `GetContainerOOMScoreAdjust`.
fn oom_score(pod: &Pod, memory_request: i64, memory_bytes: u64) -> i32 {
    let Some(spec) = &pod.spec else { return 1000 };
    if spec.priority.unwrap_or(0) >= 2_000_000_000 {
        return -997;
    }
    match qos(spec) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let asked = i128::from(memory_request);
            let all = i128::from(memory_bytes.max(1));
            let score = 1000 - (1000 * asked) / all;
            i32::try_from(score.clamp(3, 999)).unwrap_or(999)
        }
    }
}
