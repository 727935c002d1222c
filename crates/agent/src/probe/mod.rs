//! Probes: one task a probe, which asks in time and reports what has come of it.

mod dial;
pub(crate) mod exec;
mod grpc;
pub(crate) mod http;

use std::{net::IpAddr, sync::Arc, time::Duration};

use host::runtime::Runtime;
use podsync::{
    events::warning,
    plan::{Event, ProbeKind, ProbeWish},
    probe::{Tally, pace},
};
use tokio::sync::mpsc;

use crate::clock::Clock;

/// Before a program that did not listen yet is asked again: the time that a small one needs.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest such pause: what a person does not notice.
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well.
    Success,
    /// Not well; this is what the event says.
    Failure(String),
    /// The question could not be asked; it does not count.
    Unknown(String),
}

/// What the worker learns.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) container_id: String,
    pub(crate) kind: ProbeKind,
    /// When enough results have come in a row.
    pub(crate) verdict: Option<bool>,
    /// For the pod's events.
    pub(crate) event: Option<Event>,
}

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Clock,
    pub(crate) uid: String,
    pub(crate) address: Option<IpAddr>,
}

/// Asks until the container is over (the worker drops the task) or the probe has had its say.
pub(crate) async fn run(wish: ProbeWish, target: Target, reports: mpsc::Sender<Report>) {
    let pace = pace(&wish.probe);
    let running_ms = target.clock.now().duration_since(wish.started_at).as_millis();
    let delay_ms = u64::try_from(running_ms).unwrap_or(0);
    let delay_ms = (pace.initial_delay_s * 1000).saturating_sub(delay_ms);
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    let mut tally = Tally::default();
    let mut last = None;
    let mut is_first = true;
    let mut ticks = tokio::time::interval(Duration::from_secs(pace.period_s));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ask = || once(&wish, &target, Duration::from_secs(pace.timeout_s));
        let outcome = if is_first { patiently(ask, ticks.period()).await } else { ask().await };
        is_first = false;
        let (success, event) = match outcome {
            Outcome::Success => (Some(true), None),
            Outcome::Failure(why) => {
                (Some(false), Some(format!("{} probe failed: {why}", wish.kind.title())))
            }
            Outcome::Unknown(why) => {
                let title = wish.kind.title();
                (None, Some(format!("{title} probe errored and resulted in unknown state: {why}")))
            }
        };
        let verdict = success.and_then(|success| tally.record(success, pace));
        let changed = verdict.filter(|verdict| last != Some(*verdict));
        if changed.is_some() {
            last = changed;
        }
        let event = event.map(|message| warning("Unhealthy", &wish.field_path, message));
        if changed.is_some() || event.is_some() {
            let report = Report {
                container_id: wish.container_id.clone(),
                kind: wish.kind,
                verdict: changed,
                event,
            };
            if reports.send(report).await.is_err() {
                return;
            }
        }
        let over = match wish.kind {
            ProbeKind::Startup => verdict.is_some(),
            ProbeKind::Liveness => verdict == Some(false),
            ProbeKind::Readiness => false,
        };
        if over {
            return;
        }
    }
}

/// Asks a program that may not listen yet: while nobody does, again after a moment, within the
/// first period. It counts as one question, and is answered as soon as there is an answer; upstream
/// would let a whole period pass.
async fn patiently<F: Future<Output = Outcome>>(
    mut ask: impl FnMut() -> F,
    period: Duration,
) -> Outcome {
    let end = tokio::time::Instant::now() + period;
    let mut pause = PAUSE_MIN;
    loop {
        let outcome = ask().await;
        let again = tokio::time::Instant::now() + pause;
        // The dialler's own words: whoever listens and fails has answered.
        let nobody =
            matches!(&outcome, Outcome::Failure(why) if why.ends_with("connection refused"));
        if !nobody || again >= end {
            return outcome;
        }
        tokio::time::sleep_until(again).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

async fn once(wish: &ProbeWish, target: &Target, timeout: Duration) -> Outcome {
    let probe = &wish.probe;
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return exec::probe(target, &wish.container_id, command, timeout).await;
    }
    let Some(port) = wish.port else {
        return Outcome::Unknown("couldn't find the probe's port".to_owned());
    };
    let own = target.address.map(|address| address.to_string());
    let Some(own) = own else {
        return Outcome::Unknown("the pod has no address".to_owned());
    };
    if let Some(get) = &probe.http_get {
        let host = get.host.clone().filter(|host| !host.is_empty()).unwrap_or(own);
        return http::probe(&http::Get::new(get, &host, port), timeout).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.clone().filter(|host| !host.is_empty()).unwrap_or(own);
        return match dial::tcp(&host, port, timeout).await {
            Ok(_) => Outcome::Success,
            Err(why) => Outcome::Failure(why),
        };
    }
    if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or("");
        return grpc::probe(&own, port, service, timeout).await;
    }
    Outcome::Unknown("missing probe handler".to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_listens_late_is_asked_again() {
        let refused =
            "Get \"http://10.0.0.2:80/\": dial tcp 10.0.0.2:80: connect: connection refused";
        let other = "HTTP probe failed with statuscode: 503";
        for (listens_after_ms, then, period_s, outcome, after_ms) in [
            (0, None, 10, Outcome::Success, 0),
            (0, Some(other), 10, Outcome::Failure(other.to_owned()), 0),
            (30, None, 10, Outcome::Success, 35),
            (700, Some(other), 10, Outcome::Failure(other.to_owned()), 795),
            (5000, None, 1, Outcome::Failure(refused.to_owned()), 955),
        ] {
            let began = Instant::now();
            let asked = Cell::new(0);
            let ask = || async {
                asked.set(asked.get() + 1);
                match then {
                    _ if began.elapsed() < Duration::from_millis(listens_after_ms) => {
                        Outcome::Failure(refused.to_owned())
                    }
                    Some(why) => Outcome::Failure(why.to_owned()),
                    None => Outcome::Success,
                }
            };
            let period = Duration::from_secs(period_s);
            assert_eq!(patiently(ask, period).await, outcome);
            assert_eq!(began.elapsed(), Duration::from_millis(after_ms));
            assert!(asked.get() < 20, "{}", asked.get());
        }
    }
}
