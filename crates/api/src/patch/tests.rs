//! Rows: an object, a patch, and what comes of it.

use serde_json::{Value, json};

use super::{PatchType, patch};
use crate::resource;

fn run(kind: PatchType, of: &str, live: Value, body: Value) -> Result<Value, (u16, String)> {
    let (group, kind_name) = of.split_once('/').unwrap_or(("", of));
    let resource = resource::by_kind(group, kind_name).unwrap();
    match patch(kind, resource, live, body.to_string().as_bytes()) {
        Ok(patched) => Ok(patched.value),
        Err(why) => Err((why.reason.code(), why.message)),
    }
}

fn strategic(of: &str, live: Value, body: Value, want: Value) {
    assert_eq!(run(PatchType::Strategic, of, live, body.clone()), Ok(want), "{body}");
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn containers_and_what_is_in_them() {
    strategic(
        "Pod",
        pod(json!([{"name": "a", "image": "1"}])),
        pod(json!([{"name": "a", "image": "2"}])),
        pod(json!([{"name": "a", "image": "2"}])),
    );
    // A new item comes first unless the order says otherwise.
    strategic(
        "Pod",
        pod(json!([{"name": "a"}])),
        pod(json!([{"name": "b"}])),
        pod(json!([{"name": "b"}, {"name": "a"}])),
    );
    strategic(
        "Pod",
        pod(json!([{"name": "a"}, {"name": "s"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}]}}),
        pod(json!([{"name": "a"}, {"name": "b"}, {"name": "s"}])),
    );
    strategic(
        "Pod",
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "a", "$patch": "delete"}])),
        pod(json!([{"name": "b"}])),
    );
    strategic(
        "Pod",
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"$patch": "replace"}, {"name": "c"}])),
        pod(json!([{"name": "c"}])),
    );
    strategic(
        "Pod",
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "A", "value": "1"}], "volumeMounts": [{"mountPath": "/a", "name": "v"}], "args": ["x", "y"]}]),
        ),
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "2"}], "volumeMounts": [{"mountPath": "/a", "readOnly": true}], "args": ["z"]}]),
        ),
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}], "env": [{"name": "A", "value": "2"}], "volumeMounts": [{"mountPath": "/a", "name": "v", "readOnly": true}], "args": ["z"]}]),
        ),
    );
    strategic(
        "apps/StatefulSet",
        json!({"spec": {"template": pod(json!([{"name": "a", "image": "1", "tty": true}]))}}),
        json!({"spec": {"template": pod(json!([{"name": "a", "image": "2", "tty": null}]))}}),
        json!({"spec": {"template": pod(json!([{"name": "a", "image": "2"}]))}}),
    );
}

#[test]
fn lists_of_the_pod() {
    strategic(
        "Pod",
        json!({"spec": {"tolerations": [{"key": "a"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
    );
    strategic(
        "Pod",
        json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}, {"type": "P", "status": "True"}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": null}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "P", "status": "True"}]}}),
    );
    strategic(
        "Pod",
        json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}),
        json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}], "uid": "u"}}),
        json!({"metadata": {"ownerReferences": [], "uid": "u"}}),
    );
    strategic(
        "Pod",
        json!({"spec": {"imagePullSecrets": [{"name": "a"}]}}),
        json!({"spec": {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}}),
    );
    // A volume's source changes: what the patch does not retain goes.
    strategic(
        "Pod",
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}),
    );
    strategic(
        "Service",
        json!({"spec": {"ports": [{"port": 80, "targetPort": 1}, {"port": 81}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": 2}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": 2}, {"port": 81}]}}),
    );
}

#[test]
fn sets_of_primitives() {
    let live = json!({"metadata": {"finalizers": ["a/x", "b/x"]}});
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"finalizers": ["c/x"]}}),
        json!({"metadata": {"finalizers": ["c/x", "a/x", "b/x"]}}),
    );
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"]}}),
        json!({"metadata": {"finalizers": ["b/x"]}}),
    );
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x", "b/x"]}}),
        json!({"metadata": {}}),
    );
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"$setElementOrder/finalizers": ["b/x", "a/x"]}}),
        json!({"metadata": {"finalizers": ["b/x", "a/x"]}}),
    );
    strategic("Pod", live, json!({"metadata": {"finalizers": null}}), json!({"metadata": {}}));
}

#[test]
fn maps() {
    let live = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}}}),
    );
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}),
        json!({"metadata": {"labels": {"c": "3"}}}),
    );
    strategic(
        "Pod",
        live.clone(),
        json!({"metadata": {"labels": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {}}}),
    );
    strategic(
        "Pod",
        live,
        json!({"metadata": {"labels": {"$patch": "merge", "c": "3"}}}),
        json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}}),
    );
    strategic(
        "Pod",
        json!({}),
        json!({"metadata": {"labels": {"a": "1", "gone": null}}, "x": null}),
        json!({"metadata": {"labels": {"a": "1"}}}),
    );
    strategic(
        "apps/StatefulSet",
        json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}}),
        json!({"spec": {"updateStrategy": {"$retainKeys": ["type"], "type": "OnDelete"}}}),
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
    );
    strategic(
        "apps/ControllerRevision",
        json!({"data": {"spec": {"template": {"a": [{"name": "x"}]}}}}),
        json!({"data": {"spec": {"template": {"a": [{"name": "y"}]}}}}),
        json!({"data": {"spec": {"template": {"a": [{"name": "y"}]}}}}),
    );
}

#[test]
fn refused() {
    let no_key =
        run(PatchType::Strategic, "Pod", pod(json!([{"name": "a"}])), pod(json!([{"image": "x"}])));
    assert_eq!(
        no_key,
        Err((400, "map: map[image:x] does not contain declared merge key: name".to_owned()))
    );
    let odd = run(
        PatchType::Strategic,
        "Pod",
        json!({"metadata": {"labels": {}}}),
        json!({"metadata": {"labels": {"$patch": "odd"}}}),
    );
    assert_eq!(odd, Err((422, "unknown patch type: odd in map: map[$patch:odd]".to_owned())));
    let list = run(PatchType::Merge, "Pod", json!({}), json!([]));
    assert_eq!(list, Err((400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned())));
}

#[test]
fn json_patches() {
    let live = json!({"metadata": {"labels": {"a": "1"}}, "list": [1, 2]});
    let rejected =
        (422, "the server rejected our request due to an error in our request".to_owned());
    for (operations, want) in [
        (json!([{"op": "add", "path": "/metadata/labels/b", "value": "2"}]), Ok(json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "list": [1, 2]}))),
        (json!([{"op": "remove", "path": "/list/0"}]), Ok(json!({"metadata": {"labels": {"a": "1"}}, "list": [2]}))),
        (json!([{"op": "test", "path": "/metadata/labels/a", "value": "1"}]), Ok(live.clone())),
        (json!([{"op": "test", "path": "/none", "value": null}]), Ok(live.clone())),
        (json!([{"op": "test", "path": "/metadata/labels/a", "value": "2"}]), Err(rejected.clone())),
        (json!([{"op": "remove", "path": "/none"}]), Err(rejected.clone())),
        (json!([{"op": "add", "path": "/none/x", "value": 1}]), Err(rejected.clone())),
        (json!({}), Err((400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned()))),
    ] {
        assert_eq!(run(PatchType::Json, "Pod", live.clone(), operations.clone()), want, "{operations}");
    }
    let many: Vec<Value> = vec![json!({"op": "test", "path": "/list/0", "value": 1}); 10_001];
    let want =
        (413, "The allowed maximum operations in a JSON patch is 10000, got 10001".to_owned());
    assert_eq!(run(PatchType::Json, "Pod", live, many.into()), Err(want));
    let doubling: Vec<Value> =
        (0..64).map(|at| json!({"op": "copy", "from": "", "path": format!("/x{at}")})).collect();
    let nesting: Vec<Value> = vec![json!({"op": "copy", "from": "", "path": "/x"}); 200];
    for bomb in [doubling, nesting] {
        assert_eq!(
            run(PatchType::Json, "Pod", json!({"a": "b"}), bomb.into()),
            Err(rejected.clone())
        );
    }
}

#[test]
fn merge_patches() {
    let live = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "a"}]}});
    let body = json!({"metadata": {"labels": {"a": null}}, "spec": {"containers": []}});
    let want = json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": []}});
    assert_eq!(run(PatchType::Merge, "Pod", live, body), Ok(want));
}

#[test]
fn duplicate_fields_are_noted() {
    let resource = resource::by_kind("", "Pod").unwrap();
    let body = br#"{"metadata":{"labels":{"a":"1","a":"2"}}}"#;
    let patched = patch(PatchType::Strategic, resource, json!({}), body).unwrap();
    assert_eq!(patched.strict, [r#"duplicate field "metadata.labels.a""#]);
    let body = br#"[{"op":"test","op":"test","path":"/x","value":null}]"#;
    let patched = patch(PatchType::Json, resource, json!({}), body).unwrap();
    assert_eq!(patched.strict, [r#"json patch duplicate field "[0].op""#]);
}

#[test]
fn content_types() {
    assert_eq!(
        PatchType::of_content_type("application/merge-patch+json; charset=utf-8").unwrap(),
        PatchType::Merge
    );
    let why = PatchType::of_content_type("application/json").unwrap_err();
    assert_eq!(why.reason.code(), 415);
    assert_eq!(
        why.message,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    );
}
