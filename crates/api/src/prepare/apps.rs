//! What clients may not write: dropped, kept from the stored object, or set. The `apps` group.

use k8s_openapi::{
    api::apps::v1::{
        ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec,
        StatefulSetStatus,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{generation, metadata};
use crate::resource::Part;

pub(crate) fn controller_revision(
    revision: &mut ControllerRevision,
    old: Option<&ControllerRevision>,
    _: Part,
) {
    metadata(&mut revision.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn stateful_set(set: &mut StatefulSet, old: Option<&StatefulSet>, part: Part) {
    let old_spec = old.and_then(|old| old.spec.as_ref());
    if let Some(spec) = &mut set.spec {
        drop_max_unavailable(spec, old_spec);
    }
    prepared(set, old, old_spec, part);
}

/// With the gate `MaxUnavailableStatefulSet` open: the field is kept, and defaulted (D5). A stored
/// object that lacks it is read as if it had the default, so that filling it in is no change.
pub(crate) fn stateful_set_with_max_unavailable(
    set: &mut StatefulSet,
    old: Option<&StatefulSet>,
    part: Part,
) {
    let mut old_spec = old.and_then(|old| old.spec.clone());
    for spec in [&mut set.spec, &mut old_spec].into_iter().flatten() {
        default_max_unavailable(spec);
    }
    prepared(set, old, old_spec.as_ref(), part);
}

fn prepared(
    set: &mut StatefulSet,
    old: Option<&StatefulSet>,
    old_spec: Option<&StatefulSetSpec>,
    part: Part,
) {
    metadata(&mut set.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => {
            generation(&mut set.metadata, None, true);
            let status =
                StatefulSetStatus { available_replicas: Some(0), ..StatefulSetStatus::default() };
            set.status = Some(status);
        }
        (Some(old), Part::Main) => {
            set.status.clone_from(&old.status);
            let changed = set.spec.as_ref() != old_spec;
            generation(&mut set.metadata, Some(&old.metadata), changed);
        }
        (Some(old), Part::Status) => set.spec.clone_from(&old.spec),
    }
}

fn default_max_unavailable(spec: &mut StatefulSetSpec) {
    if let Some(strategy) = &mut spec.update_strategy
        && strategy.type_.as_deref() == Some("RollingUpdate")
        && let Some(rolling) = &mut strategy.rolling_update
    {
        rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
    }
}

/// The gate `MaxUnavailableStatefulSet` is off in 1.36: the field stays only where it was stored.
fn drop_max_unavailable(spec: &mut StatefulSetSpec, old: Option<&StatefulSetSpec>) {
    let in_use = |spec: &StatefulSetSpec| {
        let rolling = spec.update_strategy.as_ref().and_then(|own| own.rolling_update.as_ref());
        rolling.is_some_and(|rolling| rolling.max_unavailable.is_some())
    };
    if old.is_some_and(in_use) {
        return;
    }
    if let Some(strategy) = &mut spec.update_strategy
        && let Some(RollingUpdateStatefulSetStrategy { max_unavailable, .. }) =
            &mut strategy.rolling_update
    {
        *max_unavailable = None;
    }
}
