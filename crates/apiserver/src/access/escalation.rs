//! Nobody grants what they do not have: writes of roles and bindings.
//!
//! Source: kubernetes v1.36 `pkg/registry/rbac/*/policybased`, `component-helpers/auth/rbac/validation`.

use std::collections::{BTreeMap, BTreeSet};

use api::{ApiError, status::About};
use client::Identity;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
};

use super::{
    AccessControl,
    rbac::{MASTERS, grants, has, list, role_rules, url_covers},
};
use crate::contract::{Attributes, Decision, Operation, Subject, Write};

const GROUP: &str = "rbac.authorization.k8s.io";

impl AccessControl {
    /// Refuses a write of a role or binding that would give away more than its author has.
    pub(super) fn confirm_no_escalation(
        &self,
        write: &Write<'_>,
        object: &dyn api::Object,
    ) -> Result<(), ApiError> {
        let exempt = write.operation == Operation::Delete
            || !write.subresource.is_empty()
            || write.user.groups.iter().any(|group| group == MASTERS)
            || only_garbage_fields(object, write.old);
        if exempt {
            return Ok(());
        }
        let object = object.as_any();
        if let Some(role) = object.downcast_ref::<Role>() {
            return self.confirm_role(write, "roles", list_rules(role.rules.as_ref()));
        }
        if let Some(role) = object.downcast_ref::<ClusterRole>() {
            let old = write.old.and_then(|old| old.as_any().downcast_ref::<ClusterRole>());
            return self.confirm_cluster_role(write, role, old);
        }
        if let Some(binding) = object.downcast_ref::<RoleBinding>() {
            return self.confirm_binding(write, "rolebindings", &binding.role_ref);
        }
        if let Some(binding) = object.downcast_ref::<ClusterRoleBinding>() {
            return self.confirm_binding(write, "clusterrolebindings", &binding.role_ref);
        }
        Ok(())
    }

    fn confirm_role(
        &self,
        write: &Write<'_>,
        plural: &'static str,
        rules: &[PolicyRule],
    ) -> Result<(), ApiError> {
        if self.may(write.user, "escalate", plural, write.namespace, write.name) {
            return Ok(());
        }
        let missing = self.missing(write.user, write.namespace, rules.iter());
        missing.map_or(Ok(()), |why| Err(forbidden(plural, write.name, &why)))
    }

    fn confirm_cluster_role(
        &self,
        write: &Write<'_>,
        role: &ClusterRole,
        old: Option<&ClusterRole>,
    ) -> Result<(), ApiError> {
        self.confirm_role(write, "clusterroles", list_rules(role.rules.as_ref()))?;
        let aggregates = |role: &ClusterRole| {
            let rule = role.aggregation_rule.as_ref();
            rule.and_then(|rule| rule.cluster_role_selectors.as_ref())
                .is_some_and(|all| !all.is_empty())
        };
        let gathers = aggregates(role) || old.is_some_and(aggregates);
        if !gathers || self.may(write.user, "escalate", "clusterroles", "", write.name) {
            return Ok(());
        }
        // What it will gather is not known yet: only who has everything may gather anything.
        let star = || vec!["*".to_owned()];
        let everything = [
            PolicyRule {
                verbs: star(),
                api_groups: Some(star()),
                resources: Some(star()),
                ..PolicyRule::default()
            },
            PolicyRule { verbs: star(), non_resource_urls: Some(star()), ..PolicyRule::default() },
        ];
        let why = "must have cluster-admin privileges to use an aggregationRule";
        match self.missing(write.user, "", everything.iter()) {
            None => Ok(()),
            Some(_rules) => Err(forbidden("clusterroles", write.name, why)),
        }
    }

    fn confirm_binding(
        &self,
        write: &Write<'_>,
        plural: &'static str,
        role: &RoleRef,
    ) -> Result<(), ApiError> {
        let roles = if role.kind == "Role" { "roles" } else { "clusterroles" };
        if self.may(write.user, "bind", roles, write.namespace, &role.name) {
            return Ok(());
        }
        let rules = role_rules(&self.directory.facts(), role, write.namespace)
            .map_err(|_why| ApiError::not_found(about(roles), &role.name))?;
        let rules = rules.iter().flat_map(|rules| rules.iter());
        let missing = self.missing(write.user, write.namespace, rules);
        missing.map_or(Ok(()), |why| Err(forbidden(plural, write.name, &why)))
    }

    fn may(&self, user: &Identity, verb: &str, plural: &str, namespace: &str, name: &str) -> bool {
        let target = Subject::Resource {
            group: GROUP,
            version: "*",
            resource: plural,
            subresource: "",
            namespace,
            name,
        };
        self.decide(&Attributes { user, verb, target }).0 == Decision::Allow
    }

    /// What of these rules the user does not have, as a sentence; `None` where they have all.
    fn missing<'a>(
        &self,
        user: &Identity,
        namespace: &str,
        rules: impl Iterator<Item = &'a PolicyRule>,
    ) -> Option<String> {
        let facts = self.directory.facts();
        let held = grants(&facts, user, namespace);
        let parts = rules.flat_map(break_down);
        let missing: Vec<PolicyRule> =
            parts.filter(|part| !held.rules().any(|rule| covers(rule, part))).collect();
        if missing.is_empty() {
            return None;
        }
        let lines: BTreeSet<String> = compact(missing).iter().map(compact_text).collect();
        let lines: Vec<String> = lines.into_iter().collect();
        let (name, groups, lines) = (&user.user, quoted(&user.groups), lines.join("\n"));
        let mut text = format!(
            "user {name:?} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{lines}"
        );
        if !held.broken.is_empty() {
            text.push_str(&format!("; resolution errors: [{}]", held.broken.join(" ")));
        }
        Some(text)
    }
}

fn about(plural: &'static str) -> About<'static> {
    About { group: GROUP, resource: plural }
}

fn forbidden(plural: &'static str, name: &str, why: &str) -> ApiError {
    ApiError::forbidden(about(plural), name, why)
}

fn list_rules(rules: Option<&Vec<PolicyRule>>) -> &[PolicyRule] {
    rules.map_or(&[], Vec::as_slice)
}

/// Whether a write only lets garbage collection go on: owners and finalizers.
fn only_garbage_fields(object: &dyn api::Object, old: Option<&dyn api::Object>) -> bool {
    let Some(old) = old else {
        return false;
    };
    let without = |object: &dyn api::Object| {
        let mut object = object.boxed();
        let meta = object.meta_mut();
        meta.owner_references = None;
        meta.finalizers = None;
        meta.managed_fields = None;
        meta.resource_version = None;
        meta.generation = None;
        object.to_value()
    };
    without(object) == without(old)
}

/// A rule as rules of one verb on one thing.
pub(super) fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut parts = Vec::new();
    for group in list(rule.api_groups.as_ref()) {
        for resource in list(rule.resources.as_ref()) {
            for verb in &rule.verbs {
                let part = PolicyRule {
                    api_groups: Some(vec![group.clone()]),
                    resources: Some(vec![resource.clone()]),
                    verbs: vec![verb.clone()],
                    ..PolicyRule::default()
                };
                let names = list(rule.resource_names.as_ref());
                if names.is_empty() {
                    parts.push(part);
                } else {
                    parts.extend(names.iter().map(|name| PolicyRule {
                        resource_names: Some(vec![name.clone()]),
                        ..part.clone()
                    }));
                }
            }
        }
    }
    for url in list(rule.non_resource_urls.as_ref()) {
        parts.extend(rule.verbs.iter().map(|verb| PolicyRule {
            non_resource_urls: Some(vec![url.clone()]),
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        }));
    }
    parts
}

/// Whether a rule that is held allows all that a broken-down part does.
pub(super) fn covers(held: &PolicyRule, part: &PolicyRule) -> bool {
    let all = |words: &[String], held: &[String]| words.iter().all(|word| has(held, word));
    let groups = all(list(part.api_groups.as_ref()), list(held.api_groups.as_ref()));
    let resources = list(part.resources.as_ref()).iter().all(|resource| {
        list(held.resources.as_ref()).iter().any(|one| {
            let any_of = one.strip_prefix("*/").is_some_and(|sub| {
                resource.split_once('/').is_some_and(|(_of, wanted)| wanted == sub)
            });
            one == "*" || one == resource || any_of
        })
    });
    let held_names = list(held.resource_names.as_ref());
    let part_names = list(part.resource_names.as_ref());
    let names = held_names.is_empty()
        || (!part_names.is_empty() && part_names.iter().all(|name| held_names.contains(name)));
    let urls = list(part.non_resource_urls.as_ref())
        .iter()
        .all(|url| list(held.non_resource_urls.as_ref()).iter().any(|one| url_covers(one, url)));
    all(&part.verbs, &held.verbs) && groups && resources && names && urls
}

/// Parts on the same thing become one rule again, so that the sentence stays short.
pub(super) fn compact(parts: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut whole: Vec<PolicyRule> = Vec::new();
    let mut places: BTreeMap<[Vec<String>; 3], usize> = BTreeMap::new();
    for part in parts {
        if part.non_resource_urls.is_some() {
            whole.push(part);
            continue;
        }
        let words = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let key = [&part.api_groups, &part.resources, &part.resource_names].map(words);
        match places.get(&key).and_then(|place| whole.get_mut(*place)) {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => {
                places.insert(key, whole.len());
                whole.push(part);
            }
        }
    }
    whole
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`
fn compact_text(rule: &PolicyRule) -> String {
    let fields = [
        ("APIGroups", list(rule.api_groups.as_ref())),
        ("Resources", list(rule.resources.as_ref())),
        ("NonResourceURLs", list(rule.non_resource_urls.as_ref())),
        ("ResourceNames", list(rule.resource_names.as_ref())),
        ("Verbs", &rule.verbs),
    ];
    let told = fields.into_iter().filter(|(_name, words)| !words.is_empty());
    let told: Vec<String> = told.map(|(name, words)| format!("{name}:{}", quoted(words))).collect();
    format!("{{{}}}", told.join(", "))
}

/// `["a" "b"]`
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}
