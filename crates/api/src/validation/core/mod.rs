//! What is wrong with an object or a change, in upstream's words. The `core` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/core/validation/validation.go`.

mod address;
mod container;
mod keys;
mod mount;
mod node;
mod placement;
pub(super) mod pod;
mod pod_update;
mod probe;
mod projected;
mod quota;
mod resources;
mod security;
mod service;
pub(super) mod storage;
mod volume;

pub(super) use address::non_special_ip;
pub(crate) use keys::{config_map, secret};
pub(crate) use node::{namespace, node, service_account};
pub(crate) use pod::pod;
pub(crate) use quota::{limit_range, resource_quota};
pub(crate) use service::{endpoints, service};
pub(crate) use storage::{persistent_volume, persistent_volume_claim};

use k8s_openapi::api::core::v1::Event;

use super::{events, report::Report};
use crate::{field::Cause, resource::Part};

pub(crate) fn event(event: &Event, _: Option<&Event>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    events::legacy(&events::Fields::of_core(event), &mut out);
    out.into_causes()
}
