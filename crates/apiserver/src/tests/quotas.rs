//! A quota's status is true at every moment, whoever writes beside whom.

use expect_test::expect;
use futures::future::join_all;
use serde_json::{Value, json};

use super::house::{House, config};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(hard: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

async fn used(house: &House) -> Value {
    house.get(&format!("{QUOTAS}/q")).await.json()["status"]["used"].clone()
}

#[tokio::test]
async fn what_is_there_already_counts() {
    let house = House::open().await;
    for name in ["a", "b"] {
        assert_eq!(house.post(MAPS, &config(name, "1")).await.code, 201);
    }
    let made = house.post(QUOTAS, &quota(json!({"configmaps": "3", "resourcequotas": "1"}))).await;
    let status = made.json()["status"].clone();
    assert_eq!(status["used"], json!({"configmaps": "2", "resourcequotas": "1"}));
    assert_eq!(status["hard"], json!({"configmaps": "3", "resourcequotas": "1"}));
    assert_eq!(house.post(MAPS, &config("c", "1")).await.code, 201);
    expect![[r#"403 Forbidden: configmaps "d" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3"#]]
    .assert_eq(&house.post(MAPS, &config("d", "1")).await.line());
    assert_eq!(house.put(&format!("{MAPS}/a"), &config("a", "2")).await.code, 200);
    assert_eq!(house.delete(&format!("{MAPS}/a")).await.code, 200);
    assert_eq!(used(&house).await["configmaps"], "2");
    assert_eq!(house.post(MAPS, &config("d", "1")).await.code, 201);
    // A raised limit counts at once; a written status is what is true all the same.
    let raised = house.put(&format!("{QUOTAS}/q"), &quota(json!({"configmaps": "4"}))).await;
    assert_eq!(raised.json()["status"]["used"], json!({"configmaps": "3"}));
    let mut lie = raised.json();
    lie["status"] = json!({"used": {"configmaps": "0"}});
    assert_eq!(house.put(&format!("{QUOTAS}/q/status"), &lie).await.code, 200);
    assert_eq!(used(&house).await, json!({"configmaps": "3"}));
}

#[tokio::test]
async fn of_many_at_once_only_as_many_as_fit() {
    let house = House::open().await;
    assert_eq!(house.post(QUOTAS, &quota(json!({"count/configmaps": "10"}))).await.code, 201);
    let maps: Vec<Value> = (0..40).map(|number| config(&format!("m{number}"), "1")).collect();
    let answers = join_all(maps.iter().map(|map| house.post(MAPS, map))).await;
    let made = answers.iter().filter(|answer| answer.code == 201).count();
    let refused = answers.iter().filter(|answer| answer.code == 403).count();
    assert_eq!((made, refused), (10, 30));
    assert_eq!(used(&house).await, json!({"count/configmaps": "10"}));
    let gone: Vec<String> = (0..40).map(|number| format!("{MAPS}/m{number}")).collect();
    let answers = join_all(gone.iter().map(|path| house.delete(path))).await;
    assert_eq!(answers.iter().filter(|answer| answer.code == 200).count(), 10);
    assert_eq!(used(&house).await, json!({"count/configmaps": "0"}));
}

#[tokio::test]
async fn what_is_marked_for_deletion_counts_until_it_is_gone() {
    let house = House::open().await;
    assert_eq!(house.post(QUOTAS, &quota(json!({"configmaps": "1"}))).await.code, 201);
    let mut held = config("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(house.post(MAPS, &held).await.code, 201);
    assert_eq!(house.delete(&format!("{MAPS}/a")).await.code, 200);
    assert_eq!(used(&house).await, json!({"configmaps": "1"}));
    assert_eq!(house.put(&format!("{MAPS}/a"), &config("a", "1")).await.code, 200);
    assert_eq!(used(&house).await, json!({"configmaps": "0"}));
}
