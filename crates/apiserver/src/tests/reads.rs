//! R1 to R3: versions, pages, selectors.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::house::{House, config};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(found: &str, expect: Expect) {
    expect.assert_eq(found);
}

fn names(list: &Value) -> String {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn r1_versions() {
    let house = House::open().await;
    let made = house.post(MAPS, &config("a", "1")).await.json();
    let version: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    house.post(MAPS, &config("b", "1")).await;
    let list = house.get(MAPS).await.json();
    assert_eq!(list["metadata"]["resourceVersion"], (version + 1).to_string());
    let old = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let list = house.get(&old).await.json();
    assert_eq!(
        (names(&list).as_str(), &list["metadata"]["resourceVersion"]),
        ("a", &version.to_string().into())
    );
    let newer = house.get(&format!("{MAPS}?resourceVersion={version}")).await.json();
    assert_eq!(names(&newer), "a b");
    let future = house.get(&format!("{MAPS}?resourceVersion=1000")).await;
    check(
        &future.line(),
        expect!["504 Timeout: Timeout: Too large resource version: 1000, current: 3"],
    );
    assert_eq!(future.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(future.headers["retry-after"], "1");
    assert_eq!(house.get(&format!("{MAPS}?resourceVersion=x")).await.code, 400);
    assert_eq!(house.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
}

#[tokio::test]
async fn r2_pages_are_one_snapshot() {
    let house = House::open().await;
    for name in ["a", "b", "c", "d", "e"] {
        house.post(MAPS, &config(name, "1")).await;
    }
    let page = house.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(
        (names(&page).as_str(), &page["metadata"]["remainingItemCount"]),
        ("a b", &3.into())
    );
    house.delete(&format!("{MAPS}/c")).await;
    house.post(MAPS, &config("ca", "1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = house.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(
        (names(&next).as_str(), &next["metadata"]["remainingItemCount"]),
        ("c d", &1.into())
    );
    assert_eq!(next["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
    let token = next["metadata"]["continue"].as_str().unwrap();
    let last = house.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!((names(&last).as_str(), &last["metadata"]["continue"]), ("e", &Value::Null));
    let selected = house.get(&format!("{MAPS}?limit=1&labelSelector=!x")).await.json();
    assert_eq!(selected["metadata"]["remainingItemCount"], Value::Null);
    assert_eq!(house.get(&format!("{MAPS}?continue=nonsense")).await.code, 400);
}

#[tokio::test]
async fn r3_selectors() {
    let house = House::open().await;
    for (name, labels) in [("a", json!({ "x": "1" })), ("b", json!({ "x": "2", "y": "1" }))] {
        let mut map = config(name, "1");
        map["metadata"]["labels"] = labels;
        house.post(MAPS, &map).await;
    }
    let rows = [
        ("labelSelector=x%3D1", "a"),
        ("labelSelector=x+in+(1,2),y", "b"),
        ("labelSelector=x+notin+(1)", "b"),
        ("labelSelector=!y", "a"),
        ("fieldSelector=metadata.name%3Db", "b"),
        ("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault", "a"),
    ];
    for (query, expected) in rows {
        let list = house.get(&format!("{MAPS}?{query}")).await.json();
        assert_eq!(names(&list), expected, "{query}");
    }
    check(
        &house.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.line(),
        expect![[
            r#"400 BadRequest: "spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#
        ]],
    );
    check(
        &house.get("/api/v1/pods?fieldSelector=spec.x%3D1").await.line(),
        expect!["400 BadRequest: field label not supported: spec.x"],
    );
}
