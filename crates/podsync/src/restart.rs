//! When an ended container starts again, and how long it waits first.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

/// First waiting time, seconds. Source: kubelet v1.36 `pkg/kubelet/kubelet.go`, `backOffPeriod`.
pub const BACK_OFF_FIRST_S: i64 = 10;
/// Longest waiting time, seconds. Source: same file, `MaxCrashLoopBackOff`.
pub const BACK_OFF_MAX_S: i64 = 300;
/// A container that ran this long is forgiven its past. Source: client-go `flowcontrol.Backoff`,
/// which forgets after twice the longest time.
pub const BACK_OFF_FORGET_S: i64 = 600;

/// A waiting time that doubles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackOff {
    /// Seconds to wait after the next failure; 0: none yet.
    pub delay_s: i64,
    /// When it last grew.
    pub updated_at: Option<Timestamp>,
}

impl BackOff {
    /// The waiting time after one more failure, counted from `now`.
    #[must_use]
    pub fn grown(self, now: Timestamp) -> BackOff {
        let forgotten =
            self.updated_at.is_none_or(|at| now.duration_since(at).as_secs() > BACK_OFF_FORGET_S);
        let delay_s = if self.delay_s == 0 || forgotten {
            BACK_OFF_FIRST_S
        } else {
            self.delay_s.saturating_mul(2).min(BACK_OFF_MAX_S)
        };
        BackOff { delay_s, updated_at: Some(now) }
    }

    /// Until when to wait after a failure at `failed_at`; `None` when nothing is to be waited for.
    #[must_use]
    pub fn until(self, failed_at: Timestamp) -> Option<Timestamp> {
        let updated_at = self.updated_at?;
        if self.delay_s == 0 || failed_at.duration_since(updated_at).as_secs() > BACK_OFF_FORGET_S {
            return None;
        }
        failed_at.checked_add(SignedDuration::from_secs(self.delay_s)).ok()
    }
}

/// The pod's own restart policy.
#[must_use]
pub fn pod_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Whether a container that ended with `exit_code` is to run again.
///
/// A container's own rules win over its own policy, and that over the pod's.
///
/// Source: kubernetes v1.36 `pkg/kubelet/container/helpers.go`, `ShouldContainerBeRestarted`.
#[must_use]
pub fn restarts(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        let matched = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matched && rule.action == "Restart" {
            return true;
        }
    }
    match container.restart_policy.as_deref().unwrap_or_else(|| pod_policy(pod)) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}
