//! The columns of `kubectl get` and their cells. The `apps` group.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::Container,
};
use serde_json::Value;

use super::{AGE, NAME, age_of, name, or_empty, text, wide};
use crate::resource::Column;

pub(crate) static CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", "Controller of the object"),
    text("Revision", "Revision indicates the revision of the state represented by Data."),
    AGE,
];

pub(crate) static STATEFUL_SET: &[Column] = &[
    NAME,
    text("Ready", "Number of the pod with ready state"),
    AGE,
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
];

pub(crate) fn controller_revision(it: &ControllerRevision, now: Timestamp) -> Vec<Value> {
    let owners = it.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    let controller = controller.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let kind = owner.kind.to_lowercase();
            match owner.api_version.split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
                None => format!("{kind}/{}", owner.name),
            }
        },
    );
    vec![name(&it.metadata), controller.into(), it.revision.into(), age_of(&it.metadata, now)]
}

pub(crate) fn stateful_set(it: &StatefulSet, now: Timestamp) -> Vec<Value> {
    let ready = it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let wanted = it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let template = it.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers: &[Container] = template.map_or(&[], |spec| &spec.containers);
    let names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
    let images: Vec<String> = containers.iter().map(|one| or_empty(one.image.as_ref())).collect();
    vec![
        name(&it.metadata),
        format!("{ready}/{wanted}").into(),
        age_of(&it.metadata, now),
        names.join(",").into(),
        images.join(",").into(),
    ]
}
