//! What is wrong with probes and lifecycle hooks.

use k8s_openapi::{
    api::core::v1::{
        ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction,
        TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    names,
    validation::report::{At, Report, items, text},
};

/// What a probe or a hook does: at most one of these.
#[derive(Debug, Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// Which probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Liveness,
    Readiness,
    Startup,
}

pub(super) fn probe(probe: &Probe, role: Role, grace_s: Option<i64>, at: At<'_>, out: &mut Report) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    exactly_one(&handler, grace_s, at, out);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        out.not_negative(at.field(field), i64::from(value.unwrap_or(0)));
    }
    let own_grace_s = probe.termination_grace_period_seconds;
    if let Some(seconds) = own_grace_s.filter(|seconds| *seconds <= 0) {
        out.invalid(at.field("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
    match (role, own_grace_s) {
        (Role::Readiness, Some(seconds)) => {
            let why = "must not be set for readinessProbes";
            out.invalid(at.field("terminationGracePeriodSeconds"), seconds, why);
        }
        (Role::Readiness, None) => {}
        (Role::Liveness | Role::Startup, _) => {
            let threshold = probe.success_threshold.unwrap_or(0);
            if threshold != 1 {
                out.invalid(at.field("successThreshold"), threshold, "must be 1");
            }
        }
    }
}

pub(super) fn lifecycle(
    hooks: &Lifecycle,
    grace_s: Option<i64>,
    os: &str,
    at: At<'_>,
    out: &mut Report,
) {
    for (field, hook) in [("postStart", &hooks.post_start), ("preStop", &hooks.pre_stop)] {
        if let Some(hook) = hook {
            exactly_one(&of_hook(hook), grace_s, at.field(field), out);
        }
    }
    if let Some(signal) = &hooks.stop_signal {
        stop_signal(signal, os, at.field("stopSignal"), out);
    }
}

fn of_hook(hook: &LifecycleHandler) -> Handler<'_> {
    Handler {
        exec: hook.exec.as_ref(),
        http_get: hook.http_get.as_ref(),
        tcp_socket: hook.tcp_socket.as_ref(),
        grpc: None,
        sleep: hook.sleep.as_ref(),
    }
}

fn stop_signal(signal: &str, os: &str, at: At<'_>, out: &mut Report) {
    if os.is_empty() {
        out.forbidden(at, "may not be set for containers with empty `spec.os.name`");
    } else if !signal.starts_with("SIG") {
        out.invalid(at, signal, "must be a valid signal name");
    }
}

/// Exactly one action, and that one in order.
fn exactly_one(handler: &Handler<'_>, grace_s: Option<i64>, at: At<'_>, out: &mut Report) {
    let mut found = false;
    let mut another = |field: &'static str, out: &mut Report| {
        if found {
            out.forbidden(at.field(field), "may not specify more than 1 handler type");
        }
        !std::mem::replace(&mut found, true)
    };
    if let Some(action) = handler.exec
        && another("exec", out)
        && items(&action.command).is_empty()
    {
        out.required(at.field("exec").field("command"), "");
    }
    if let Some(action) = handler.http_get
        && another("httpGet", out)
    {
        http_get(action, at.field("httpGet"), out);
    }
    if let Some(action) = handler.tcp_socket
        && another("tcpSocket", out)
    {
        port(&action.port, at.field("tcpSocket").field("port"), out);
    }
    if let Some(action) = handler.grpc
        && another("grpc", out)
    {
        port(&IntOrString::Int(action.port), at.field("grpc").field("port"), out);
    }
    if let Some(action) = handler.sleep
        && another("sleep", out)
        && let Some(grace_s) = grace_s
        && !(0..=grace_s).contains(&action.seconds)
    {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_s})");
        out.invalid(at.field("sleep"), action.seconds, &why);
    }
    if !found {
        out.required(at, "must specify a handler type");
    }
}

fn http_get(action: &HTTPGetAction, at: At<'_>, out: &mut Report) {
    if text(&action.path).is_empty() {
        out.required(at.field("path"), "");
    }
    port(&action.port, at.field("port"), out);
    out.known(at.field("scheme"), text(&action.scheme), &["HTTP", "HTTPS"]);
    for header in items(&action.http_headers) {
        let faults = names::http_header_name(&header.name);
        out.faults(at.field("httpHeaders"), &header.name, faults);
    }
}

/// A port by number or by name.
pub(super) fn port(port: &IntOrString, at: At<'_>, out: &mut Report) {
    match port {
        IntOrString::Int(number) => {
            for fault in names::port_number(*number) {
                out.invalid(at, *number, &fault);
            }
        }
        IntOrString::String(name) => out.faults(at, name, names::port_name(name)),
    }
}
