//! W1 to W12, as far as they concern the server and not one kind.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::house::{House, config};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(found: &str, expect: Expect) {
    expect.assert_eq(found);
}

#[tokio::test]
async fn w1_the_server_fills_in_metadata() {
    let house = House::open().await;
    let mut map = config("a", "1");
    map["metadata"]["uid"] = "mine".into();
    map["metadata"]["selfLink"] = "mine".into();
    map["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z".into();
    let made = house.post(MAPS, &map).await;
    assert_eq!(made.code, 201);
    let metadata = &made.json()["metadata"];
    assert_eq!(metadata["creationTimestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(metadata["namespace"], "default");
    assert_ne!(metadata["uid"], "mine");
    assert_eq!(metadata["selfLink"], Value::Null);
    let read = house.get(&format!("{MAPS}/a")).await;
    assert_eq!(read.bytes, made.bytes);
}

#[tokio::test]
async fn w2_generated_names() {
    let house = House::open().await;
    let map = json!({ "metadata": { "generateName": "a-" } });
    let made = house.post(MAPS, &map).await.json();
    let name = made["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    check(
        &house.post(MAPS, &json!({ "metadata": {} })).await.line(),
        expect![[
            r#"422 Invalid: ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#
        ]],
    );
}

#[tokio::test]
async fn w3_conflicts() {
    let house = House::open().await;
    let first = house.post(MAPS, &config("a", "1")).await.json();
    let again = house.post(MAPS, &config("a", "1")).await;
    check(&again.line(), expect![[r#"409 AlreadyExists: configmaps "a" already exists"#]]);
    let path = format!("{MAPS}/a");
    let unconditional = house.put(&path, &config("a", "2")).await;
    assert_eq!(unconditional.code, 200);
    let mut old = first.clone();
    old["data"]["k"] = "3".into();
    check(
        &house.put(&path, &old).await.line(),
        expect![[
            r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#
        ]],
    );
    let mut other = config("a", "3");
    other["metadata"]["uid"] = "other".into();
    let line = house.put(&path, &other).await.line();
    let uid = first["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        line,
        format!(
            "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": Precondition failed: \
             UID in precondition: other, UID in object meta: {uid}"
        )
    );
    check(
        &house.put(&format!("{MAPS}/b"), &config("b", "1")).await.line(),
        expect![[r#"404 NotFound: configmaps "b" not found"#]],
    );
    check(
        &house.put(&path, &config("b", "1")).await.line(),
        expect![
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)"
        ],
    );
}

#[tokio::test]
async fn w3_put_creates_leases() {
    let house = House::open().await;
    let lease = json!({ "metadata": { "name": "n" }, "spec": { "holderIdentity": "n" } });
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    assert_eq!(house.put(path, &lease).await.code, 201);
    assert_eq!(house.put(path, &lease).await.code, 200);
}

#[tokio::test]
async fn r7_an_update_that_changes_nothing_writes_nothing() {
    let house = House::open().await;
    let made = house.post(MAPS, &config("a", "1")).await;
    let before = house.journal.appends();
    let same = house.put(&format!("{MAPS}/a"), &config("a", "1")).await;
    assert_eq!(
        same.json()["metadata"]["resourceVersion"],
        made.json()["metadata"]["resourceVersion"]
    );
    assert_eq!(house.merge(&format!("{MAPS}/a"), &json!({ "data": { "k": "1" } })).await.code, 200);
    assert_eq!(house.journal.appends(), before);
}

#[tokio::test]
async fn w4_dry_run_keeps_nothing() {
    let house = House::open().await;
    let before = house.journal.appends();
    let made = house.post(&format!("{MAPS}?dryRun=All"), &config("a", "1")).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.json()["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(house.get(&format!("{MAPS}/a")).await.code, 404);
    house.post(MAPS, &config("a", "1")).await;
    let path = format!("{MAPS}/a?dryRun=All");
    assert_eq!(house.put(&path, &config("a", "2")).await.json()["data"]["k"], "2");
    assert_eq!(house.delete(&path).await.code, 200);
    assert_eq!(house.get(&format!("{MAPS}/a")).await.json()["data"]["k"], "1");
    assert_eq!(house.journal.appends(), before + 1);
    check(
        &house.post(&format!("{MAPS}?dryRun=Some"), &config("b", "1")).await.line(),
        expect![[
            r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All""#
        ]],
    );
}

#[tokio::test]
async fn w5_delete_answers_a_status_or_the_object() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    let gone = house.delete(&format!("{MAPS}/a")).await.json();
    assert_eq!((&gone["kind"], &gone["status"]), (&"Status".into(), &"Success".into()));
    assert_eq!(gone["details"]["kind"], "configmaps");
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    house.post(accounts, &json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(house.delete(&format!("{accounts}/a")).await.json()["kind"], "ServiceAccount");
}

#[tokio::test]
async fn w5_finalizers_hold_and_the_last_ones_removal_deletes() {
    let house = House::open().await;
    let mut map = config("a", "1");
    map["metadata"]["finalizers"] = json!(["x.y/z"]);
    house.post(MAPS, &map).await;
    let path = format!("{MAPS}/a");
    let held = house.delete(&path).await.json();
    assert_eq!(held["metadata"]["deletionTimestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
    house.pass(5);
    assert_eq!(house.delete(&path).await.json(), held);
    let more = json!({ "metadata": { "finalizers": ["x.y/z", "new.x/y"] } });
    check(
        &house.merge(&path, &more).await.line(),
        expect![[
            r#"422 Invalid: ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"new.x/y"}"#
        ]],
    );
    let last = house.merge(&path, &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!(last.code, 200);
    assert_eq!(house.get(&path).await.code, 404);
}

#[tokio::test]
async fn w5_propagation() {
    let house = House::open().await;
    let path = format!("{MAPS}/a");
    for (options, code, finalizers) in [
        (json!({ "propagationPolicy": "Foreground" }), 202, json!(["foregroundDeletion"])),
        (json!({ "propagationPolicy": "Orphan" }), 200, json!(["orphan"])),
        (json!({ "orphanDependents": true }), 200, json!(["orphan"])),
    ] {
        house.post(MAPS, &config("a", "1")).await;
        let held = house.send("DELETE", &path, &[], options.to_string()).await;
        assert_eq!((held.code, &held.json()["metadata"]["finalizers"]), (code, &finalizers));
        house.merge(&path, &json!({ "metadata": { "finalizers": null } })).await;
    }
    house.post(MAPS, &config("a", "1")).await;
    let both = json!({ "propagationPolicy": "Orphan", "orphanDependents": true });
    check(
        &house.send("DELETE", &path, &[], both.to_string()).await.line(),
        expect![[
            r#"422 Invalid: DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set"#
        ]],
    );
    let gone = house.delete(&format!("{path}?propagationPolicy=Background")).await;
    assert_eq!(gone.json()["status"], "Success");
}

#[tokio::test]
async fn w5_preconditions() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    let options = json!({ "preconditions": { "uid": "other" } }).to_string();
    let line = house.send("DELETE", &format!("{MAPS}/a"), &[], options).await.line();
    assert!(line.starts_with(
        "409 Conflict: Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition \
         (other) does not match the UID in record ("
    ), "{line}");
}

pub(super) fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": {
        "nodeName": "n1",
        "containers": [{ "name": "c", "image": "i" }],
    } })
}

#[tokio::test]
async fn w5_pods_get_grace() {
    let house = House::open().await;
    let pods = "/api/v1/namespaces/default/pods";
    let path = format!("{pods}/p");
    assert_eq!(house.post(pods, &pod("p")).await.code, 201);
    let first = house.delete(&path).await.json();
    assert_eq!(first["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(first["metadata"]["deletionTimestamp"], "2023-11-14T22:13:50Z");
    let longer = house.delete(&format!("{path}?gracePeriodSeconds=60")).await.json();
    assert_eq!(longer, first);
    let shorter = house.delete(&format!("{path}?gracePeriodSeconds=10")).await.json();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 10);
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "2023-11-14T22:13:30Z");
    let last = house.delete(&format!("{path}?gracePeriodSeconds=0")).await;
    assert_eq!((last.code, &last.json()["kind"]), (200, &"Pod".into()));
    assert_eq!(house.get(&path).await.code, 404);
}

#[tokio::test]
async fn w5_deletecollection_honours_selectors() {
    let house = House::open().await;
    for name in ["a", "b", "c"] {
        let mut map = config(name, "1");
        map["metadata"]["labels"] = json!({ "keep": (name == "b").to_string() });
        house.post(MAPS, &map).await;
    }
    let gone = house.delete(&format!("{MAPS}?labelSelector=keep%3Dfalse")).await.json();
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let left = house.get(MAPS).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn w6_patches() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    let path = format!("{MAPS}/a");
    let json_patch = [("content-type", "application/json-patch+json")];
    let replace = json!([{ "op": "replace", "path": "/data/k", "value": "2" }]);
    let done = house.send("PATCH", &path, &json_patch, replace.to_string()).await;
    assert_eq!(done.json()["data"]["k"], "2");
    let test = json!([{ "op": "test", "path": "/data/k", "value": "9" }]);
    let failed = house.send("PATCH", &path, &json_patch, test.to_string()).await;
    assert_eq!(failed.code, 422);
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    let done = house.send("PATCH", &path, &strategic, labels.to_string()).await;
    assert_eq!(done.json()["metadata"]["labels"], json!({ "a": "b" }));
    let unknown = house.send("PATCH", &path, &[("content-type", "text/x")], "{}").await;
    assert_eq!(unknown.code, 415);
    let old = json!({ "metadata": { "resourceVersion": "1" } });
    assert_eq!(house.merge(&path, &old).await.code, 409);
}

#[tokio::test]
async fn s_server_side_apply() {
    let house = House::open().await;
    let path = format!("{MAPS}/a");
    let media = [("content-type", "application/apply-patch+yaml")];
    let apply = async |manager: &str, value: &str, query: &str| {
        let body = format!("apiVersion: v1\nkind: ConfigMap\ndata: {{k: '{value}'}}\n");
        let path = format!("{path}?fieldManager={manager}{query}");
        house.send("PATCH", &path, &media, body).await
    };
    assert_eq!(apply("one", "1", "").await.code, 201);
    let first = house.get(&path).await.text();
    assert_eq!(apply("one", "1", "").await.text(), first);
    check(
        &apply("two", "2", "").await.line(),
        expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "one": .data.k"#]],
    );
    let forced = apply("two", "2", "&force=true").await.json();
    assert_eq!(forced["data"]["k"], "2");
    let managers = |object: &Value| {
        let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
        let words = entries.map(|entry| {
            format!(
                "{} {}",
                entry["manager"].as_str().unwrap(),
                entry["operation"].as_str().unwrap()
            )
        });
        words.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(managers(&forced), "two Apply");
    let third = format!("{path}?fieldManager=three");
    let merged = house.merge(&third, &json!({ "data": { "z": "1" } })).await;
    assert_eq!(managers(&merged.json()), "two Apply, three Update");
    check(
        &house.send("PATCH", &path, &media, "{}").await.line(),
        expect![[
            r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
        ]],
    );
}

#[tokio::test]
async fn w8_scale() {
    let house = House::open().await;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    let set = json!({ "metadata": { "name": "web" }, "spec": {
        "serviceName": "web", "replicas": 2,
        "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    } });
    let made = house.post(sets, &set).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let path = format!("{sets}/web/scale");
    let scale = house.get(&path).await.json();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&"Scale".into(), &"autoscaling/v1".into()));
    assert_eq!(scale["status"]["selector"], "app=web");
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = 3.into();
    assert_eq!(house.put(&path, &wanted).await.json()["spec"]["replicas"], 3);
    assert_eq!(house.put(&path, &wanted).await.code, 409);
    let four = house.merge(&path, &json!({ "spec": { "replicas": 4 } })).await.json();
    assert_eq!(four["spec"]["replicas"], 4);
    check(
        &house.merge(&path, &json!({ "spec": { "replicas": -1 } })).await.line(),
        expect![[
            r#"422 Invalid: Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        ]],
    );
    assert_eq!(house.get(&format!("{sets}/web")).await.json()["spec"]["replicas"], 4);
}

#[tokio::test]
async fn w8_binding_and_eviction() {
    let house = House::open().await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut unbound = pod("p");
    unbound["spec"]["nodeName"] = Value::Null;
    house.post(pods, &unbound).await;
    let binding =
        json!({ "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n1" } });
    let path = format!("{pods}/p/binding");
    let done = house.post(&path, &binding).await;
    assert_eq!((done.code, &done.json()["status"]), (201, &"Success".into()));
    let bound = house.get(&format!("{pods}/p")).await.json();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    check(
        &house.post(&path, &binding).await.line(),
        expect![[
            r#"409 Conflict: Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1""#
        ]],
    );
    let eviction =
        json!({ "metadata": { "name": "p" }, "deleteOptions": { "gracePeriodSeconds": 0 } });
    let done = house.post(&format!("{pods}/p/eviction"), &eviction).await;
    assert_eq!(done.code, 201);
    assert_eq!(house.get(&format!("{pods}/p")).await.code, 404);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    house.journal.set_fault(store::Fault::Full);
    check(
        &house.post(MAPS, &config("b", "1")).await.line(),
        expect![
            "500 InternalError: Internal error occurred: the journal could not be written: no space left for memory"
        ],
    );
    assert_eq!(house.get(&format!("{MAPS}/a")).await.code, 200);
    assert_eq!(house.get("/readyz").await.code, 500);
    house.journal.set_fault(store::Fault::None);
    assert_eq!(house.post(MAPS, &config("b", "1")).await.code, 201);
    assert_eq!(house.get("/readyz").await.code, 200);
}
