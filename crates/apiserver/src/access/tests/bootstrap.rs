//! The first roles: complete, readable, and valid by the server's own rules.

use std::collections::BTreeSet;

use api::{Part, resource};
use expect_test::expect;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};

use crate::access::bootstrap_objects;

#[test]
fn every_first_object_is_valid_and_named_once() {
    let mut seen = BTreeSet::new();
    for object in bootstrap_objects() {
        let group = "rbac.authorization.k8s.io";
        let kind = resource::by_kind(group, object.kind()).unwrap();
        let causes = kind.validate(&*object, None, Part::Main);
        let meta = object.meta();
        assert_eq!(causes, [], "{:?}", meta.name);
        let key = (object.kind(), meta.namespace.clone(), meta.name.clone());
        assert!(seen.insert(key.clone()), "{key:?} twice");
    }
}

#[test]
fn every_rule_says_what_on_what() {
    for object in bootstrap_objects() {
        let Some(role) = object.as_any().downcast_ref::<ClusterRole>() else {
            continue;
        };
        for rule in role.rules.iter().flatten() {
            let full =
                |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
            let on_what =
                full(&rule.resources) && rule.api_groups.is_some() || full(&rule.non_resource_urls);
            assert!(on_what && !rule.verbs.is_empty(), "{:?}: {rule:?}", role.metadata.name);
            let words = rule.verbs.iter().chain(rule.resources.iter().flatten());
            assert!(words.into_iter().all(|word| !word.is_empty()), "{rule:?}");
        }
    }
}

#[test]
fn every_binding_leads_to_a_role() {
    let objects = bootstrap_objects();
    let names: BTreeSet<(&str, String, String)> = objects
        .iter()
        .map(|object| {
            let meta = object.meta();
            (object.kind(), meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap())
        })
        .collect();
    for object in &objects {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        if let Some(binding) = object.as_any().downcast_ref::<ClusterRoleBinding>() {
            assert!(names.contains(&("ClusterRole", String::new(), binding.role_ref.name.clone())));
        }
        if let Some(binding) = object.as_any().downcast_ref::<RoleBinding>() {
            assert!(names.contains(&("Role", namespace, binding.role_ref.name.clone())));
        }
    }
}

#[test]
fn how_they_look() {
    let objects = bootstrap_objects();
    let shown = |kind: &str, name: &str| {
        let of = |object: &&dyn api::Object| {
            object.kind() == kind && object.meta().name.as_deref() == Some(name)
        };
        objects.iter().map(|object| &**object).find(of).unwrap().to_value().to_string()
    };
    expect![[r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"},"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"},"name":"system:controller:pv-protection-controller"},"rules":[{"apiGroups":[""],"resources":["persistentvolumes"],"verbs":["get","list","update","watch"]},{"apiGroups":["","events.k8s.io"],"resources":["events"],"verbs":["create","patch","update"]}]}"#]]
        .assert_eq(&shown("ClusterRole", "system:controller:pv-protection-controller"));
    expect![[r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"},"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"},"name":"system:kube-dns"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:kube-dns"},"subjects":[{"kind":"ServiceAccount","name":"kube-dns","namespace":"kube-system"}]}"#]]
        .assert_eq(&shown("ClusterRoleBinding", "system:kube-dns"));
    let view = shown("ClusterRole", "view");
    assert!(view.contains(r#""aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}}]}"#));
    assert!(view.contains(r#""rbac.authorization.k8s.io/aggregate-to-edit":"true""#));
    assert!(view.contains("endpointslices"));
}
