//! What is wrong with an object or a change, in upstream's words. The `events.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/core/validation/events.go`.

use k8s_openapi::api::{core::v1 as core, events::v1::Event};

use super::report::{At, Report, text};
use crate::{field::Cause, names, resource::Part};

/// What both groups' events have, under either name.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    namespace: &'a str,
    about_namespace: &'a str,
    has_time: bool,
    controller: &'a str,
    instance: &'a str,
    action: &'a str,
    reason: &'a str,
    note: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn of_core(event: &'a core::Event) -> Self {
        Self {
            namespace: text(&event.metadata.namespace),
            about_namespace: text(&event.involved_object.namespace),
            has_time: event.event_time.is_some(),
            controller: text(&event.reporting_component),
            instance: text(&event.reporting_instance),
            action: text(&event.action),
            reason: text(&event.reason),
            note: text(&event.message),
        }
    }

    fn of_events(event: &'a Event) -> Self {
        Self {
            namespace: text(&event.metadata.namespace),
            about_namespace: event.regarding.as_ref().map_or("", |about| text(&about.namespace)),
            has_time: event.event_time.is_some(),
            controller: text(&event.reporting_controller),
            instance: text(&event.reporting_instance),
            action: text(&event.action),
            reason: text(&event.reason),
            note: text(&event.note),
        }
    }
}

/// The rules of both groups. New events have `eventTime`, and more rules with it.
pub(super) fn legacy(event: &Fields<'_>, out: &mut Report) {
    let about = At::new("involvedObject");
    let (own, its) = (event.namespace, event.about_namespace);
    let free: &[&str] = if event.has_time { &["default", "kube-system"] } else { &["", "default"] };
    let astray = if its.is_empty() { !free.contains(&own) } else { !event.has_time && own != its };
    if astray {
        out.invalid(about.field("namespace"), its, "does not match event.namespace");
    }
    if event.has_time {
        series_fields(event, out);
    }
    out.faults(At::new("namespace"), own, names::dns_subdomain(own));
}

fn series_fields(event: &Fields<'_>, out: &mut Report) {
    let at = At::new("reportingController");
    if event.controller.is_empty() {
        out.required(at, "");
    }
    out.faults(at, event.controller, names::qualified_name(event.controller));
    for (field, value) in
        [("reportingInstance", event.instance), ("action", event.action), ("reason", event.reason)]
    {
        if value.is_empty() {
            out.required(At::new(field), "");
        }
        if value.len() > 128 {
            out.invalid(At::new(field), "", "can have at most 128 characters");
        }
    }
    if event.note.len() > 1024 {
        out.invalid(At::new("message"), "", "can have at most 1024 characters");
    }
}

pub(crate) fn event(event: &Event, old: Option<&Event>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    legacy(&Fields::of_events(event), &mut out);
    let series_changed = old.is_none_or(|old| old.series != event.series);
    if let Some(series) = event.series.as_ref().filter(|_| series_changed)
        && series.count < 2
    {
        out.invalid(At::new("series.count"), "", "should be at least 2");
    }
    match old {
        None => created(event, &mut out),
        Some(old) => updated(event, old, &mut out),
    }
    out.into_causes()
}

fn created(event: &Event, out: &mut Report) {
    if event.event_time.is_none() {
        out.required(At::new("eventTime"), "");
    }
    let kind = text(&event.type_);
    if !["Normal", "Warning"].contains(&kind) {
        out.invalid(At::new("type"), "", &format!("has invalid value: {kind}"));
    }
    let source = event.deprecated_source.as_ref();
    let has_source = source.is_some_and(|source| {
        !text(&source.component).is_empty() || !text(&source.host).is_empty()
    });
    for (field, set) in [
        ("firstTimestamp", event.deprecated_first_timestamp.is_some()),
        ("lastTimestamp", event.deprecated_last_timestamp.is_some()),
        ("count", event.deprecated_count.is_some_and(|count| count != 0)),
        ("source", has_source),
    ] {
        if set {
            out.invalid(At::new(field), "", "needs to be unset");
        }
    }
}

fn updated(event: &Event, old: &Event, out: &mut Report) {
    out.immutable(At::new("involvedObject"), &event.regarding, &old.regarding);
    out.immutable(At::new("reason"), &event.reason, &old.reason);
    out.immutable(At::new("message"), &event.note, &old.note);
    out.immutable(At::new("source"), &event.deprecated_source, &old.deprecated_source);
    out.immutable(At::new("count"), &event.deprecated_count, &old.deprecated_count);
    out.immutable(At::new("type"), &event.type_, &old.type_);
    out.immutable(At::new("eventTime"), &event.event_time, &old.event_time);
    out.immutable(At::new("action"), &event.action, &old.action);
    out.immutable(At::new("related"), &event.related, &old.related);
    let (controller, was) = (&event.reporting_controller, &old.reporting_controller);
    out.immutable(At::new("reportingController"), controller, was);
    let (instance, was) = (&event.reporting_instance, &old.reporting_instance);
    out.immutable(At::new("reportingInstance"), instance, was);
}
