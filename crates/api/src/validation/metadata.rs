//! What is wrong with metadata: one set of rules for every kind, and each kind's rule of names.
//!
//! Source: apimachinery v1.36 `pkg/api/validation/objectmeta.go`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};

use super::report::{At, Report, entries, items, text};
use crate::{
    field::Cause,
    names::{self, Faults},
    resource::Resource,
};

/// What a kind demands of the names of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain: most kinds.
    Subdomain,
    /// A DNS label: what becomes a label or a host name.
    Label,
    /// A DNS label that starts with a letter.
    Label1035,
    /// One segment of a URL's path.
    PathSegment,
    /// Anything: reviews have no names.
    Anything,
}

impl NameRule {
    /// What is wrong with this name.
    #[must_use]
    pub fn faults(self, name: &str) -> Faults {
        match self {
            NameRule::Subdomain => names::dns_subdomain(name),
            NameRule::Label => names::dns_label(name),
            NameRule::Label1035 => names::dns_1035_label(name),
            NameRule::PathSegment => names::path_segment(name),
            NameRule::Anything => Faults::new(),
        }
    }

    /// What is wrong with this start of a name.
    fn prefix_faults(self, prefix: &str) -> Faults {
        match self {
            NameRule::PathSegment => names::path_segment(prefix),
            rule => rule.faults(&names::unprefixed(prefix)),
        }
    }
}

/// The rule of this kind's names.
#[must_use]
pub fn name_rule(group: &str, plural: &str) -> NameRule {
    match (group, plural) {
        ("", "namespaces") | ("apps", "statefulsets") => NameRule::Label,
        ("", "services") => NameRule::Label1035,
        ("rbac.authorization.k8s.io", _) => NameRule::PathSegment,
        ("authentication.k8s.io" | "authorization.k8s.io", _) => NameRule::Anything,
        _ => NameRule::Subdomain,
    }
}

/// What is wrong with the metadata of an object of this kind, or with its change from `old`.
///
/// Names are judged on creation only; a stored name stays. `resourceVersion` is demanded where
/// the kind has no unconditional update. The namespace must be filled in before.
#[must_use]
pub fn metadata(
    resource: &(dyn Resource + 'static),
    meta: &ObjectMeta,
    old: Option<&ObjectMeta>,
) -> Vec<Cause> {
    let mut out = Report::default();
    let at = At::new("metadata");
    let kind = resource.names();
    let rule = name_rule(kind.group, kind.plural);
    if rule == NameRule::Anything {
        return Vec::new();
    }
    match old {
        None => created(rule, resource.namespaced(), meta, at, &mut out),
        Some(old) => {
            updated(meta, old, at, &mut out);
            if !resource.unconditional_update() && text(&meta.resource_version).is_empty() {
                out.invalid(at.field("resourceVersion"), "", "must be specified for an update");
            }
        }
    }
    out.not_negative(at.field("generation"), meta.generation.unwrap_or(0));
    labels(&meta.labels, at.field("labels"), &mut out);
    annotations(&meta.annotations, at.field("annotations"), &mut out);
    owners(items(&meta.owner_references), at.field("ownerReferences"), &mut out);
    finalizers(items(&meta.finalizers), at.field("finalizers"), &mut out);
    managed_fields(items(&meta.managed_fields), at.field("managedFields"), &mut out);
    out.into_causes()
}

fn created(rule: NameRule, namespaced: bool, meta: &ObjectMeta, at: At<'_>, out: &mut Report) {
    let (name, prefix) = (text(&meta.name), text(&meta.generate_name));
    if !prefix.is_empty() {
        out.faults(at.field("generateName"), prefix, rule.prefix_faults(prefix));
    }
    if name.is_empty() {
        out.required(at.field("name"), "name or generateName is required");
    } else {
        out.faults(at.field("name"), name, rule.faults(name));
    }
    let namespace = text(&meta.namespace);
    let at_namespace = at.field("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => out.required(at_namespace, ""),
        (true, false) => out.faults(at_namespace, namespace, names::dns_label(namespace)),
        (false, true) => {}
        (false, false) => out.forbidden(at_namespace, "not allowed on this type"),
    }
}

fn updated(meta: &ObjectMeta, old: &ObjectMeta, at: At<'_>, out: &mut Report) {
    if old.deletion_timestamp.is_some() {
        let known = items(&old.finalizers);
        let mut added: Vec<&String> =
            items(&meta.finalizers).iter().filter(|name| !known.contains(name)).collect();
        added.sort();
        added.dedup();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
            let why = "no new finalizers can be added if the object is being deleted";
            let list = list.join(", ");
            out.forbidden(
                at.field("finalizers"),
                &format!("{why}, found new finalizers []string{{{list}}}"),
            );
        }
    }
    if meta.generation.unwrap_or(0) < old.generation.unwrap_or(0) {
        let generation = meta.generation.unwrap_or(0);
        out.invalid(at.field("generation"), generation, "must not be decremented");
    }
    out.immutable(at.field("name"), &text(&meta.name), &text(&old.name));
    out.immutable(at.field("namespace"), &text(&meta.namespace), &text(&old.namespace));
    out.immutable(at.field("uid"), &text(&meta.uid), &text(&old.uid));
    let (new_time, old_time) = (&meta.creation_timestamp, &old.creation_timestamp);
    out.immutable(at.field("creationTimestamp"), new_time, old_time);
    let (new_time, old_time) = (&meta.deletion_timestamp, &old.deletion_timestamp);
    out.immutable(at.field("deletionTimestamp"), new_time, old_time);
    let (new, old) = (&meta.deletion_grace_period_seconds, &old.deletion_grace_period_seconds);
    out.immutable(at.field("deletionGracePeriodSeconds"), new, old);
}

/// Keys and values of labels, or of what is compared with labels.
pub(super) fn labels(labels: &Option<BTreeMap<String, String>>, at: At<'_>, out: &mut Report) {
    for (key, value) in entries(labels) {
        out.faults(at, key, names::qualified_name(key));
        out.faults(at, value, names::label_value(value));
    }
}

/// Keys of annotations, and the size of all together.
pub(super) fn annotations(
    annotations: &Option<BTreeMap<String, String>>,
    at: At<'_>,
    out: &mut Report,
) {
    let mut bytes = 0;
    for (key, value) in entries(annotations) {
        bytes += key.len() + value.len();
        if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            out.faults(at, key, names::qualified_name(&key.to_ascii_lowercase()));
        } else {
            out.faults(at, key, names::qualified_name(key));
        }
    }
    if bytes > names::ANNOTATIONS_MAX_BYTES {
        out.too_long(at, names::ANNOTATIONS_MAX_BYTES);
    }
}

fn owners(owners: &[OwnerReference], at: At<'_>, out: &mut Report) {
    let mut first_controller: Option<&OwnerReference> = None;
    for owner in owners {
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            out.invalid(at.field("apiVersion"), &*owner.api_version, "version must not be empty");
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                out.invalid(at.field(field), "", "must not be empty");
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            out.invalid_object(at, owner, why);
        }
        if owner.controller != Some(true) {
            continue;
        }
        match first_controller {
            None => first_controller = Some(owner),
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {}/{} and {}/{}",
                    first.kind, first.name, owner.kind, owner.name
                );
                out.invalid_object(at, &owners, &why);
            }
        }
    }
}

/// Names of finalizers; a short one must be a standard one.
pub(super) fn finalizers(finalizers: &[String], at: At<'_>, out: &mut Report) {
    for finalizer in finalizers {
        out.faults(at, finalizer, names::qualified_name(finalizer));
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        out.invalid_object(at, &finalizers, why);
    }
    for (index, finalizer) in finalizers.iter().enumerate() {
        standard_finalizer(finalizer, at.index(index), out);
    }
}

/// `name is neither a standard finalizer name nor is it fully qualified`
pub(super) fn standard_finalizer(name: &str, at: At<'_>, out: &mut Report) {
    let standard = ["kubernetes", "orphan", "foregroundDeletion"].contains(&name);
    if !name.contains('/') && !standard {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        out.invalid(at, name, why);
    }
}

fn managed_fields(list: &[ManagedFieldsEntry], at: At<'_>, out: &mut Report) {
    for (index, entry) in list.iter().enumerate() {
        let at = at.index(index);
        let operation = text(&entry.operation);
        if !["Apply", "Update"].contains(&operation) {
            out.invalid(at.field("operation"), operation, "must be `Apply` or `Update`");
        }
        let fields_type = text(&entry.fields_type);
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            out.invalid(at.field("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        if text(&entry.manager).len() > 128 {
            out.too_long(at.field("manager"), 128);
        }
        if text(&entry.subresource).len() > 256 {
            out.too_long(at.field("subresource"), 256);
        }
    }
}
