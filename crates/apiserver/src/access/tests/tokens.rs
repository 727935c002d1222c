//! Service-account tokens: what they say, when they count.

use api::Reason;
use client::Identity;
use expect_test::expect;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{EncodingKey, Header, encode};
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use serde_json::{Value, json};

use super::{Cluster, jane, named, object, pod, user};
use crate::contract::{Access, Authenticator};

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster
        .put(named("ServiceAccount", "apps", "web"))
        .put(named("Secret", "apps", "s1"))
        .put(named("Node", "", "n1"))
        .put(pod("web-0", "n1", json!({})))
        .put(pod("db-0", "n2", json!({"serviceAccountName": "db"})));
    cluster
}

fn ask(cluster: &Cluster, who: &Identity, spec: Value) -> Result<TokenRequest, String> {
    let account = object(named("ServiceAccount", "apps", "web"));
    let account: &ServiceAccount = account.as_any().downcast_ref().unwrap();
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec});
    let request = serde_json::from_value(request).unwrap();
    cluster
        .access
        .token(who, account, request)
        .map_err(|error| format!("{:?}: {error}", error.reason))
}

fn token(cluster: &Cluster, spec: Value) -> String {
    ask(cluster, &jane(), spec).unwrap().status.unwrap().token.unwrap()
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// Who a request with this token is.
fn who(cluster: &Cluster, token: &str) -> Result<Identity, String> {
    let mut request = http::Request::builder().uri("/api/v1/pods").body(()).unwrap();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", value);
    let (parts, ()) = request.into_parts();
    cluster.access.authenticate(&parts, &[]).map_err(|error| {
        assert_eq!((error.reason, error.message.as_str()), (Reason::Unauthorized, "Unauthorized"));
        error.message
    })
}

fn pod_ref(name: &str, uid: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}})
}

#[test]
fn what_a_token_says() {
    let cluster = cluster();
    let request = ask(&cluster, &jane(), json!({"audiences": []})).unwrap();
    let spec = request.spec.unwrap();
    assert_eq!(spec.expiration_seconds, Some(3600));
    assert_eq!(
        spec.audiences,
        Some(vec!["https://kubernetes.default.svc.cluster.local".to_owned()])
    );
    let status = request.status.unwrap();
    assert_eq!(status.expiration_timestamp.unwrap().0.to_string(), "2026-01-01T01:00:00Z");
    expect![[r#"{"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1767229200,"iat":1767225600,"iss":"https://kubernetes.default.svc.cluster.local","jti":"00000000-0000-4000-8000-000000000000","kubernetes.io":{"namespace":"apps","serviceaccount":{"name":"web","uid":"uid-web"}},"nbf":1767225600,"sub":"system:serviceaccount:apps:web"}"#]]
        .assert_eq(&claims(&status.token.unwrap()).to_string());
    let bound = claims(&token(&cluster, pod_ref("web-0", "uid-web-0")));
    expect![[r#"{"namespace":"apps","node":{"name":"n1","uid":"uid-n1"},"pod":{"name":"web-0","uid":"uid-web-0"},"serviceaccount":{"name":"web","uid":"uid-web"}}"#]]
        .assert_eq(&bound["kubernetes.io"].to_string());
}

#[test]
fn whom_a_token_names() {
    let cluster = cluster();
    let identity = who(&cluster, &token(&cluster, pod_ref("web-0", ""))).unwrap();
    assert_eq!(identity.user, "system:serviceaccount:apps:web");
    assert_eq!(identity.uid, "uid-web");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:apps", "system:authenticated"];
    assert_eq!(identity.groups, groups);
    let extra: Vec<String> =
        identity.extra.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
    expect![[r#"
        authentication.kubernetes.io/credential-id=JTI=00000000-0000-4000-8000-000000000000
        authentication.kubernetes.io/node-name=n1
        authentication.kubernetes.io/node-uid=uid-n1
        authentication.kubernetes.io/pod-name=web-0
        authentication.kubernetes.io/pod-uid=uid-web-0"#]]
    .assert_eq(&extra.join("\n"));
}

#[test]
fn a_token_counts_until_it_expires() {
    let cluster = cluster();
    let token = token(&cluster, json!({"expirationSeconds": 600}));
    cluster.later(600);
    who(&cluster, &token).unwrap();
    cluster.later(1);
    who(&cluster, &token).unwrap_err();
    cluster.later(-700);
    who(&cluster, &token).unwrap_err();
}

#[test]
fn a_token_counts_no_longer_than_what_it_names_lives() {
    type Harm = fn(&Cluster);
    let secret = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s1"}});
    let node = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": "n1"}});
    let rows: [(Value, Harm); 8] = [
        (json!({}), |cluster| cluster.remove("/core/serviceaccounts/apps/web")),
        (json!({}), |cluster| {
            let mut other = named("ServiceAccount", "apps", "web");
            other["metadata"]["uid"] = json!("another");
            cluster.put(other);
        }),
        (pod_ref("web-0", ""), |cluster| cluster.remove("/core/pods/apps/web-0")),
        (pod_ref("web-0", ""), |cluster| {
            let mut other = pod("web-0", "n1", json!({}));
            other["metadata"]["uid"] = json!("another");
            cluster.put(other);
        }),
        (pod_ref("web-0", ""), |cluster| {
            let mut going = pod("web-0", "n1", json!({}));
            going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            cluster.put(going);
            cluster.later(61);
        }),
        (secret.clone(), |cluster| cluster.remove("/core/secrets/apps/s1")),
        (node, |cluster| cluster.remove("/core/nodes/n1")),
        (secret, |cluster| cluster.remove("/core/serviceaccounts/apps/web")),
    ];
    for (spec, harm) in rows {
        let cluster = cluster();
        let token = token(&cluster, spec.clone());
        who(&cluster, &token).unwrap();
        harm(&cluster);
        assert!(who(&cluster, &token).is_err(), "{spec}");
    }
    // A pod that is being deleted still has its minute; its node may go before it.
    let cluster = cluster();
    let token = token(&cluster, pod_ref("web-0", ""));
    cluster.remove("/core/nodes/n1");
    let mut going = pod("web-0", "n1", json!({}));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.put(going);
    who(&cluster, &token).unwrap();
}

#[test]
fn what_nobody_here_signed_does_not_count() {
    let cluster = cluster();
    let good = token(&cluster, json!({}));
    let claims = claims(&good);
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_pem(other.serialize_pem().as_bytes()).unwrap();
    let forged = encode(&Header::new(jsonwebtoken::Algorithm::ES256), &claims, &key).unwrap();
    let secret = EncodingKey::from_secret(b"x");
    let symmetric = encode(&Header::new(jsonwebtoken::Algorithm::HS256), &claims, &secret).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let swapped = format!("{}.{}.{}", parts[0], forged.split('.').nth(1).unwrap(), "AAAA");
    for bad in [forged, symmetric, unsigned, swapped, String::from("x"), format!("{good}x")] {
        assert!(who(&cluster, &bad).is_err(), "{bad}");
    }
    who(&cluster, &good).unwrap();
    let elsewhere = token(&cluster, json!({"audiences": ["vault"]}));
    who(&cluster, &elsewhere).unwrap_err();
}

#[test]
fn what_cannot_be_asked_for() {
    let cluster = cluster();
    let refused = |who: &Identity, spec: Value| ask(&cluster, who, spec).unwrap_err();
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    let node = user("system:node:n1", &["system:nodes", "system:authenticated"]);
    let texts = [
        refused(&jane(), json!({"expirationSeconds": 599})),
        refused(&jane(), json!({"expirationSeconds": (1_i64 << 32) + 1})),
        refused(&jane(), bound("Pod", "nobody", "")),
        refused(&jane(), bound("Secret", "nobody", "")),
        refused(&jane(), bound("Pod", "db-0", "")),
        refused(&jane(), bound("Pod", "web-0", "other")),
        refused(&jane(), bound("ConfigMap", "c", "")),
        refused(&node, json!({})),
        refused(&node, bound("Pod", "web-0", "")),
        refused(&node, bound("Pod", "web-0", "other")),
        refused(&node, bound("Pod", "db-0", "uid-db-0")),
    ];
    expect![[r#"
        Invalid: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes
        Invalid: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds
        NotFound: pods "nobody" not found
        NotFound: secrets "nobody" not found
        BadRequest: cannot bind token for serviceaccount "web" to pod running with serviceaccount name "db"
        Conflict: Operation cannot be fulfilled on Pod "web-0": the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated
        BadRequest: cannot bind token to object of type /v1, Kind=ConfigMap
        Forbidden: serviceaccounts "web" is forbidden: node requested token not bound to a pod
        Forbidden: serviceaccounts "web" is forbidden: node requested token with a pod binding without a uid
        Forbidden: serviceaccounts "web" is forbidden: the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated
        Forbidden: serviceaccounts "web" is forbidden: node requested token bound to a pod scheduled on a different node"#]]
    .assert_eq(&texts.join("\n"));
    ask(&cluster, &node, bound("Pod", "web-0", "uid-web-0")).unwrap();
}

#[test]
fn others_can_check_tokens_by_the_published_documents() {
    let cluster = cluster();
    let (content_type, keys) = cluster.access.document("/openid/v1/jwks").unwrap();
    assert_eq!(content_type, "application/jwk-set+json");
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&keys).unwrap();
    let token = token(&cluster, json!({"audiences": ["vault"]}));
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = keys.find(&header.kid.unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["vault"]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
    let (content_type, document) =
        cluster.access.document("/.well-known/openid-configuration").unwrap();
    assert_eq!(content_type, "application/json");
    expect![[r#"{"id_token_signing_alg_values_supported":["ES256"],"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"]}"#]]
        .assert_eq(std::str::from_utf8(&document).unwrap());
    assert_eq!(cluster.access.document("/elsewhere"), None);
}

#[test]
fn a_websocket_carries_a_token_among_its_protocols() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let cluster = cluster();
    let encoded = URL_SAFE_NO_PAD.encode(token(&cluster, json!({})));
    let offer = format!("v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}");
    let mut headers = HeaderMap::new();
    headers.insert("sec-websocket-protocol", HeaderValue::from_str(&offer).unwrap());
    assert_eq!(
        cluster.access.identify(&headers, &[]).unwrap().user,
        "system:serviceaccount:apps:web"
    );
}
