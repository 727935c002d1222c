//! Backups and what they bring back.

use expect_test::expect;
use serde_json::{Value, json};

use super::house::{House, Lines, config};

const PATH: &str = "/stead/v1/backup";
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

/// Every object of these kinds, without its version.
async fn contents(house: &House) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/api/v1/configmaps", "/api/v1/services", "/apis/apps/v1/statefulsets"] {
        let mut list = house.get(path).await.json();
        for item in list["items"].as_array_mut().unwrap() {
            item["metadata"].as_object_mut().unwrap().remove("resourceVersion");
            all.push(item.take());
        }
    }
    all
}

#[tokio::test]
async fn a_restore_brings_back_what_was() {
    let house = House::open().await;
    for name in ["same", "changed", "deleted", "remade"] {
        house.post(CONFIGS, &config(name, "old")).await;
    }
    let service = json!({
        "metadata": { "name": "web" },
        "spec": { "ports": [{ "port": 80 }] },
    });
    let services = "/api/v1/namespaces/default/services";
    house.post(services, &service).await;
    let before = contents(&house).await;
    let backup = house.get(PATH).await;
    assert_eq!(backup.code, 200);
    let length = backup.headers["content-length"].to_str().unwrap();
    assert_eq!(length, backup.bytes.len().to_string());

    house.merge(&format!("{CONFIGS}/changed"), &json!({ "data": { "k": "new" } })).await;
    house.delete(&format!("{CONFIGS}/deleted")).await;
    house.delete(&format!("{CONFIGS}/remade")).await;
    house.post(CONFIGS, &config("remade", "new")).await;
    house.post(CONFIGS, &config("surplus", "new")).await;
    house.delete(&format!("{services}/web")).await;
    let mut list = house.get(CONFIGS).await.json();
    let version = list["metadata"]["resourceVersion"].take();
    let watch = format!("{CONFIGS}?watch=1&resourceVersion={}", version.as_str().unwrap());
    let mut lines = Lines::of(house.raw("GET", &watch, &[], "").await);

    let restored = house.send("POST", PATH, &[], backup.bytes.clone()).await;
    expect!["200 restored 15 objects of revision 6"].assert_eq(&restored.line());
    assert_eq!(contents(&house).await, before);
    let mut seen = String::new();
    for _ in 0..5 {
        let line = lines.line().await;
        seen += &format!("{}\n", line.split('@').next().unwrap_or_default());
    }
    expect![[r#"
        MODIFIED changed
        ADDED deleted
        DELETED remade
        ADDED remade
        DELETED surplus
    "#]]
    .assert_eq(&seen);
    let again = house.send("POST", PATH, &[], backup.bytes).await;
    assert_eq!(again.line(), restored.line());
    // Its address is taken again.
    let address = house.get(&format!("{services}/web")).await.json()["spec"]["clusterIP"].take();
    let other = json!({
        "metadata": { "name": "other" },
        "spec": { "clusterIP": address, "ports": [{ "port": 80 }] },
    });
    assert_eq!(house.post(services, &other).await.code, 422);
}

#[tokio::test]
async fn a_damaged_file_changes_nothing() {
    let house = House::open().await;
    house.post(CONFIGS, &config("a", "old")).await;
    let backup = house.get(PATH).await.bytes;
    house.post(CONFIGS, &config("b", "new")).await;
    let before = contents(&house).await;
    let mut flipped = backup.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let short = backup[..backup.len() - 1].to_vec();
    for (bytes, code) in [(flipped, 400), (short, 400), (Vec::new(), 400), (vec![7; 999], 400)] {
        let refused = house.send("POST", PATH, &[], bytes).await;
        assert_eq!(refused.code, code);
        expect!["400 BadRequest: the backup is damaged: its rows are not what was written"]
            .assert_eq(&refused.line());
    }
    assert_eq!(contents(&house).await, before);
    assert_eq!(house.send("PUT", PATH, &[], "").await.code, 405);
    house.doubles.denied.lock().unwrap().push("post");
    let refused = house.send("POST", PATH, &[], backup).await;
    expect![[r#"403 Forbidden: forbidden: User "tester" cannot post path "/stead/v1/backup""#]]
        .assert_eq(&refused.line());
}
