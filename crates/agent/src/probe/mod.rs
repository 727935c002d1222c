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
    let mut ticks = tokio::time::interval(Duration::from_secs(pace.period_s));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (success, event) = match once(&wish, &target, Duration::from_secs(pace.timeout_s)).await
        {
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
