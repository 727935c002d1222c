//! What is wrong with the rights that a pod or a container asks for.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::volume::descending_path;
use crate::{
    names,
    validation::report::{At, Report, items, text},
};

const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn pod(spec: &PodSpec, at_spec: At<'_>, out: &mut Report) {
    let Some(context) = &spec.security_context else { return };
    let at = at_spec.field("securityContext");
    for (field, id) in [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ] {
        if let Some(id) = id {
            user(id, at.field(field), out);
        }
    }
    for (index, group) in items(&context.supplemental_groups).iter().enumerate() {
        user(*group, at.field("supplementalGroups").index(index), out);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        out.invalid(at.field("shareProcessNamespace"), true, why);
    }
    sysctls(context, spec, at.field("sysctls"), out);
    if let Some(policy) = &context.fs_group_change_policy {
        out.known(at.field("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    seccomp(context.seccomp_profile.as_ref(), at.field("seccompProfile"), out);
    app_armor(context.app_armor_profile.as_ref(), at.field("appArmorProfile"), out);
    if let Some(policy) = &context.supplemental_groups_policy {
        out.known(at.field("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(policy) = &context.se_linux_change_policy {
        out.known(at.field("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
    }
}

pub(super) fn container(context: &SecurityContext, host_users: bool, at: At<'_>, out: &mut Report) {
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        if let Some(id) = id {
            user(id, at.field(field), out);
        }
    }
    if let Some(kind) = &context.proc_mount {
        out.known(at.field("procMount"), kind, &["Default", "Unmasked"]);
        if host_users && kind == "Unmasked" {
            let why = "`hostUsers` must be false to use `Unmasked`";
            out.invalid(at.field("procMount"), &**kind, why);
        }
    }
    seccomp(context.seccomp_profile.as_ref(), at.field("seccompProfile"), out);
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            out.invalid_object(at, context, why);
        }
        let added = context.capabilities.as_ref().map(|set| items(&set.add)).unwrap_or_default();
        if added.iter().any(|name| name == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                       CAP_SYS_ADMIN";
            out.invalid_object(at, context, why);
        }
    }
    app_armor(context.app_armor_profile.as_ref(), at.field("appArmorProfile"), out);
}

fn user(id: i64, at: At<'_>, out: &mut Report) {
    for fault in names::user_id(id) {
        out.invalid(at, id, &fault);
    }
}

fn sysctls(context: &PodSecurityContext, spec: &PodSpec, at: At<'_>, out: &mut Report) {
    let list = items(&context.sysctls);
    for (index, sysctl) in list.iter().enumerate() {
        let item = at.index(index);
        let (at, name) = (item.field("name"), sysctl.name.as_str());
        if name.is_empty() {
            out.required(at, "");
        } else if !is_sysctl(name) {
            out.invalid(at, name, SYSCTL);
        } else if list[..index].iter().any(|earlier| earlier.name == sysctl.name) {
            out.duplicate(at, name);
        }
        let dotted = name.replace('/', ".");
        if spec.host_network == Some(true) && dotted.starts_with("net.") {
            out.invalid(at, name, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if spec.host_ipc == Some(true) && ipc.iter().any(|prefix| dotted.starts_with(prefix)) {
            out.invalid(at, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: &u8| edge(b) || matches!(b, b'-' | b'_');
    name.len() <= 253
        && name.split(['.', '/']).map(str::as_bytes).all(|part| {
            part.first().is_some_and(edge)
                && part.last().is_some_and(edge)
                && part.iter().all(inner)
        })
}

fn seccomp(profile: Option<&SeccompProfile>, at: At<'_>, out: &mut Report) {
    let Some(profile) = profile else { return };
    let known = ["Localhost", "RuntimeDefault", "Unconfined"];
    if profile.type_.is_empty() {
        out.required(at.field("type"), "type is required when seccompProfile is set");
    } else {
        out.known(at.field("type"), &profile.type_, &known);
    }
    let at_file = at.field("localhostProfile");
    match (profile.type_ == "Localhost", &profile.localhost_profile) {
        (true, None) => out.required(at_file, "must be set when seccomp type is Localhost"),
        (true, Some(file)) => descending_path(file, at_file, out),
        (false, None) => {}
        (false, Some(_)) => {
            let why = "can only be set when seccomp type is Localhost";
            out.invalid_object(at_file, profile, why);
        }
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, at: At<'_>, out: &mut Report) {
    let Some(profile) = profile else { return };
    let at_file = at.field("localhostProfile");
    let file = text(&profile.localhost_profile);
    match profile.type_.as_str() {
        "Localhost" => {
            if file.trim() != file {
                out.invalid(at_file, file, "must not be padded with whitespace");
            } else if file.is_empty() {
                out.required(at_file, "must be set when AppArmor type is Localhost");
            }
            if file.len() > 4095 {
                out.too_long(at_file, 4095);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.localhost_profile.is_some() {
                out.invalid(at_file, file, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => out.required(at.field("type"), "type is required when appArmorProfile is set"),
        other => {
            let known = ["Localhost", "RuntimeDefault", "Unconfined"];
            out.not_supported(at.field("type"), other, &known);
        }
    }
}
