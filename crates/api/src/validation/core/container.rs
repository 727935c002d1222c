//! What is wrong with a container of any of the three sorts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, EnvFromSource, EnvVar, EphemeralContainer,
    ObjectFieldSelector, ResourceFieldSelector, ResourceRequirements, SecurityContext,
    VolumeDevice, VolumeMount,
};

use super::{
    mount,
    resources::{self, Holder},
    security,
    volume::Known,
};
use crate::{
    names,
    quantity::{self, Quantity},
    validation::report::{At, Report, items, text},
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// What containers of all sorts have; the sorts are two types with the same fields.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    name: &'a str,
    image: &'a str,
    termination_message_policy: &'a str,
    pull_policy: &'a str,
    ports: &'a [ContainerPort],
    env: &'a [EnvVar],
    env_from: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
    devices: &'a [VolumeDevice],
    resize: &'a [ContainerResizePolicy],
    resources: Option<&'a ResourceRequirements>,
    security: Option<&'a SecurityContext>,
}

macro_rules! fields_of {
    ($container:expr) => {
        Fields {
            name: &$container.name,
            image: text(&$container.image),
            termination_message_policy: text(&$container.termination_message_policy),
            pull_policy: text(&$container.image_pull_policy),
            ports: items(&$container.ports),
            env: items(&$container.env),
            env_from: items(&$container.env_from),
            mounts: items(&$container.volume_mounts),
            devices: items(&$container.volume_devices),
            resize: items(&$container.resize_policy),
            resources: $container.resources.as_ref(),
            security: $container.security_context.as_ref(),
        }
    };
}

impl<'a> From<&'a Container> for Fields<'a> {
    fn from(container: &'a Container) -> Self {
        fields_of!(container)
    }
}

impl<'a> From<&'a EphemeralContainer> for Fields<'a> {
    fn from(container: &'a EphemeralContainer) -> Self {
        fields_of!(container)
    }
}

/// What of the pod its containers are judged against.
#[derive(Debug)]
pub(super) struct Around<'a> {
    /// Volumes that mounts may name.
    pub(super) volumes: BTreeMap<&'a str, Known>,
    /// Names of `spec.resourceClaims`.
    pub(super) claims: BTreeSet<&'a str>,
    /// `spec.terminationGracePeriodSeconds`.
    pub(super) grace_s: Option<i64>,
    /// `spec.restartPolicy`.
    pub(super) restart_policy: &'a str,
    /// Whether users are the host's.
    pub(super) host_users: bool,
    /// `spec.os.name`; empty when not said.
    pub(super) os: &'a str,
}

/// What every container must have right.
pub(super) fn any_sort(container: &Fields<'_>, around: &Around<'_>, at: At<'_>, out: &mut Report) {
    if container.name.is_empty() {
        out.required(at.field("name"), "");
    } else {
        out.faults(at.field("name"), container.name, names::dns_label(container.name));
    }
    if container.image.is_empty() {
        out.required(at.field("image"), "");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = container.termination_message_policy;
    out.choice(at.field("terminationMessagePolicy"), policy, &policies);
    ports(container.ports, at.field("ports"), out);
    env(container.env, at.field("env"), out);
    env_from(container.env_from, at.field("envFrom"), out);
    let (mounts, devices) = (container.mounts, container.devices);
    let at_mounts = at.field("volumeMounts");
    mount::mounts(mounts, devices, &around.volumes, container.security, at_mounts, out);
    mount::devices(devices, mounts, &around.volumes, at.field("volumeDevices"), out);
    let pull_policies = ["Always", "IfNotPresent", "Never"];
    out.choice(at.field("imagePullPolicy"), container.pull_policy, &pull_policies);
    if let Some(resources) = container.resources {
        let at = at.field("resources");
        resources::requirements(resources, Holder::Container, &around.claims, at, out);
    }
    resize(container.resize, around.restart_policy, at.field("resizePolicy"), out);
    if let Some(context) = container.security {
        security::container(context, around.host_users, at.field("securityContext"), out);
    }
}

/// What is asked of pods but not of templates.
pub(super) fn of_pod_only(image: &str, at: At<'_>, out: &mut Report) {
    if image.trim() != image {
        out.invalid(at.field("image"), image, "must not have leading or trailing whitespace");
    }
}

fn ports(ports: &[ContainerPort], at: At<'_>, out: &mut Report) {
    for (index, port) in ports.iter().enumerate() {
        let item = at.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let faults = names::port_name(name);
            if faults.is_empty() && ports[..index].iter().any(|other| other.name == port.name) {
                out.duplicate(item.field("name"), name);
            }
            out.faults(item.field("name"), name, faults);
        }
        if port.container_port == 0 {
            out.required(item.field("containerPort"), "");
        } else {
            port_number(port.container_port, item.field("containerPort"), out);
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            port_number(number, item.field("hostPort"), out);
        }
        out.choice(item.field("protocol"), text(&port.protocol), &PROTOCOLS);
    }
}

fn port_number(number: i32, at: At<'_>, out: &mut Report) {
    for fault in names::port_number(number) {
        out.invalid(at, number, &fault);
    }
}

/// A port of the host that two containers (of those given) would take.
pub(super) fn host_ports<'a>(
    containers: impl Iterator<Item = (usize, &'a [ContainerPort])>,
    at: At<'_>,
    out: &mut Report,
) {
    let mut taken = BTreeSet::new();
    for (container, ports) in containers {
        for (index, port) in ports.iter().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let key = (text(&port.protocol), text(&port.host_ip), number);
            if !taken.insert(key) {
                let at = at.index(container);
                let list = at.field("ports");
                let value = format!("{}/{}/{}", key.0, key.1, key.2);
                out.duplicate(list.index(index).field("hostPort"), value);
            }
        }
    }
}

fn env(list: &[EnvVar], at: At<'_>, out: &mut Report) {
    for (index, variable) in list.iter().enumerate() {
        let item = at.index(index);
        if variable.name.is_empty() {
            out.required(item.field("name"), "");
        } else {
            out.faults(item.field("name"), &variable.name, names::env_name(&variable.name));
        }
        value_from(variable, item.field("valueFrom"), out);
    }
}

fn value_from(variable: &EnvVar, at: At<'_>, out: &mut Report) {
    let Some(source) = &variable.value_from else { return };
    let mut count = 0;
    if let Some(field) = &source.field_ref {
        count += 1;
        field_ref(field, false, at.field("fieldRef"), out);
    }
    if let Some(resource) = &source.resource_field_ref {
        count += 1;
        resource_field_ref(resource, false, at.field("resourceFieldRef"), out);
    }
    if let Some(key) = &source.config_map_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, at.field("configMapKeyRef"), out);
    }
    if let Some(key) = &source.secret_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, at.field("secretKeyRef"), out);
    }
    if source.file_key_ref.is_some() {
        count += 1;
    }
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                   `secretKeyRef` or `fileKeyRef`";
        out.invalid(at, "", why);
    } else if !text(&variable.value).is_empty() {
        out.invalid(at, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        out.invalid(at, "", "may not have more than one field specified at a time");
    }
}

fn key_ref(name: &str, key: &str, at: At<'_>, out: &mut Report) {
    out.faults(at.field("name"), name, names::dns_subdomain(name));
    if key.is_empty() {
        out.required(at.field("key"), "");
    } else {
        out.faults(at.field("key"), key, names::config_key(key));
    }
}

/// A field of the pod, for the environment or, with `in_volume`, for a file.
pub(super) fn field_ref(
    field: &ObjectFieldSelector,
    in_volume: bool,
    at: At<'_>,
    out: &mut Report,
) {
    let path = field.field_path.as_str();
    if text(&field.api_version).is_empty() {
        out.required(at.field("apiVersion"), "");
        return;
    }
    if path.is_empty() {
        out.required(at.field("fieldPath"), "");
        return;
    }
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        match map {
            "metadata.annotations" => {
                let key = key.to_ascii_lowercase();
                out.faults(at, &key, names::qualified_name(&key));
            }
            "metadata.labels" => out.faults(at, key, names::qualified_name(key)),
            other => out.invalid(at, other, "does not support subscript"),
        }
        return;
    }
    if !ENV_FIELDS.contains(&path) && !VOLUME_FIELDS.contains(&path) {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        out.invalid(at.field("fieldPath"), path, &why);
        return;
    }
    let known: &[&str] = if in_volume { &VOLUME_FIELDS } else { &ENV_FIELDS };
    out.known(at.field("fieldPath"), path, known);
}

/// A resource of a container, for the environment or, with `in_volume`, for a file.
pub(super) fn resource_field_ref(
    selector: &ResourceFieldSelector,
    in_volume: bool,
    at: At<'_>,
    out: &mut Report,
) {
    let resource = selector.resource.as_str();
    let huge =
        resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && text(&selector.container_name).is_empty() {
        out.required(at.field("containerName"), "");
    } else if resource.is_empty() {
        out.required(at.field("resource"), "");
    } else if !huge {
        out.known(at.field("resource"), resource, &RESOURCE_FIELDS);
    }
    let Some(divisor) = &selector.divisor else { return };
    if quantity::of(divisor) == Quantity::ZERO {
        return;
    }
    let sizes = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let what = match resource {
        "limits.cpu" | "requests.cpu" => {
            if !["1m", "1"].contains(&divisor.0.as_str()) {
                let why = "only divisor's values 1m and 1 are supported with the cpu resource";
                out.invalid(at.field("divisor"), resource, why);
            }
            return;
        }
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if huge => "hugepages",
        _ => return,
    };
    if !sizes.contains(&divisor.0.as_str()) {
        let sizes = sizes.join(", ");
        let why = format!("only divisor's values {sizes} are supported with the {what} resource");
        out.invalid(at.field("divisor"), resource, &why);
    }
}

fn env_from(list: &[EnvFromSource], at: At<'_>, out: &mut Report) {
    for (index, source) in list.iter().enumerate() {
        let item = at.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            out.faults(item.field("prefix"), prefix, names::env_name(prefix));
        }
        let named = [
            ("configMapRef", source.config_map_ref.as_ref().map(|from| &from.name)),
            ("secretRef", source.secret_ref.as_ref().map(|from| &from.name)),
        ];
        let named = named.into_iter().filter_map(|(field, name)| Some((field, name?)));
        let mut count = 0;
        for (field, name) in named {
            count += 1;
            let at = item.field(field);
            if name.is_empty() {
                out.required(at.field("name"), "");
            } else {
                let faults = names::dns_subdomain(&names::unprefixed(name));
                out.faults(at.field("name"), name, faults);
            }
        }
        match count {
            0 => out.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => out.invalid(at, "", "may not have more than one field specified at a time"),
        }
    }
}

fn resize(list: &[ContainerResizePolicy], restart_policy: &str, at: At<'_>, out: &mut Report) {
    for (index, policy) in list.iter().enumerate() {
        if list[..index].iter().any(|other| other.resource_name == policy.resource_name) {
            out.duplicate(at.index(index), &*policy.resource_name);
        }
        out.choice(at, &policy.resource_name, &["cpu", "memory"]);
        out.choice(at, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            out.invalid(at, &*policy.restart_policy, why);
        }
    }
}
