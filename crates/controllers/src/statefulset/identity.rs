//! A pod's name, labels and volumes: what stays with it.

use std::collections::BTreeMap;

use api::k8s::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{PersistentVolumeClaimVolumeSource, Pod, Volume},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{revision::template, view::View};

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
const REVISION: &str = "controller-revision-hash";

/// The name of the pod with this ordinal (N1).
#[must_use]
pub fn pod_name(set: &str, ordinal: i64) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal in a pod's name, if it is exactly a member's: `web-7`, not `web-07`.
#[must_use]
pub fn member_ordinal(set: &str, pod: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let canonical = digits == "0" || !digits.starts_with('0');
    let ordinal: i32 = digits.parse().ok().filter(|_| plain && canonical)?;
    Some(i64::from(ordinal))
}

/// The name of the claim of one template for one pod (K1).
#[must_use]
pub fn claim_name(template: &str, set: &str, ordinal: i64) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// The pod of this ordinal at this revision, complete (N2 to N5).
///
/// The update revision is the set's own template, and needs no decoding.
pub(super) fn new_pod(
    view: &View,
    ordinal: i64,
    revision: &ControllerRevision,
    current: bool,
) -> Pod {
    let own = || view.spec().template.clone();
    let template = if current { template(revision).unwrap_or_else(own) } else { own() };
    let name = pod_name(view.name(), ordinal);
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(REVISION.to_owned(), revision.metadata.name.clone().unwrap_or_default());
    let mut spec = template.spec.unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = view.spec().service_name.clone().filter(|service| !service.is_empty());
    spec.volumes = Some(volumes(view, ordinal, spec.volumes.take().unwrap_or_default()))
        .filter(|volumes| !volumes.is_empty());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{}-", view.name())),
            namespace: view.set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![view.controller_ref()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// The labels that a pod's identity lacks (N7); departs from upstream in minding the index alone.
pub(super) fn missing_labels(pod: &Pod, ordinal: i64) -> BTreeMap<&'static str, String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    let wanted = [(POD_NAME, name), (POD_INDEX, ordinal.to_string())];
    let lacks = |(label, value): &(&str, String)| {
        labels.and_then(|labels| labels.get(*label)) != Some(value)
    };
    wanted.into_iter().filter(lacks).collect()
}

/// Whether each claim template has its volume in the pod (N8).
pub(super) fn storage_matches(view: &View, pod: &Pod, ordinal: i64) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    templates(view).all(|template| {
        let claim = claim_name(template, view.name(), ordinal);
        volumes.into_iter().flatten().any(|volume| {
            let source = volume.persistent_volume_claim.as_ref();
            volume.name == template && source.is_some_and(|source| source.claim_name == claim)
        })
    })
}

/// The pod's volumes with every claim in its place, in the templates' order (N5).
pub(super) fn volumes(view: &View, ordinal: i64, others: Vec<Volume>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for template in templates(view) {
        if volumes.iter().any(|volume| volume.name == template) {
            continue; // Two templates of one name share one claim.
        }
        volumes.push(Volume {
            name: template.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(template, view.name(), ordinal),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    let claimed = volumes.len();
    for other in others {
        if volumes[..claimed].iter().all(|volume| volume.name != other.name) {
            volumes.push(other);
        }
    }
    volumes
}

/// The names of the claim templates, in order.
pub(super) fn templates(view: &View) -> impl Iterator<Item = &str> {
    let templates = view.spec().volume_claim_templates.iter().flatten();
    templates.map(|template| template.metadata.name.as_deref().unwrap_or_default())
}

/// Which revision a pod that fills a hole gets (N6).
pub(super) fn wants_current(view: &View, ordinal: i64) -> bool {
    if !view.rolling() {
        return false;
    }
    let Some(position) = view.position(ordinal) else { return false };
    match view.partition() {
        Some(partition) => position < partition,
        // Where broken pods are replaced at once, those would come back as they were.
        None if view.rules.as_ref().is_some_and(|rules| rules.replace_broken) => false,
        None => {
            let status = view.set.status.as_ref();
            let current = status.and_then(|status| status.current_replicas).unwrap_or(0);
            position < i64::from(current)
        }
    }
}
