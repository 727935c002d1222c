//! A1 to A5 and bad input: what is refused, in which words.

use expect_test::{Expect, expect};
use serde_json::json;

use super::house::{House, config};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(found: &str, expect: Expect) {
    expect.assert_eq(found);
}

#[tokio::test]
async fn a1_paths_and_methods() {
    let house = House::open().await;
    let rows = [
        ("GET", "/nope", "404 404 page not found"),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/deployments",
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "GET",
            "/apis/apps/v1beta1/statefulsets",
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "PUT",
            MAPS,
            "405 MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            "405 MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
        (
            "DELETE",
            "/api/v1/configmaps",
            "405 MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
        (
            "GET",
            "/api/v1/configmaps/a",
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "DELETE",
            "/api/v1/configmaps/a",
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "PUT",
            "/api/v1/pods/p/status",
            "404 NotFound: the server could not find the requested resource",
        ),
        ("GET", "/api/v1/configmaps?fieldSelector=metadata.name=a", "200 ConfigMapList"),
        ("GET", "/api/v1/namespaces/default/configmaps/", "200 ConfigMapList"),
        ("GET", "/api/v1/namespaces/default/", "200 Namespace"),
        (
            "GET",
            "/api/v1/namespaces/default/pods/p/nope",
            "404 NotFound: the server could not find the requested resource",
        ),
    ];
    for (method, path, expected) in rows {
        assert_eq!(house.send(method, path, &[], "").await.line(), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn a1_a_status_is_complete() {
    let house = House::open().await;
    let status = house.get("/apis/apps/v1/namespaces/default/statefulsets/x").await.json();
    assert_eq!(
        status,
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": 404, "reason": "NotFound", "message": "statefulsets.apps \"x\" not found",
            "details": { "group": "apps", "kind": "statefulsets", "name": "x" } })
    );
}

#[tokio::test]
async fn a2_forms() {
    let house = House::open().await;
    house.post(MAPS, &config("a", "1")).await;
    let path = format!("{MAPS}/a");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let rows = [
        ("", "200 ConfigMap"),
        ("*/*", "200 ConfigMap"),
        ("application/vnd.kubernetes.protobuf,application/json", "200 ConfigMap"),
        ("application/cbor, application/json;q=0.5", "200 ConfigMap"),
        (table, "200 Table"),
        (partial, "200 PartialObjectMetadata"),
        (
            "text/html",
            "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, application/json;stream=watch",
        ),
    ];
    for (accept, expected) in rows {
        let answer = house.send("GET", &path, &[("accept", accept)], "").await;
        assert_eq!(answer.line(), expected, "{accept}");
    }
    let list = house.send("GET", MAPS, &[("accept", table)], "").await.json();
    assert_eq!(list["rows"][0]["cells"][0], "a");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(list["columnDefinitions"][0]["name"], "Name");
    let yaml = house.send("GET", &path, &[("accept", "application/yaml")], "").await;
    assert!(yaml.text().contains("kind: ConfigMap"), "{}", yaml.text());
}

#[tokio::test]
async fn a2_bodies() {
    let house = House::open().await;
    let yaml = "metadata: {name: ya}\ndata: {k: \"1\"}\n";
    let header = [("content-type", "application/yaml")];
    assert_eq!(house.send("POST", MAPS, &header, yaml).await.line(), "201 ConfigMap");
    let strange = house.send("POST", MAPS, &[("content-type", "text/x")], "x").await;
    check(
        &strange.line(),
        expect![
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"
        ],
    );
}

#[tokio::test]
async fn a3_headers() {
    let house = House::open().await;
    let answer = house.send("GET", MAPS, &[("audit-id", "mine")], "").await;
    assert_eq!(answer.headers["audit-id"], "mine");
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
    assert!(answer.headers.contains_key("x-kubernetes-pf-flowschema-uid"));
    let mut map = config("a", "1");
    map["spec"] = json!({});
    let answer = house.post(MAPS, &map).await;
    assert_eq!(answer.headers["warning"], "299 - \"unknown field \\\"spec\\\"\"");
}

#[tokio::test]
async fn a3_long_lists_are_compressed() {
    let house = House::open().await;
    let big = "x".repeat(200_000);
    house.post(MAPS, &config("a", &big)).await;
    let plain = house.get(MAPS).await;
    let packed = house.send("GET", MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.bytes.len() * 10 < plain.bytes.len());
}

/// kubectl reads details without looking whether they are there (`debug`), and asks for the
/// definitions before it names an unknown kind.
#[tokio::test]
async fn a1_what_is_not_here_is_told_as_kubectl_reads_it() {
    let house = House::open().await;
    for (method, path) in
        [("PATCH", "/api/v1/namespaces/default/pods/p/ephemeralcontainers"), ("PUT", MAPS)]
    {
        assert_eq!(house.send(method, path, &[], "").await.json()["details"], json!({}), "{path}");
    }
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let list = house.get(definitions).await.json();
    assert_eq!(list["kind"], "CustomResourceDefinitionList");
    assert_eq!(list["items"], json!([]));
    assert!(house.get(&format!("{definitions}/x")).await.line().starts_with("404 NotFound: "));
}

#[tokio::test]
async fn bad_input() {
    let house = House::open().await;
    let rows = [
        (
            r#"{"metadata":"#,
            "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"metadata\":)",
        ),
        (r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}"#, ""),
        (r#"{"kind":"ConfigMap","apiVersion":"apps/v1","metadata":{"name":"a"}}"#, ""),
    ];
    for (body, expected) in rows {
        let line = house.send("POST", MAPS, &[], body).await.line();
        assert!(line.starts_with("400 BadRequest: "), "{line}");
        if !expected.is_empty() {
            assert_eq!(line, expected);
        }
    }
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let mut map = config("a", "1");
    map["spec"] = json!({});
    check(
        &house.post(&strict, &map).await.line(),
        expect![[
            r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "spec""#
        ]],
    );
    for length in [3 * 1024 * 1024 + 1, 17 * 1024 * 1024] {
        check(
            &house.send("POST", MAPS, &[], vec![b' '; length]).await.line(),
            expect!["413 RequestEntityTooLarge: Request entity too large: limit is 3145728"],
        );
    }
    let mut map = config("a", "1");
    map["metadata"]["namespace"] = "other".into();
    check(
        &house.post(MAPS, &map).await.line(),
        expect![
            "400 BadRequest: the namespace of the provided object does not match the namespace sent on the request"
        ],
    );
    assert_eq!(house.get(MAPS).await.json()["items"], json!([]));
}

#[tokio::test]
async fn bad_objects() {
    let house = House::open().await;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    let set = |name: &str, label: &str| {
        json!({ "metadata": { "name": name }, "spec": {
            "serviceName": "web",
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": label } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] } },
        } })
    };
    check(
        &house.post(sets, &set("Web", "web")).await.line(),
        expect![[
            r#"422 Invalid: StatefulSet.apps "Web" is invalid: metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"#
        ]],
    );
    check(
        &house.post(sets, &set("web", "other")).await.line(),
        expect![[
            r#"422 Invalid: StatefulSet.apps "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`"#
        ]],
    );
    assert_eq!(house.post(sets, &set("web", "web")).await.code, 201);
    check(
        &house
            .merge(&format!("{sets}/web"), &json!({ "spec": { "serviceName": "x" } }))
            .await
            .line(),
        expect![[
            r#"422 Invalid: StatefulSet.apps "web" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"#
        ]],
    );
}

#[tokio::test]
async fn a5_health_and_version() {
    let house = House::open().await;
    assert_eq!(house.get("/readyz").await.text(), "ok");
    check(
        &house.get("/readyz?verbose").await.text(),
        expect![[r#"
            [+]ping ok
            [+]log ok
            [+]etcd ok
            [+]poststarthook/bootstrap-system ok
            [+]shutdown ok
            readyz check passed
        "#]],
    );
    assert_eq!(house.get("/livez/ping").await.text(), "ok");
    assert_eq!(house.get("/readyz/nope").await.code, 404);
    let version = house.get("/version").await.json();
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36.2+stead."));
    let metrics = house.get("/metrics").await.text();
    assert!(metrics.contains("apiserver_request_total"), "{metrics}");
    house.server.also_shows(|| "# TYPE pets gauge\npets 3\n".to_owned());
    let metrics = house.get("/metrics").await.text();
    assert!(metrics.ends_with("# TYPE pets gauge\npets 3\n# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn a4_discovery() {
    let house = House::open().await;
    let rows = [
        ("/api", "200 APIVersions"),
        ("/api/", "200 APIVersions"),
        ("/apis", "200 APIGroupList"),
        ("/apis/apps", "200 APIGroup"),
        ("/apis/apps/v1/", "200 APIResourceList"),
        ("/api/v1", "200 APIResourceList"),
        ("/apis/nope/v1", "404 404 page not found"),
    ];
    for (path, expected) in rows {
        assert_eq!(house.get(path).await.line(), expected, "{path}");
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let whole = house.send("GET", "/apis", &[("accept", accept)], "").await;
    assert_eq!(whole.json()["kind"], "APIGroupDiscoveryList");
    assert_eq!(whole.headers["content-type"], accept);
    let etag = whole.headers["etag"].to_str().unwrap();
    let same = house.send("GET", "/apis", &[("accept", accept), ("if-none-match", etag)], "").await;
    assert_eq!((same.code, same.bytes.len()), (304, 0));
}

#[tokio::test]
async fn a5_schemas() {
    let house = House::open().await;
    let index = house.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let schema = house.get(&url).await;
    assert!(schema.json()["components"]["schemas"].is_object());
    assert_eq!(schema.headers["cache-control"], "public, immutable");
    let packed = house.send("GET", &url, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(house.get("/openapi/v2").await.json()["swagger"], "2.0");
    assert_eq!(house.get("/openapi/v3/apis/nope/v1").await.code, 404);
}

#[tokio::test]
async fn x_refusals() {
    let house = House::open().await;
    *house.doubles.denied.lock().unwrap() = vec!["list", "create", "get"];
    let rows = [
        (
            house.get(MAPS).await.line(),
            r#"403 Forbidden: configmaps is forbidden: User "tester" cannot list resource "configmaps" in API group "" in the namespace "default""#,
        ),
        (
            house.get("/apis/apps/v1/statefulsets").await.line(),
            r#"403 Forbidden: statefulsets.apps is forbidden: User "tester" cannot list resource "statefulsets" in API group "apps" at the cluster scope"#,
        ),
        (
            house
                .post(
                    &format!("{MAPS}/../pods/p/eviction").replace("configmaps/../", ""),
                    &json!({}),
                )
                .await
                .line(),
            r#"403 Forbidden: pods "p" is forbidden: User "tester" cannot create resource "pods/eviction" in API group "" in the namespace "default""#,
        ),
        (
            house.get("/version").await.line(),
            r#"403 Forbidden: forbidden: User "tester" cannot get path "/version""#,
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}
