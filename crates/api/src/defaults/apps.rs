//! What upstream fills in where a field is absent. The `apps` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/apps/v1/defaults.go`.

use k8s_openapi::api::apps::v1::{
    ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus,
};

use super::{
    omit::{metadata, omit, text},
    pod, volume,
};

pub(crate) fn controller_revision(revision: &mut ControllerRevision) {
    metadata(&mut revision.metadata);
}

pub(crate) fn stateful_set(set: &mut StatefulSet) {
    metadata(&mut set.metadata);
    let spec = set.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    text(&mut spec.pod_management_policy, "OrderedReady");
    update_strategy(spec);
    let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    text(&mut retention.when_deleted, "Retain");
    text(&mut retention.when_scaled, "Retain");
    spec.service_name.get_or_insert_default();
    omit(&mut spec.min_ready_seconds);
    omit(&mut spec.volume_claim_templates);
    pod::template(&mut spec.template);
    spec.volume_claim_templates.iter_mut().flatten().for_each(volume::persistent_volume_claim);
    status(set.status.get_or_insert_default());
}

/// An absent type brings `rollingUpdate` with it; a given one does not.
fn update_strategy(spec: &mut StatefulSetSpec) {
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_ref().is_none_or(String::is_empty) {
        strategy.type_ = Some("RollingUpdate".to_owned());
        strategy.rolling_update.get_or_insert_default();
    }
    if strategy.type_.as_deref() == Some("RollingUpdate")
        && let Some(rolling) = &mut strategy.rolling_update
    {
        rolling.partition.get_or_insert(0);
    }
}

fn status(status: &mut StatefulSetStatus) {
    status.available_replicas.get_or_insert(0);
    omit(&mut status.conditions);
    omit(&mut status.current_replicas);
    omit(&mut status.current_revision);
    omit(&mut status.ready_replicas);
    omit(&mut status.update_revision);
    omit(&mut status.updated_replicas);
    if status.observed_generation == Some(0) {
        status.observed_generation = None;
    }
}
