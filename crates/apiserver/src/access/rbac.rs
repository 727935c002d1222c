//! Role-based access: which rules a user has, and what a rule allows.
//!
//! Source: kubernetes v1.36 `plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`.

use std::sync::Arc;

use client::Identity;
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};

use super::directory::{Binding, Facts};
use crate::contract::{Attributes, Subject as Target};

/// Members may do everything, without any binding.
pub(super) const MASTERS: &str = "system:masters";

/// One binding that applies to a user, and the rules behind it.
pub(super) struct Grant<'a> {
    pub(super) rules: Vec<Arc<[PolicyRule]>>,
    /// Empty for a binding of the cluster as a whole.
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    subject: &'a Subject,
}

impl Grant<'_> {
    /// `ClusterRoleBinding "x" of ClusterRole "y" to User "z"`
    pub(super) fn source(&self) -> String {
        let (name, namespace, role) = (self.name, self.namespace, &self.binding.role);
        let (kind, to) = (&role.kind, describe(self.subject, namespace));
        let binding = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?}")
        } else {
            format!("RoleBinding \"{name}/{namespace}\"")
        };
        format!("{binding} of {kind} {:?} to {to}", role.name)
    }
}

/// What a user has been granted, and which bindings led nowhere.
#[derive(Default)]
pub(super) struct Grants<'a> {
    pub(super) grants: Vec<Grant<'a>>,
    /// `clusterrole.rbac.authorization.k8s.io "x" not found`
    pub(super) broken: Vec<String>,
}

impl Grants<'_> {
    pub(super) fn rules(&self) -> impl Iterator<Item = &PolicyRule> {
        self.grants.iter().flat_map(|grant| grant.rules.iter().flat_map(|rules| rules.iter()))
    }

    /// `RBAC: …`, or nothing where every binding leads to a role.
    pub(super) fn fault(&self) -> String {
        let mut broken = self.broken.clone();
        broken.dedup();
        match broken.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        }
    }
}

/// All that a user has been granted in a namespace; `""` is the cluster as a whole.
pub(super) fn grants<'a>(facts: &'a Facts, user: &Identity, namespace: &'a str) -> Grants<'a> {
    let everywhere = facts.cluster_bindings.iter().map(|(name, binding)| ("", name, binding));
    let here = facts.bindings_in(namespace).map(|(name, binding)| (namespace, name, binding));
    let mut found = Grants::default();
    for (namespace, name, binding) in everywhere.chain(here) {
        let mut subjects = binding.subjects.iter();
        let Some(subject) = subjects.find(|subject| is_subject(user, subject, namespace)) else {
            continue;
        };
        match role_rules(facts, &binding.role, namespace) {
            Ok(rules) => found.grants.push(Grant { rules, namespace, name, binding, subject }),
            Err(why) => found.broken.push(why),
        }
    }
    found
}

/// The rules behind a role reference of a binding in this namespace.
///
/// # Errors
///
/// The sentence that says what is missing.
pub(super) fn role_rules(
    facts: &Facts,
    role: &RoleRef,
    namespace: &str,
) -> Result<Vec<Arc<[PolicyRule]>>, String> {
    let found = match role.kind.as_str() {
        "Role" => facts.role(namespace, &role.name).map(|rules| vec![rules]),
        "ClusterRole" => facts.cluster_role(&role.name),
        other => return Err(format!("unsupported role reference kind: {other:?}")),
    };
    let kind = role.kind.to_ascii_lowercase();
    let name = &role.name;
    found.ok_or_else(|| format!("{kind}.rbac.authorization.k8s.io {name:?} not found"))
}

fn is_subject(user: &Identity, subject: &Subject, namespace: &str) -> bool {
    match subject.kind.as_str() {
        "User" => user.user == subject.name,
        "Group" => user.groups.contains(&subject.name),
        "ServiceAccount" => {
            let own = subject.namespace.as_deref().filter(|own| !own.is_empty());
            let namespace = own.unwrap_or(namespace);
            let rest = user.user.strip_prefix("system:serviceaccount:");
            let account = rest.and_then(|rest| rest.split_once(':'));
            !namespace.is_empty() && account == Some((namespace, &subject.name))
        }
        _ => false,
    }
}

fn describe(subject: &Subject, namespace: &str) -> String {
    let (kind, name) = (&subject.kind, &subject.name);
    if kind != "ServiceAccount" {
        return format!("{kind} {name:?}");
    }
    let own = subject.namespace.as_deref().filter(|own| !own.is_empty());
    format!("{kind} \"{name}/{}\"", own.unwrap_or(namespace))
}

/// Whether a rule allows this request.
pub(super) fn allows(rule: &PolicyRule, attributes: &Attributes<'_>) -> bool {
    if !has(&rule.verbs, attributes.verb) {
        return false;
    }
    match attributes.target {
        Target::Resource { group, resource, subresource, name, .. } => {
            has(list(rule.api_groups.as_ref()), group)
                && names_resource(list(rule.resources.as_ref()), resource, subresource)
                && names_object(list(rule.resource_names.as_ref()), name)
        }
        Target::Path(path) => {
            let urls = list(rule.non_resource_urls.as_ref());
            urls.iter().any(|url| url_covers(url, path))
        }
    }
}

pub(super) fn list(list: Option<&Vec<String>>) -> &[String] {
    list.map_or(&[], Vec::as_slice)
}

/// Whether a list holds a word, or the star.
pub(super) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|one| one == "*" || one == word)
}

/// `pods`, `pods/log`, `*`, `*/scale`.
fn names_resource(resources: &[String], resource: &str, subresource: &str) -> bool {
    resources.iter().any(|one| match one.split_once('/') {
        None => one == "*" || (one == resource && subresource.is_empty()),
        Some((of, sub)) => {
            !subresource.is_empty() && sub == subresource && (of == "*" || of == resource)
        }
    })
}

fn names_object(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|one| one == name)
}

/// `/healthz` itself, or `/healthz/*` and what follows.
pub(super) fn url_covers(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}
