//! W9 to W11, X4: what the server does for Services, Events, Namespaces and Pods.

use expect_test::{Expect, expect};
use serde_json::json;

use super::{
    house::{House, Lines, config},
    writes::pod,
};

fn check(found: &str, expect: Expect) {
    expect.assert_eq(found);
}

#[tokio::test]
async fn w9_services_take_and_give_back() {
    let house = House::open().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({ "metadata": { "name": name }, "spec": {
        "clusterIP": "10.96.0.10", "ports": [{ "port": 80 }] } })
    };
    let first = house.get(&format!("{services}/kubernetes")).await.json();
    assert_eq!(first["spec"]["clusterIP"], "10.96.0.1");
    assert_eq!(house.post(services, &service("a")).await.code, 201);
    check(
        &house.post(services, &service("b")).await.line(),
        expect![[
            r#"422 Invalid: Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated"#
        ]],
    );
    assert_eq!(house.delete(&format!("{services}/a")).await.code, 200);
    assert_eq!(house.post(services, &service("b")).await.code, 201);
    let external = json!({ "metadata": { "name": "b" },
        "spec": { "type": "ExternalName", "externalName": "x.y" } });
    let changed = house.put(&format!("{services}/b"), &external).await;
    assert_eq!(changed.code, 200, "{}", changed.text());
    assert_eq!(house.post(services, &service("a")).await.code, 201);
}

#[tokio::test]
async fn w9_the_service_kubernetes_comes_back() {
    let house = House::open().await;
    let server = house.server.clone();
    let guard = tokio::spawn(async move { server.background(std::future::pending()).await });
    let services = "/api/v1/namespaces/default/services";
    let watch = format!("{services}?watch=1&fieldSelector=metadata.name%3Dkubernetes");
    let mut lines = Lines::of(house.raw("GET", &watch, &[], "").await);
    assert_eq!(lines.line().await, "ADDED kubernetes@1");
    // The guard has looked once when it is first polled, which the delete's await allows.
    house.delete(&format!("{services}/kubernetes")).await;
    assert!(lines.line().await.starts_with("DELETED"));
    assert!(lines.line().await.starts_with("ADDED"));
    let again = house.get(&format!("{services}/kubernetes")).await.json();
    assert_eq!(again["spec"]["clusterIP"], "10.96.0.1");
    guard.abort();
}

#[tokio::test]
async fn w10_both_event_groups_show_the_same() {
    let house = House::open().await;
    let core = json!({ "metadata": { "name": "e" }, "reason": "R", "message": "m", "type": "Normal",
        "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" } });
    let made = house.post("/api/v1/namespaces/default/events", &core).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let seen = house.get(&format!("{new}/e")).await.json();
    assert_eq!(seen["apiVersion"], "events.k8s.io/v1");
    assert_eq!((&seen["note"], &seen["regarding"]["name"]), (&"m".into(), &"p".into()));
    let list = house.get(&format!("{new}?fieldSelector=regarding.name%3Dp")).await.json();
    assert_eq!(list["items"][0]["note"], "m");
    let list = house.get("/api/v1/events?fieldSelector=involvedObject.name%3Dq").await.json();
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn w10_events_live_an_hour() {
    let house = House::open().await;
    let path = "/api/v1/namespaces/default/events";
    let event = |name: &str| {
        json!({ "metadata": { "name": name },
        "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" } })
    };
    house.post(path, &event("old")).await;
    let server = house.server.clone();
    let sweep = tokio::spawn(async move { server.background(std::future::pending()).await });
    house.pass(3601);
    let version = house.get(path).await.json()["metadata"]["resourceVersion"].clone();
    // Its watch wakes the sweep, which then looks at the clock.
    house.post(path, &event("new")).await;
    let watch = format!("{path}?watch=1&resourceVersion={}", version.as_str().unwrap());
    let mut lines = Lines::of(house.raw("GET", &watch, &[], "").await);
    let mut seen = vec![lines.line().await, lines.line().await];
    seen.sort();
    assert!(seen[0].starts_with("ADDED new@") && seen[1].starts_with("DELETED old@"), "{seen:?}");
    assert_eq!(house.get(&format!("{path}/new")).await.code, 200);
    sweep.abort();
}

#[tokio::test]
async fn x4_pods_are_admitted() {
    let house = House::open().await;
    let pods = "/api/v1/namespaces/default/pods";
    let made = house.post(pods, &pod("p")).await.json();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(made["spec"]["priority"], 0);
    let mut other = pod("q");
    other["spec"]["serviceAccountName"] = "none".into();
    assert_eq!(house.post(pods, &other).await.code, 403);
}

#[tokio::test]
async fn w11_namespaces() {
    let house = House::open().await;
    check(
        &house.post("/api/v1/namespaces/none/configmaps", &config("a", "1")).await.line(),
        expect![[r#"404 NotFound: namespaces "none" not found"#]],
    );
    check(
        &house.delete("/api/v1/namespaces/default").await.line(),
        expect![[
            r#"403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted"#
        ]],
    );
    house
        .post(
            "/api/v1/namespaces",
            &json!({ "metadata": { "name": "x" },
        "spec": { "finalizers": ["kubernetes"] } }),
        )
        .await;
    house.post("/api/v1/namespaces/x/configmaps", &config("a", "1")).await;
    let going = house.delete("/api/v1/namespaces/x").await;
    assert_eq!((going.code, &going.json()["status"]["phase"]), (200, &"Terminating".into()));
    let refused = house.post("/api/v1/namespaces/x/configmaps", &config("b", "1")).await;
    check(
        &refused.line(),
        expect![[
            r#"403 Forbidden: configmaps "b" is forbidden: unable to create new content in namespace x because it is being terminated"#
        ]],
    );
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut last = going.json();
    last["spec"]["finalizers"] = json!([]);
    assert_eq!(house.put("/api/v1/namespaces/x/finalize", &last).await.code, 200);
    assert_eq!(house.get("/api/v1/namespaces/x").await.code, 404);
}
