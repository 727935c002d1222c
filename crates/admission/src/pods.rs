//! What a new pod is given: account and token, priority, tolerations.

use api::{
    ApiError, Object,
    k8s::api::core::v1::{
        ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
        ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount,
        ServiceAccountTokenProjection, Toleration, Volume, VolumeMount, VolumeProjection,
    },
    k8s::api::scheduling::v1::PriorityClass,
    names,
};

use crate::{Lookup, Operation, Request, typed, typed_mut};

/// Where containers find their token.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds a token lives: an hour, and the seven by which upstream tells them from others.
const TOKEN_S: i64 = 3607;
/// Seconds a pod stays on a node that does not answer.
const TOLERATION_S: i64 = 300;

/// Fills in a new pod, or refuses it.
pub(crate) fn admit(
    request: &Request<'_>,
    object: &mut dyn Object,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    if let Some(class) = typed::<PriorityClass>(object) {
        return one_default(request, class, lookup);
    }
    if !request.creates() {
        return Ok(());
    }
    let Some(pod) = typed_mut::<Pod>(object) else { return Ok(()) };
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    account(request, spec, lookup)?;
    priority(request, spec, lookup)?;
    tolerations(spec);
    Ok(())
}

/// `ServiceAccount`: the account, its pull secrets, its token.
fn account(request: &Request<'_>, spec: &mut PodSpec, lookup: &dyn Lookup) -> Result<(), ApiError> {
    let named = spec.service_account_name.clone().filter(|name| !name.is_empty());
    let name = named.unwrap_or_else(|| "default".to_owned());
    let namespace = request.namespace;
    let Some(account) = lookup.service_account(namespace, &name) else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        );
        return Err(request.forbidden(&why));
    };
    spec.service_account_name = Some(name.clone());
    spec.service_account = Some(name);
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets =
            account.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty());
    }
    if wants_token(spec, &account) {
        give_token(request, spec);
    }
    Ok(())
}

fn wants_token(spec: &PodSpec, account: &ServiceAccount) -> bool {
    spec.automount_service_account_token.or(account.automount_service_account_token).unwrap_or(true)
}

fn containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

/// A volume with a token, mounted in every container that mounts nothing there itself.
fn give_token(request: &Request<'_>, spec: &mut PodSpec) {
    let volumes = spec.volumes.get_or_insert_default();
    let known = volumes.iter().find(|volume| volume.name.starts_with("kube-api-access-"));
    let known = known.map(|volume| volume.name.clone());
    let name =
        known.clone().unwrap_or_else(|| names::generated("kube-api-access-", request.chance));
    let mut mounted = false;
    for container in containers(spec) {
        let mounts = container.volume_mounts.get_or_insert_default();
        if mounts.iter().any(|mount| mount.mount_path == TOKEN_FOLDER) {
            continue;
        }
        mounts.push(VolumeMount {
            name: name.clone(),
            mount_path: TOKEN_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        mounted = true;
    }
    let volumes = spec.volumes.get_or_insert_default();
    if mounted && known.is_none() {
        volumes.push(token_volume(name));
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
}

fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        expiration_seconds: Some(TOKEN_S),
        path: "token".to_owned(),
        audience: None,
    };
    let item = KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None };
    let root_ca = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![item]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(root_ca), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    Volume {
        name,
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o644),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

/// `Priority`: the number behind the class.
fn priority(
    request: &Request<'_>,
    spec: &mut PodSpec,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    let named = spec.priority_class_name.clone().filter(|name| !name.is_empty());
    let class = match &named {
        Some(name) => Some(lookup.priority_class(name).ok_or_else(|| {
            request.forbidden(&format!("no PriorityClass with name {name} was found"))
        })?),
        None => default_class(lookup),
    };
    let value = class.as_ref().and_then(|class| class.value).unwrap_or(0);
    if let Some(given) = spec.priority.filter(|given| *given != value) {
        return Err(request.forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        )));
    }
    spec.priority = Some(value);
    let policy = class.as_ref().and_then(|class| class.preemption_policy.clone());
    let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
    if let Some(given) = spec.preemption_policy.as_ref().filter(|given| **given != policy) {
        return Err(request.forbidden(&format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    spec.preemption_policy = Some(policy);
    if named.is_none() {
        spec.priority_class_name = class.and_then(|class| class.metadata.name);
    }
    Ok(())
}

/// The class for pods that name none; of several the one with the lowest value.
fn default_class(lookup: &dyn Lookup) -> Option<PriorityClass> {
    let classes = lookup.priority_classes().into_iter();
    classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
}

/// Only one class may be the default.
fn one_default(
    request: &Request<'_>,
    class: &PriorityClass,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    if request.operation == Operation::Delete || class.global_default != Some(true) {
        return Ok(());
    }
    match default_class(lookup) {
        Some(other) if other.metadata.name != class.metadata.name => {
            let name = other.metadata.name.unwrap_or_default();
            Err(request.forbidden(&format!(
                "PriorityClass {name} is already marked as default. Only one default can exist"
            )))
        }
        _ => Ok(()),
    }
}

/// `DefaultTolerationSeconds`: a pod stays a while on a node that does not answer.
fn tolerations(spec: &mut PodSpec) {
    let tolerations = spec.tolerations.get_or_insert_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let borne = tolerations.iter().any(|toleration| {
            let named = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (named == key || named.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !borne {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(TOLERATION_S),
                value: None,
            });
        }
    }
}
