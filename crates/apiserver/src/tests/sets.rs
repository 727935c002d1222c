//! What the server owes a StatefulSet: rows named by the ids of its specification (S, C, V, D, 17).

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::house::{House, Lines};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const WEB: &str = "/apis/apps/v1/namespaces/default/statefulsets/web";
const STATUS: &str = "/apis/apps/v1/namespaces/default/statefulsets/web/status";
const SCALE: &str = "/apis/apps/v1/namespaces/default/statefulsets/web/scale";

fn check(found: &str, expect: Expect) {
    expect.assert_eq(found);
}

fn set(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"tier": "data"}},
        "spec": {
            "serviceName": "web", "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    })
}

async fn with_web() -> (House, Value) {
    let house = House::open().await;
    let made = house.post(SETS, &set("web")).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    (house, made)
}

#[tokio::test]
async fn s1_s5_names_versions_and_parts() {
    let house = House::open().await;
    let listed = house.get("/apis/apps/v1").await.json();
    let found = listed["resources"].as_array().unwrap();
    let named = |name: &str| found.iter().find(|one| one["name"] == name).unwrap().clone();
    let main = named("statefulsets");
    assert_eq!(main["shortNames"], json!(["sts"]));
    assert_eq!(main["categories"], json!(["all"]));
    assert_eq!((&main["singularName"], &main["namespaced"]), (&json!("statefulset"), &json!(true)));
    let scale = named("statefulsets/scale");
    assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
    assert_eq!(named("statefulsets/status")["verbs"], json!(["get", "patch", "update"]));
    for version in ["v1beta1", "v1beta2"] {
        assert_eq!(house.get(&format!("/apis/apps/{version}")).await.code, 404);
    }
}

#[tokio::test]
async fn s2_s3_each_endpoint_hears_its_own_part() {
    let house = House::open().await;
    let mut sent = set("web");
    sent["status"] = json!({"replicas": 9, "observedGeneration": 9});
    sent["metadata"]["generation"] = json!(9);
    let made = house.post(SETS, &sent).await.json();
    assert_eq!(
        (&made["status"]["replicas"], &made["metadata"]["generation"]),
        (&json!(0), &json!(1))
    );
    let mut changed = made.clone();
    changed["spec"]["replicas"] = json!(3);
    changed["status"] = json!({"replicas": 3});
    let main = house.put(WEB, &changed).await.json();
    assert_eq!(main["status"], made["status"]);
    assert_eq!(main["metadata"]["generation"], 2);
    let labelled = house.merge(WEB, &json!({"metadata": {"labels": {"a": "b"}}})).await.json();
    assert_eq!(labelled["metadata"]["generation"], 2, "only the spec counts");
    let both = json!({"spec": {"replicas": 7}, "status": {"replicas": 3}});
    let told = house.merge(STATUS, &both).await.json();
    assert_eq!((&told["spec"]["replicas"], &told["status"]["replicas"]), (&json!(3), &json!(3)));
    assert_eq!(told["metadata"]["generation"], 2);
}

/// S3: what an endpoint does not hear, its caller does not own.
#[tokio::test]
async fn s3_reset_fields_are_owned_by_nobody() {
    let (house, _) = with_web().await;
    let apply = [("content-type", "application/apply-patch+yaml")];
    let wish = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {"replicas": 5}, "status": {"replicas": 4}});
    for (path, kept, dropped) in [(WEB, "f:spec", "f:status"), (STATUS, "f:status", "f:spec")] {
        let path = format!("{path}?fieldManager=one&force=true");
        let applied = house.send("PATCH", &path, &apply, wish.to_string()).await;
        assert_eq!(applied.code, 200, "{}", applied.text());
        let entries = applied.json()["metadata"]["managedFields"].clone();
        let part = if kept == "f:status" { json!("status") } else { Value::Null };
        let mut entries = entries.as_array().unwrap().iter();
        let mine = entries.find(|e| e["manager"] == "one" && e["subresource"] == part).unwrap();
        assert!(mine["fieldsV1"].get(kept).is_some() && mine["fieldsV1"].get(dropped).is_none());
    }
}

#[tokio::test]
async fn s4_put_and_delete() {
    let (house, made) = with_web().await;
    let other = format!("{SETS}/other");
    check(
        &house.put(&other, &set("other")).await.line(),
        expect![[r#"404 NotFound: statefulsets.apps "other" not found"#]],
    );
    let mut unconditional = made.clone();
    unconditional["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    unconditional["spec"]["replicas"] = json!(4);
    assert_eq!(house.put(WEB, &unconditional).await.code, 200);
    // Background: the set goes at once, and its dependents after it.
    assert_eq!(house.delete(WEB).await.code, 200);
    assert_eq!(house.get(WEB).await.code, 404);
}

#[tokio::test]
async fn d9_v14_the_original_again_is_no_change() {
    let (house, made) = with_web().await;
    let template = &made["spec"]["volumeClaimTemplates"][0];
    assert_eq!(
        (&template["apiVersion"], &template["kind"]),
        (&json!("v1"), &json!("PersistentVolumeClaim"))
    );
    let again = house.put(WEB, &set("web")).await;
    assert_eq!(again.code, 200, "{}", again.text());
    assert_eq!(again.json()["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let other = house.merge(WEB, &json!({"spec": {"serviceName": "other"}})).await;
    check(
        &other.line(),
        expect![[
            r#"422 Invalid: StatefulSet.apps "web" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"#
        ]],
    );
}

/// Section 18, V18: the reason stands in the answer; nothing is made.
#[tokio::test]
async fn v18_fix_a_long_name_is_refused_with_its_reason() {
    let house = House::open().await;
    let refused = house.post(SETS, &set(&"a".repeat(53))).await;
    assert_eq!(refused.code, 422);
    assert!(refused.text().contains("must be no more than 52 bytes"), "{}", refused.text());
    assert_eq!(house.post(SETS, &set(&"a".repeat(52))).await.code, 201);
}

/// T8: what upstream's controller sends after its count went below zero.
#[tokio::test]
async fn v16_t8_a_negative_count_is_refused() {
    let (house, _) = with_web().await;
    check(
        &house.merge(STATUS, &json!({"status": {"currentReplicas": -1}})).await.line(),
        expect![[
            r#"422 Invalid: StatefulSet.apps "web" is invalid: status.currentReplicas: Invalid value: -1: must be greater than or equal to 0"#
        ]],
    );
}

#[tokio::test]
async fn c1_scale_shows_the_set() {
    let (house, made) = with_web().await;
    let told = house.merge(STATUS, &json!({"status": {"replicas": 1}})).await;
    assert_eq!(told.code, 200);
    let scale = house.get(SCALE).await.json();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        assert_eq!(scale["metadata"][field], made["metadata"][field], "{field}");
    }
    assert_eq!(scale["metadata"]["resourceVersion"], told.json()["metadata"]["resourceVersion"]);
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 2}), &json!({"replicas": 1, "selector": "app=web"}))
    );
}

#[tokio::test]
async fn c2_scale_writes_replicas_and_nothing_else() {
    let (house, made) = with_web().await;
    let mut scale = house.get(SCALE).await.json();
    scale["spec"]["replicas"] = json!(5);
    scale["metadata"]["labels"] = json!({"ignored": "yes"});
    let written = house.put(&format!("{SCALE}?fieldManager=hpa"), &scale).await;
    assert_eq!((written.code, &written.json()["spec"]["replicas"]), (200, &json!(5)));
    let now = house.get(WEB).await.json();
    assert_eq!(
        (&now["spec"]["replicas"], &now["metadata"]["labels"]),
        (&json!(5), &made["metadata"]["labels"])
    );
    let entries = now["metadata"]["managedFields"].as_array().unwrap();
    let mine = entries.iter().find(|entry| entry["manager"] == "hpa").unwrap();
    assert_eq!(mine["subresource"], "scale");
    assert_eq!(mine["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    scale["metadata"]["resourceVersion"] = Value::Null;
    scale["metadata"]["uid"] = json!("other");
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let line = house.put(SCALE, &scale).await.line();
    let wanted =
        format!("Precondition failed: UID in precondition: other, UID in object meta: {uid}");
    assert!(line.starts_with("409 Conflict: ") && line.ends_with(&wanted), "{line}");
    scale["metadata"]["uid"] = Value::Null;
    let absent = scale.to_string().replace("\"web\"", "\"absent\"");
    let absent = house.send("PUT", &format!("{SETS}/absent/scale"), &[], absent).await;
    check(&absent.line(), expect![[r#"404 NotFound: statefulsets.apps "absent" not found"#]]);
}

/// Section 17, 12, and C3: what an autoscaler does.
#[tokio::test]
async fn b12_c3_scale_is_read_updated_and_patched() {
    let (house, _) = with_web().await;
    let mut scale = house.get(SCALE).await.json();
    scale["spec"]["replicas"] = json!(3);
    assert_eq!(house.put(SCALE, &scale).await.code, 200);
    let patched = house.merge(SCALE, &json!({"spec": {"replicas": 4}})).await;
    assert_eq!(patched.json()["spec"]["replicas"], 4);
    let set = house.get(WEB).await.json();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(4), &json!(3)));
}

/// Section 17, 13.
#[tokio::test]
async fn b13_lists_patches_and_deletes_collections() {
    let house = House::open().await;
    for name in ["one", "two"] {
        assert_eq!(house.post(SETS, &set(name)).await.code, 201);
    }
    let mut plain = set("three");
    plain["metadata"]["labels"] = json!({"tier": "front"});
    assert_eq!(house.post(SETS, &plain).await.code, 201);
    let names = async |path: &str| {
        let list = house.get(path).await.json();
        let items = list["items"].as_array().unwrap().iter();
        let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    let everywhere = "/apis/apps/v1/statefulsets?labelSelector=tier%3Ddata";
    assert_eq!(names(everywhere).await, "one two");
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}});
    let path = format!("{SETS}/one");
    let patched = house.send("PATCH", &path, &strategic, image.to_string()).await.json();
    let containers = patched["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), &containers[0]["image"]), (1, &json!("j")));
    assert_eq!(house.delete(&format!("{SETS}?labelSelector=tier%3Ddata")).await.code, 200);
    assert_eq!(names(SETS).await, "three");
}

/// Section 17, 14, and T7: conditions that someone else writes are there, and seen by watchers.
#[tokio::test]
async fn b14_t7_the_status_is_read_updated_and_patched() {
    let (house, made) = with_web().await;
    let condition = |reason: &str| json!([{"type": "StatusUpdate", "status": "True", "reason": reason, "message": "set"}]);
    let mut updated = house.get(STATUS).await.json();
    updated["status"]["conditions"] = condition("updated");
    assert_eq!(house.put(STATUS, &updated).await.code, 200);
    let patch = json!({"status": {"conditions": condition("patched")}});
    assert_eq!(house.merge(STATUS, &patch).await.code, 200);
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("{SETS}?watch=1&resourceVersion={from}");
    let mut heard = Lines::of(house.raw("GET", &watch, &[], "").await);
    for reason in ["updated", "patched"] {
        let event = heard.next().await.unwrap();
        assert_eq!(event["object"]["status"]["conditions"][0]["reason"], reason);
    }
}

/// R1: the very bytes of upstream's server, which upstream's controller and kubectl compare.
#[tokio::test]
async fn r1_a_revisions_data_is_served_as_upstream_serves_it() {
    const PAIRS: &str = include_str!("../../../api/tests/fixtures/revisions.md");
    let house = House::open().await;
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let mut seen = 0;
    for part in PAIRS.split("\n## `").skip(1) {
        let (name, rest) = part.split_once('`').unwrap();
        let data = rest.rsplit("```json\n").next().unwrap().split("\n```").next().unwrap();
        let value: Value = serde_json::from_str(data).unwrap();
        let revision = json!({"metadata": {"name": name}, "revision": 1, "data": value});
        let made = house.post(revisions, &revision).await;
        assert_eq!(made.code, 201, "{}", made.text());
        for served in [made.text(), house.get(&format!("{revisions}/{name}")).await.text()] {
            assert!(served.contains(&format!("\"data\":{data}")), "{served}\n{data}");
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
}
