//! Rows: a path into a kind, and what is known of it.

use super::{ListType, Shape, of_kind, types};
use crate::resource;

fn check(group: &str, kind: &str, path: &str, want: &str) {
    let names = resource::by_kind(group, kind).unwrap().names();
    let (mut shape, mut said) = (of_kind(names), String::new());
    for name in path.split('.') {
        while let Shape::List(_) | Shape::Map(_) = shape {
            shape = types().inside(shape);
        }
        let field = types().field(shape, name).unwrap_or_else(|| panic!("{name} in {path}"));
        shape = field.shape;
        said = match &field.list {
            ListType::Map(keys) => keys.join("+"),
            ListType::Set => "set".to_owned(),
            ListType::Atomic => "atomic".to_owned(),
        };
        let strategy = field.strategy;
        for (is, word) in [
            (strategy.merge_key.is_some(), "key"),
            (strategy.merge, "merge"),
            (strategy.retain_keys, "retain"),
            (strategy.replace, "replace"),
        ] {
            if is {
                said = format!("{said} {word}");
            }
        }
    }
    assert_eq!(said, want, "{path}");
}

#[test]
fn w6_lists_and_their_keys() {
    for (path, want) in [
        ("spec.containers", "name key merge"),
        ("spec.containers.ports", "containerPort+protocol key merge"),
        ("spec.containers.env", "name key merge"),
        ("spec.containers.volumeMounts", "mountPath key merge"),
        ("spec.containers.args", "atomic"),
        ("spec.volumes", "name key merge retain"),
        ("spec.tolerations", "atomic"),
        ("spec.imagePullSecrets", "name key merge"),
        ("spec.hostAliases", "ip key merge"),
        ("spec.topologySpreadConstraints", "topologyKey+whenUnsatisfiable key merge"),
        ("metadata.ownerReferences", "uid key merge"),
        ("metadata.finalizers", "set merge"),
        ("status.conditions", "type key merge"),
    ] {
        check("", "Pod", path, want);
    }
    check("apps", "StatefulSet", "spec.template.spec.containers", "name key merge");
    check("", "Service", "spec.ports", "port+protocol key merge");
}

#[test]
fn shapes() {
    let shape = |group, kind, path: &[&str]| {
        let mut shape = of_kind(resource::by_kind(group, kind).unwrap().names());
        for name in path {
            shape = types().field(shape, name).unwrap().shape;
        }
        shape
    };
    assert_eq!(shape("apps", "StatefulSet", &["spec", "replicas"]), Shape::Int32);
    assert_eq!(shape("apps", "ControllerRevision", &["data"]), Shape::Any);
    assert_eq!(shape("", "Pod", &["metadata", "creationTimestamp"]), Shape::Time);
    assert_eq!(types().inside(shape("", "Secret", &["data"])), Shape::Bytes);
}
