//! Counts of requests, under upstream's names.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::Resource;
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::path::Ask;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: u16,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// Gauges of another room of the process, as text.
type Gauges = Box<dyn Fn() -> String + Send + Sync>;

type Durations = Family<Target, Histogram, fn() -> Histogram>;

/// The server's own counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Durations,
    longrunning: Family<Target, Gauge>,
    inflight: Gauge,
    others: Mutex<Vec<Gauges>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        const SECONDS: [f64; 14] =
            [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
        let durations: Durations = Family::new_with_constructor(|| Histogram::new(SECONDS));
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations,
            longrunning: Family::default(),
            inflight: Gauge::default(),
            others: Mutex::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, group, version, resource, \
             scope, component, and HTTP response code",
            metrics.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, group, version, resource, \
             subresource, scope and component",
            metrics.durations.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, \
             version, resource, scope and component",
            metrics.longrunning.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Currently used inflight request limit of this apiserver",
            metrics.inflight.clone(),
        );
        metrics
    }
}

/// A request that runs; leaving ends its count.
#[derive(Debug)]
pub(crate) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counts a request in.
    pub(crate) fn enter(
        &self,
        ask: &Ask,
        resource: Option<&'static dyn Resource>,
        longrunning: bool,
    ) -> Running {
        let gauge = if longrunning {
            let target = target(ask.verb, resource, &ask.subresource);
            self.longrunning.get_or_create(&target).clone()
        } else {
            self.inflight.clone()
        };
        gauge.inc();
        Running(gauge)
    }

    /// Counts its answer.
    pub(crate) fn finish(
        &self,
        verb: &'static str,
        resource: Option<&'static dyn Resource>,
        subresource: &str,
        code: u16,
        took: Duration,
    ) {
        let target = target(verb, resource, subresource);
        let scope = match resource.map(|resource| resource.namespaced()) {
            Some(true) => "namespace",
            Some(false) => "cluster",
            None => "",
        };
        let request = Request {
            code,
            group: target.group,
            resource: target.resource,
            scope,
            subresource: target.subresource,
            verb: target.verb,
            version: target.version,
        };
        self.requests.get_or_create(&request).inc();
        self.durations.get_or_create(&target).observe(took.as_secs_f64());
    }

    /// Shows what another room tells, too.
    pub(crate) fn also_shows(&self, gauges: Gauges) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(gauges);
    }

    /// The text that `/metrics` answers.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        for gauges in self.others.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text += &gauges();
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn target(
    verb: &'static str,
    resource: Option<&'static dyn Resource>,
    subresource: &str,
) -> Target {
    let verb = match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    };
    let Some(resource) = resource else {
        return Target { group: "", resource: "", subresource: "", verb, version: "" };
    };
    let names = resource.names();
    let subresource = resource.subresource(subresource).map_or("", |found| found.name);
    Target { group: names.group, resource: names.plural, subresource, verb, version: names.version }
}
