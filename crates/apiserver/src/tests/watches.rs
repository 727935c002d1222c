//! R4 to R6: what a watcher sees.

use serde_json::{Value, json};

use super::house::{House, Lines, config};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn watch(house: &House, query: &str) -> Lines {
    Lines::of(house.raw("GET", &format!("{MAPS}?watch=1&{query}"), &[], "").await)
}

fn labelled(name: &str, label: &str) -> Value {
    let mut map = config(name, "1");
    map["metadata"]["labels"] = json!({ "x": label });
    map
}

#[tokio::test]
async fn r4_from_a_version_everything_after_it() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    house.put(&format!("{MAPS}/a"), &config("a", "2")).await;
    house.delete(&format!("{MAPS}/a")).await;
    let mut lines = watch(&house, "resourceVersion=1").await;
    for expected in ["ADDED a@2", "MODIFIED a@3", "DELETED a@4"] {
        assert_eq!(lines.line().await, expected);
    }
    house.post(MAPS, &config("b", "1")).await;
    assert_eq!(lines.line().await, "ADDED b@5");
}

#[tokio::test]
async fn r4_unset_begins_with_synthetic_events() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    house.post(MAPS, &config("b", "1")).await;
    for query in ["", "resourceVersion=0"] {
        let mut lines = watch(&house, query).await;
        assert_eq!(lines.line().await, "ADDED a@2", "{query}");
        assert_eq!(lines.line().await, "ADDED b@3");
    }
}

#[tokio::test]
async fn r4_send_initial_events() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = watch(&house, query).await;
    assert_eq!(lines.line().await, "ADDED a@2");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let object = &bookmark["object"];
    assert_eq!((&object["kind"], &object["apiVersion"]), (&"ConfigMap".into(), &"v1".into()));
    assert_eq!(object["metadata"]["annotations"], json!({ "k8s.io/initial-events-end": "true" }));
    assert_eq!(object["metadata"]["resourceVersion"], "2");
    house.post(MAPS, &config("b", "1")).await;
    assert_eq!(lines.line().await, "ADDED b@3");
    let refused = house.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(refused.code, 422);
}

#[tokio::test(start_paused = true)]
async fn r4_bookmarks_and_the_end() {
    let house = House::open().await;
    let mut lines =
        watch(&house, "allowWatchBookmarks=true&timeoutSeconds=100&resourceVersion=1").await;
    house.post("/api/v1/namespaces/kube-system/configmaps", &config("z", "1")).await;
    assert_eq!(lines.line().await, "BOOKMARK -@2");
    assert_eq!(lines.line().await, "BOOKMARK -@2");
    assert_eq!(lines.line().await, "END");
    let mut lines = watch(&house, "timeoutSeconds=5").await;
    assert_eq!(lines.line().await, "END");
}

#[tokio::test]
async fn r5_selectors_turn_changes_into_additions_and_deletions() {
    let house = House::open().await;
    let mut lines = watch(&house, "labelSelector=x%3D1&resourceVersion=1").await;
    house.post(MAPS, &labelled("a", "2")).await;
    house.put(&format!("{MAPS}/a"), &labelled("a", "1")).await;
    house.put(&format!("{MAPS}/a"), &labelled("a", "2")).await;
    house.put(&format!("{MAPS}/a"), &labelled("a", "1")).await;
    house.delete(&format!("{MAPS}/a")).await;
    assert_eq!(lines.line().await, "ADDED a@3");
    let left = lines.next().await.unwrap();
    assert_eq!(
        (&left["type"], &left["object"]["metadata"]["resourceVersion"]),
        (&"DELETED".into(), &"4".into())
    );
    assert_eq!(left["object"]["metadata"]["labels"], json!({ "x": "1" }));
    assert_eq!(lines.line().await, "ADDED a@5");
    assert_eq!(lines.line().await, "DELETED a@6");
}

#[tokio::test]
async fn r6_tables_names_and_old_paths() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    house.post(MAPS, &config("b", "1")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let path = format!("{MAPS}?watch=true");
    let mut lines = Lines::of(house.raw("GET", &path, &accept, "").await);
    let first = lines.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&"ADDED".into(), &"Table".into()));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(lines.next().await.unwrap()["object"]["columnDefinitions"], json!([]));
    let old = "/api/v1/watch/namespaces/default/configmaps/b";
    let mut lines = Lines::of(house.raw("GET", old, &[], "").await);
    assert_eq!(lines.line().await, "ADDED b@3");
    let mut lines = watch(&house, "fieldSelector=metadata.name%3Db").await;
    assert_eq!(lines.line().await, "ADDED b@3");
    let all = house.raw("GET", "/api/v1/configmaps?watch=1", &[], "").await;
    assert_eq!(Lines::of(all).line().await, "ADDED a@2");
}
