//! The first roles and bindings, as objects: what a new cluster starts with.

use std::collections::BTreeMap;

use api::Object;
use k8s_openapi::{
    api::rbac::v1::{
        AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
        Subject,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{
    bootstrap_roles::{
        AGGREGATES, BINDINGS, CLUSTER_ROLES, CONTROLLERS, LOCAL_BINDINGS, LOCAL_ROLES, STEAD,
    },
    reconcile::AUTOUPDATE,
};

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// Roles before the bindings that name them; each is complete but for what the server fills in.
///
/// Aggregated roles come with the rules they have at first, so that `kubectl` shows them.
#[must_use]
pub fn objects() -> Vec<Box<dyn Object>> {
    let mut objects: Vec<Box<dyn Object>> = Vec::new();
    let controllers = CONTROLLERS.iter().map(|(name, rules)| (controller_role(name), *rules));
    let own = STEAD.iter().map(|(name, rules, _subject)| ((*name).to_owned(), *rules));
    let plain = CLUSTER_ROLES.iter().map(|(name, rules)| ((*name).to_owned(), *rules));
    let roles: Vec<(String, &[&str])> = plain.chain(controllers).chain(own).collect();
    for (name, rules) in &roles {
        objects.push(Box::new(ClusterRole {
            metadata: meta(name, "", aggregated_label(name)),
            rules: Some(read_rules(rules)),
            aggregation_rule: None,
        }));
    }
    for (name, parts) in AGGREGATES {
        let rules = parts.iter().flat_map(|part| {
            let role = roles.iter().find(|(role, _rules)| role == part);
            role.map(|(_role, rules)| read_rules(rules)).unwrap_or_default()
        });
        objects.push(Box::new(aggregate(name, rules.collect())));
    }
    for (namespace, name, rules) in LOCAL_ROLES {
        objects.push(Box::new(Role {
            metadata: meta(name, namespace, None),
            rules: Some(read_rules(rules)),
        }));
    }
    for (name, role, subjects) in BINDINGS {
        objects.push(Box::new(cluster_binding(name, role, subjects)));
    }
    for (name, _rules) in CONTROLLERS {
        let role = controller_role(name);
        let subject = format!("account kube-system {name}");
        objects.push(Box::new(cluster_binding(&role, &role, &[&subject])));
    }
    for (name, _rules, subject) in STEAD {
        objects.push(Box::new(cluster_binding(name, name, &[subject])));
    }
    for (namespace, name, role, subjects) in LOCAL_BINDINGS {
        objects.push(Box::new(RoleBinding {
            metadata: meta(name, namespace, None),
            role_ref: role_ref("Role", role),
            subjects: Some(subjects.iter().map(|words| subject(words)).collect()),
        }));
    }
    objects
}

fn controller_role(name: &str) -> String {
    format!("system:controller:{name}")
}

fn meta(name: &str, namespace: &str, label: Option<String>) -> ObjectMeta {
    let mut labels =
        BTreeMap::from([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".to_owned())]);
    labels.extend(label.map(|label| (label, "true".to_owned())));
    let updated = (AUTOUPDATE.to_owned(), "true".to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        labels: Some(labels),
        annotations: Some(BTreeMap::from([updated])),
        ..ObjectMeta::default()
    }
}

fn aggregate_label(to: &str) -> String {
    format!("{GROUP}/aggregate-to-{to}")
}

/// The label of roles that others take in: `view` goes into `edit`, and that into `admin`.
fn aggregated_label(name: &str) -> Option<String> {
    match name {
        "edit" => Some(aggregate_label("admin")),
        "view" => Some(aggregate_label("edit")),
        _ => name.strip_prefix("system:aggregate-to-").map(aggregate_label),
    }
}

fn aggregate(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let label = (aggregate_label(name), "true".to_owned());
    let selector =
        LabelSelector { match_labels: Some(BTreeMap::from([label])), match_expressions: None };
    ClusterRole {
        metadata: meta(name, "", aggregated_label(name)),
        aggregation_rule: Some(AggregationRule { cluster_role_selectors: Some(vec![selector]) }),
        rules: Some(rules),
    }
}

fn cluster_binding(name: &str, role: &str, subjects: &[&str]) -> ClusterRoleBinding {
    let subjects: Vec<Subject> = subjects.iter().map(|words| subject(words)).collect();
    ClusterRoleBinding {
        metadata: meta(name, "", None),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(subjects).filter(|subjects| !subjects.is_empty()),
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

/// `group NAME`, `user NAME`, `account NAMESPACE NAME`
fn subject(words: &str) -> Subject {
    let mut words = words.split(' ');
    let kind = words.next().unwrap_or_default();
    let last = words.next_back().unwrap_or_default().to_owned();
    if kind == "account" {
        return Subject {
            kind: "ServiceAccount".to_owned(),
            namespace: words.next().map(str::to_owned),
            name: last,
            api_group: None,
        };
    }
    Subject {
        kind: if kind == "group" { "Group" } else { "User" }.to_owned(),
        api_group: Some(GROUP.to_owned()),
        name: last,
        namespace: None,
    }
}

fn read_rules(rules: &[&str]) -> Vec<PolicyRule> {
    rules.iter().map(|rule| read_rule(rule)).collect()
}

/// One line of the table: `VERBS GROUPS RESOURCES [NAMES]`, or `VERBS url PATHS`; `events` is the
/// right to tell events.
fn read_rule(line: &str) -> PolicyRule {
    let line =
        if line == "events" { "create,patch,update core,events.k8s.io events" } else { line };
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let mut verbs: Vec<String> = Vec::new();
    for word in next().split(',') {
        let known = match word {
            "read" => READ,
            "write" => WRITE,
            other => &[other],
        };
        verbs.extend(known.iter().map(|&verb| verb.to_owned()));
    }
    verbs.sort_unstable();
    let split = |words: &str| {
        let mut list: Vec<String> = words.split(',').map(str::to_owned).collect();
        list.sort_unstable();
        list
    };
    let group = next();
    let things = split(next());
    if group == "url" {
        return PolicyRule { verbs, non_resource_urls: Some(things), ..PolicyRule::default() };
    }
    let groups = split(group).into_iter();
    let names = Some(next()).filter(|names| !names.is_empty()).map(split);
    PolicyRule {
        verbs,
        api_groups: Some(
            groups.map(|one| if one == "core" { String::new() } else { one }).collect(),
        ),
        resources: Some(things),
        resource_names: names,
        non_resource_urls: None,
    }
}
