//! What upstream fills in where a field of a pod, or of a template of pods, is absent.
//!
//! Source: kubernetes v1.36 `pkg/apis/core/v1/defaults.go` and its generated companion.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, EphemeralContainer, HTTPGetAction, Lifecycle,
    LifecycleHandler, Pod, PodSpec, PodTemplateSpec, Probe, ResourceFieldSelector,
    ResourceRequirements, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use super::{
    omit::{metadata, omit, text},
    volume,
};
use crate::quantity::{self, Quantity};

pub(crate) fn pod(pod: &mut Pod) {
    metadata(&mut pod.metadata);
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        requests_from_limits(container.resources.get_or_insert_default());
    }
    pod_level_requests(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        let inits = spec.init_containers.iter_mut().flatten();
        for container in spec.containers.iter_mut().chain(inits) {
            container.ports.iter_mut().flatten().for_each(host_port_from_container_port);
        }
    }
    pod.status.get_or_insert_default();
}

pub(super) fn template(template: &mut PodTemplateSpec) {
    metadata(template.metadata.get_or_insert_default());
    pod_spec(template.spec.get_or_insert_default());
}

fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(30);
    service_account(spec);
    omit_of_spec(spec);
    if let Some(context) = &mut spec.security_context {
        omit(&mut context.supplemental_groups);
        omit(&mut context.sysctls);
    }
    if let Some(overhead) = &mut spec.overhead {
        quantity::canonicalise_list(overhead);
    }
    if let Some(own) = &mut spec.resources {
        resources(own);
    }
    spec.volumes.iter_mut().flatten().for_each(volume::volume);
    spec.containers.iter_mut().for_each(container);
    spec.init_containers.iter_mut().flatten().for_each(container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral_container);
    for toleration in spec.tolerations.iter_mut().flatten() {
        omit(&mut toleration.effect);
        omit(&mut toleration.key);
        omit(&mut toleration.operator);
        omit(&mut toleration.value);
    }
    for alias in spec.host_aliases.iter_mut().flatten() {
        omit(&mut alias.hostnames);
    }
    if let Some(dns) = &mut spec.dns_config {
        omit(&mut dns.nameservers);
        omit(&mut dns.options);
        omit(&mut dns.searches);
    }
}

/// The old name of the account and the new one always say the same.
fn service_account(spec: &mut PodSpec) {
    omit(&mut spec.service_account);
    omit(&mut spec.service_account_name);
    if spec.service_account_name.is_none() {
        spec.service_account_name.clone_from(&spec.service_account);
    } else if spec.service_account != spec.service_account_name {
        spec.service_account.clone_from(&spec.service_account_name);
    }
}

fn omit_of_spec(spec: &mut PodSpec) {
    omit(&mut spec.ephemeral_containers);
    omit(&mut spec.host_aliases);
    omit(&mut spec.host_ipc);
    omit(&mut spec.host_network);
    omit(&mut spec.host_pid);
    omit(&mut spec.hostname);
    omit(&mut spec.image_pull_secrets);
    omit(&mut spec.init_containers);
    omit(&mut spec.node_name);
    omit(&mut spec.node_selector);
    omit(&mut spec.overhead);
    omit(&mut spec.priority_class_name);
    omit(&mut spec.readiness_gates);
    omit(&mut spec.resource_claims);
    omit(&mut spec.scheduling_gates);
    omit(&mut spec.subdomain);
    omit(&mut spec.tolerations);
    omit(&mut spec.topology_spread_constraints);
    omit(&mut spec.volumes);
}

/// The fields that containers of both sorts share, for they are two types with the same names.
macro_rules! container_fields {
    ($container:ident) => {
        if $container.image_pull_policy.as_ref().is_none_or(String::is_empty) {
            let image = $container.image.as_deref().unwrap_or_default();
            let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
            $container.image_pull_policy = Some(policy.to_owned());
        }
        text(&mut $container.termination_message_path, "/dev/termination-log");
        text(&mut $container.termination_message_policy, "File");
        resources($container.resources.get_or_insert_default());
        omit(&mut $container.args);
        omit(&mut $container.command);
        omit(&mut $container.env);
        omit(&mut $container.env_from);
        omit(&mut $container.image);
        omit(&mut $container.ports);
        omit(&mut $container.resize_policy);
        omit(&mut $container.stdin);
        omit(&mut $container.stdin_once);
        omit(&mut $container.tty);
        omit(&mut $container.volume_devices);
        omit(&mut $container.volume_mounts);
        omit(&mut $container.working_dir);
        $container.ports.iter_mut().flatten().for_each(port);
        $container.env.iter_mut().flatten().for_each(env);
        $container.volume_mounts.iter_mut().flatten().for_each(mount);
        for source in $container.env_from.iter_mut().flatten() {
            omit(&mut source.prefix);
        }
        let probes = [
            &mut $container.liveness_probe,
            &mut $container.readiness_probe,
            &mut $container.startup_probe,
        ];
        probes.into_iter().flatten().for_each(probe);
        if let Some(hooks) = &mut $container.lifecycle {
            lifecycle(hooks);
        }
        if let Some(context) = &mut $container.security_context
            && let Some(capabilities) = &mut context.capabilities
        {
            omit(&mut capabilities.add);
            omit(&mut capabilities.drop);
        }
    };
}

fn container(container: &mut Container) {
    container_fields!(container);
}

fn ephemeral_container(container: &mut EphemeralContainer) {
    container_fields!(container);
    omit(&mut container.target_container_name);
}

/// Whether the image's tag is `latest`, said or understood; a digest without a tag has none.
pub(super) fn is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest && !last.is_empty() && !last.contains(|c: char| c.is_ascii_uppercase()),
    }
}

fn resources(resources: &mut ResourceRequirements) {
    omit(&mut resources.claims);
    omit(&mut resources.limits);
    omit(&mut resources.requests);
    let lists = [&mut resources.limits, &mut resources.requests];
    lists.into_iter().flatten().for_each(quantity::canonicalise_list);
}

fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

/// A pod with limits of its own requests what its containers request, or else its limits.
fn pod_level_requests(spec: &mut PodSpec) {
    let Some(own) = &mut spec.resources else { return };
    let Some(limits) = &own.limits else { return };
    let requests = own.requests.get_or_insert_default();
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    for name in ["cpu", "memory"] {
        let lists = spec.containers.iter().chain(sidecars.clone());
        let lists = lists.filter_map(|c| c.resources.as_ref()?.requests.as_ref()?.get(name));
        let sum = lists.map(quantity::of).fold(Quantity::ZERO, |sum, each| sum + each);
        if !sum.is_zero() && !requests.contains_key(name) {
            requests.insert(name.to_owned(), sum.written());
        }
    }
    for (name, limit) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

fn host_port_from_container_port(port: &mut ContainerPort) {
    if port.host_port.is_none_or(|host_port| host_port == 0) {
        port.host_port = Some(port.container_port);
    }
}

fn port(port: &mut ContainerPort) {
    text(&mut port.protocol, "TCP");
    omit(&mut port.host_ip);
    omit(&mut port.host_port);
    omit(&mut port.name);
}

fn env(env: &mut EnvVar) {
    omit(&mut env.value);
    let Some(EnvVarSource { field_ref, resource_field_ref, .. }) = &mut env.value_from else {
        return;
    };
    if let Some(field) = field_ref {
        text(&mut field.api_version, "v1");
    }
    if let Some(resource) = resource_field_ref {
        divisor(resource);
    }
}

/// An absent divisor is printed as `0`, and means 1.
pub(super) fn divisor(resource: &mut ResourceFieldSelector) {
    omit(&mut resource.container_name);
    let divisor = resource.divisor.get_or_insert_with(|| Written("0".to_owned()));
    quantity::canonicalise(divisor);
}

fn mount(mount: &mut VolumeMount) {
    omit(&mut mount.read_only);
    omit(&mut mount.sub_path);
    omit(&mut mount.sub_path_expr);
}

fn probe(probe: &mut Probe) {
    at_least_one(&mut probe.timeout_seconds, 1);
    at_least_one(&mut probe.period_seconds, 10);
    at_least_one(&mut probe.success_threshold, 1);
    at_least_one(&mut probe.failure_threshold, 3);
    omit(&mut probe.initial_delay_seconds);
    if let Some(action) = &mut probe.http_get {
        http_get(action);
    }
    if let Some(action) = &mut probe.tcp_socket {
        omit(&mut action.host);
    }
    if let Some(action) = &mut probe.grpc {
        action.service.get_or_insert_default();
    }
    if let Some(action) = &mut probe.exec {
        omit(&mut action.command);
    }
}

/// Absent and zero are the same to upstream here.
fn at_least_one(field: &mut Option<i32>, default: i32) {
    if field.is_none_or(|value| value == 0) {
        *field = Some(default);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
    omit(&mut action.host);
    omit(&mut action.http_headers);
}

fn lifecycle(hooks: &mut Lifecycle) {
    let handlers = [&mut hooks.post_start, &mut hooks.pre_stop];
    for LifecycleHandler { http_get: get, tcp_socket, exec, .. } in handlers.into_iter().flatten() {
        if let Some(action) = get {
            http_get(action);
        }
        if let Some(action) = tcp_socket {
            omit(&mut action.host);
        }
        if let Some(action) = exec {
            omit(&mut action.command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_latest;

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.25", false),
            ("localhost:5000/nginx", true),
            ("localhost:5000/nginx:1", false),
            ("nginx@sha256:0123", false),
            ("nginx:latest@sha256:0123", true),
            ("", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
