//! The columns of `kubectl get` and their cells. The `events.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{age, core, name, or_empty};
use crate::resource::Column;

pub(crate) static EVENT: &[Column] = core::EVENT;

pub(crate) fn event(it: &Event, now: Timestamp) -> Vec<Value> {
    let source = it.deprecated_source.as_ref();
    let series = it.series.as_ref();
    row(
        &Seen {
            meta: &it.metadata,
            kind: &it.type_,
            reason: &it.reason,
            about: it.regarding.as_ref(),
            component: source.and_then(|source| source.component.as_ref()),
            host: source.and_then(|source| source.host.as_ref()),
            controller: it.reporting_controller.as_ref(),
            instance: it.reporting_instance.as_ref(),
            message: it.note.as_deref().unwrap_or_default(),
            first: it.deprecated_first_timestamp.as_ref().map(|time| time.0),
            last: it.deprecated_last_timestamp.as_ref().map(|time| time.0),
            at: it.event_time.as_ref().map(|time| time.0),
            series: series.map(|series| (Some(series.last_observed_time.0), series.count)),
            count: it.deprecated_count.unwrap_or(0),
        },
        now,
    )
}

/// What a row shows of an event of either group.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) kind: &'a Option<String>,
    pub(crate) reason: &'a Option<String>,
    pub(crate) about: Option<&'a ObjectReference>,
    pub(crate) component: Option<&'a String>,
    pub(crate) host: Option<&'a String>,
    pub(crate) controller: Option<&'a String>,
    pub(crate) instance: Option<&'a String>,
    pub(crate) message: &'a str,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) series: Option<(Option<Timestamp>, i32)>,
    pub(crate) count: i32,
}

pub(crate) fn row(it: &Seen<'_>, now: Timestamp) -> Vec<Value> {
    let first = it.first.or(it.at);
    let (last, count) = match it.series {
        Some((last, count)) => (last, count),
        // One that happened once has no count in the newer group.
        None => (it.last.or(first), it.count.max(1)),
    };
    let kind = it.about.and_then(|about| about.kind.as_ref()).map(|kind| kind.to_lowercase());
    let target = match it.about.and_then(|about| about.name.as_deref()).unwrap_or_default() {
        "" => kind.unwrap_or_default(),
        name => format!("{}/{name}", kind.unwrap_or_default()),
    };
    let said = |word: Option<&String>| word.filter(|word| !word.is_empty()).cloned();
    let mut source = said(it.component).or_else(|| said(it.controller)).unwrap_or_default();
    if let Some(host) = said(it.host).or_else(|| said(it.instance)) {
        source = format!("{source}, {host}");
    }
    vec![
        age::since(last, now).into(),
        or_empty(it.kind.as_ref()).into(),
        or_empty(it.reason.as_ref()).into(),
        target.into(),
        or_empty(it.about.and_then(|about| about.field_path.as_ref())).into(),
        source.into(),
        it.message.trim().into(),
        age::since(first, now).into(),
        count.into(),
        name(it.meta),
    ]
}
