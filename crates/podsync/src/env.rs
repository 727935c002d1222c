//! A container's environment: fields, resources, ConfigMaps, Secrets, Services, `$(VAR)`.

use std::{collections::BTreeMap, net::IpAddr};

use api::quantity::{Quantity, milli_of};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, ResourceFieldSelector, Service};
use thiserror::Error;

use crate::observed::{NodeSeen, Observed};

/// Why a container's settings cannot be made; shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Create the object, or mark the reference optional.
    #[error("{kind} \"{name}\" not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Add the key, or mark the reference optional.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// Which key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Correct the reference in the pod.
    #[error("{0}")]
    Reference(String),
    /// The pod asks for a user other than root and the image would run as root.
    #[error("{0}")]
    Root(String),
}

/// The environment in order: envFrom, env, then what Services add. Later names win.
///
/// Source: kubernetes v1.36 `pkg/kubelet/kubelet_pods.go`, `makeEnvironmentVariables`.
///
/// # Errors
/// [`ConfigError`] when a reference that is not optional leads nowhere.
pub fn environment(
    pod: &Pod,
    container: &Container,
    seen: &Observed,
    pod_addresses: &[IpAddr],
) -> Result<Vec<(String, String)>, ConfigError> {
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    let services = service_environment(&seen.services, namespace, links);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut set = |known: &mut BTreeMap<String, String>, name: String, value: String| {
        if !known.contains_key(&name) {
            order.push(name.clone());
        }
        known.insert(name, value);
    };
    for (name, value) in env_from(container, seen)? {
        set(&mut known, name, value);
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(_) => from_source(pod, container, variable, seen, pod_addresses)?,
            None => Some(expand(variable.value.as_deref().unwrap_or(""), |name| {
                known.get(name).or_else(|| services.get(name)).cloned()
            })),
        };
        if let Some(value) = value {
            set(&mut known, variable.name.clone(), value);
        }
    }
    let mut result: Vec<(String, String)> = order
        .into_iter()
        .filter_map(|name| known.get(&name).map(|value| (name.clone(), value.clone())))
        .collect();
    result.extend(services.into_iter().filter(|(name, _)| !known.contains_key(name)));
    Ok(result)
}

/// Replaces `$(NAME)`; `$$` is one dollar, an unknown name stays as written.
///
/// ```
/// let known = |name: &str| (name == "A").then(|| "1".to_owned());
/// assert_eq!(podsync::env::expand("$(A) $$(A) $(B) $A $(", known), "1 $(A) $(B) $A $(");
/// ```
pub fn expand(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match known(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn env_from(container: &Container, seen: &Observed) -> Result<Vec<(String, String)>, ConfigError> {
    let mut all = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or("");
        let mut pairs: Vec<(String, String)> = Vec::new();
        if let Some(reference) = &source.config_map_ref {
            let name = reference.name.as_str();
            match seen.config_maps.get(name).and_then(Option::as_ref) {
                Some(map) => pairs.extend(map.data.clone().into_iter().flatten()),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            let name = reference.name.as_str();
            match seen.secrets.get(name).and_then(Option::as_ref) {
                Some(secret) => pairs.extend(
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", name)),
            }
        }
        all.extend(
            pairs
                .into_iter()
                .map(|(key, value)| (format!("{prefix}{key}"), value))
                .filter(|(key, _)| !key.is_empty() && !key.contains('=')),
        );
    }
    Ok(all)
}

fn missing(kind: &'static str, name: &str) -> ConfigError {
    ConfigError::NoObject { kind, name: name.to_owned() }
}

fn from_source(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    seen: &Observed,
    pod_addresses: &[IpAddr],
) -> Result<Option<String>, ConfigError> {
    let Some(source) = &variable.value_from else {
        return Ok(None);
    };
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return pod_field(pod, &field.field_path, &seen.node, pod_addresses).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_field(pod, container, resource, &seen.node).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let Some(map) = seen.config_maps.get(&reference.name).and_then(Option::as_ref) else {
            let error = missing("configmap", &reference.name);
            return if optional { Ok(None) } else { Err(error) };
        };
        return match map.data.as_ref().and_then(|d| d.get(&reference.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(ConfigError::NoKey {
                key: reference.key.clone(),
                kind: "ConfigMap",
                namespace,
                name: reference.name.clone(),
            }),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let Some(secret) = seen.secrets.get(&reference.name).and_then(Option::as_ref) else {
            let error = missing("secret", &reference.name);
            return if optional { Ok(None) } else { Err(error) };
        };
        return match secret.data.as_ref().and_then(|d| d.get(&reference.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(ConfigError::NoKey {
                key: reference.key.clone(),
                kind: "Secret",
                namespace,
                name: reference.name.clone(),
            }),
        };
    }
    Ok(None)
}

/// One field of the pod as text, for environment and downward API alike.
///
/// # Errors
/// [`ConfigError::Reference`] where the path is none that upstream knows.
pub fn pod_field(
    pod: &Pod,
    path: &str,
    node: &NodeSeen,
    pod_addresses: &[IpAddr],
) -> Result<String, ConfigError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let join = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |all: &[IpAddr]| all.first().map(ToString::to_string).unwrap_or_default();
    let own = if spec.and_then(|s| s.host_network) == Some(true) {
        node.addresses.as_slice()
    } else {
        pod_addresses
    };
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(unknown_field(path)),
        };
        return Ok(values.and_then(|v| v.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" => first(&node.addresses),
        "status.hostIPs" => join(&node.addresses),
        "status.podIP" => first(own),
        "status.podIPs" => join(own),
        _ => return Err(unknown_field(path)),
    })
}

fn unknown_field(path: &str) -> ConfigError {
    ConfigError::Reference(format!("unsupported fieldPath: {path}"))
}

/// `metadata.labels['x']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key
        .strip_prefix('\'')
        .and_then(|k| k.strip_suffix('\''))
        .or_else(|| key.strip_prefix('"').and_then(|k| k.strip_suffix('"')))
        .unwrap_or(key);
    Some((map, key))
}

/// `key="value"` lines in key order, values quoted as Go quotes them.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A string in double quotes as Go's `%q` writes it, for printable text.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A container's request or limit as a whole number of divisors, rounded up.
///
/// # Errors
/// [`ConfigError::Reference`] for an unknown resource, container or divisor.
pub fn resource_field(
    pod: &Pod,
    container: &Container,
    selector: &ResourceFieldSelector,
    node: &NodeSeen,
) -> Result<String, ConfigError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let spec = pod.spec.as_ref();
    let container = match named {
        None => container,
        Some(name) => spec
            .into_iter()
            .flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()))
            .find(|c| c.name == name)
            .ok_or_else(|| ConfigError::Reference(format!("container {name} not found")))?,
    };
    let resources = container.resources.as_ref();
    let (which, name) =
        selector.resource.split_once('.').ok_or_else(|| unknown_resource(&selector.resource))?;
    let amount = match which {
        "limits" => match milli_of(resources.and_then(|r| r.limits.as_ref()), name) {
            0 if name == "cpu" => node.allocatable_cpu_milli,
            0 if name == "memory" => node.allocatable_memory_bytes.saturating_mul(1000),
            limit => limit,
        },
        "requests" => milli_of(resources.and_then(|r| r.requests.as_ref()), name),
        _ => return Err(unknown_resource(&selector.resource)),
    };
    let divisor = match &selector.divisor {
        None => 1000,
        Some(divisor) => match Quantity::parse(&divisor.0).map(Quantity::milli_value) {
            Ok(0) => 1000,
            Ok(value) if value > 0 => value,
            _ => return Err(ConfigError::Reference(format!("invalid divisor {}", divisor.0))),
        },
    };
    let value = amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) != 0);
    Ok(value.to_string())
}

fn unknown_resource(name: &str) -> ConfigError {
    ConfigError::Reference(format!("unsupported container resource : {name}"))
}

/// What Services add: hosts and ports of those in the pod's namespace, and of the API's own.
///
/// Source: kubernetes v1.36 `pkg/kubelet/envvars/envvars.go`.
#[must_use]
pub fn service_environment(
    services: &[Service],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or("");
        let at = service.metadata.namespace.as_deref().unwrap_or("");
        let master = at == "default" && name == "kubernetes";
        let own = at == namespace && links;
        if own || (master && !chosen.contains_key(name)) {
            chosen.insert(name, service);
        }
    }
    for (name, service) in chosen {
        add_service(&mut all, name, service);
    }
    all
}

fn add_service(all: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let Some(address) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")
    else {
        return;
    };
    let prefix = name.to_uppercase().replace('-', "_");
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    let Some(first) = ports.first() else { return };
    all.insert(format!("{prefix}_SERVICE_HOST"), address.to_owned());
    all.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = name.to_uppercase().replace('-', "_");
            all.insert(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string());
        }
    }
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (position, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if position == 0 {
            all.insert(format!("{prefix}_PORT"), url.clone());
        }
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        all.insert(format!("{base}_PROTO"), protocol.to_lowercase());
        all.insert(format!("{base}_PORT"), port.port.to_string());
        all.insert(format!("{base}_ADDR"), address.to_owned());
        all.insert(base, url);
    }
}
