//! Service-account tokens for a pod, renewed before they expire.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::Pod};
use serde_json::json;

use crate::shared::Shared;

/// A token is renewed after this many hundredths of its life. Source: kubernetes v1.36
/// `pkg/kubelet/token/token_manager.go`, `requiresRefresh`.
const RENEW_AT_PERCENT: i64 = 80;
/// And no later than this, seconds. Source: same, `maxTTL`.
const RENEW_AFTER_MAX_S: i64 = 86_400;

/// The tokens of one pod, by audience and life.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    known: BTreeMap<(String, i64), Token>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.known.len())
    }
}

#[derive(Clone)]
struct Token {
    value: String,
    renew_at: Timestamp,
}

impl Tokens {
    /// When the first of them is to be renewed.
    pub(crate) fn renew_at(&self) -> Option<Timestamp> {
        self.known.values().map(|token| token.renew_at).min()
    }

    /// A token that is good for a while yet.
    pub(super) async fn get(
        &mut self,
        shared: &Shared,
        pod: &Pod,
        audience: &str,
        expiration_s: i64,
    ) -> Result<String, String> {
        let key = (audience.to_owned(), expiration_s);
        let now = shared.clock.now();
        if let Some(known) = self.known.get(&key).filter(|known| known.renew_at > now) {
            return Ok(known.value.clone());
        }
        let token = fetch(shared, pod, audience, expiration_s, now).await?;
        let value = token.value.clone();
        self.known.insert(key, token);
        Ok(value)
    }
}

async fn fetch(
    shared: &Shared,
    pod: &Pod,
    audience: &str,
    expiration_s: i64,
    now: Timestamp,
) -> Result<Token, String> {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or("");
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref())
        .filter(|name| !name.is_empty())
        .unwrap_or("default");
    let mut spec = json!({
        "expirationSeconds": expiration_s,
        "boundObjectRef": {
            "apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid,
        },
        "audiences": [],
    });
    if !audience.is_empty() {
        spec["audiences"] = json!([audience]);
    }
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {"name": account, "namespace": namespace}, "spec": spec,
    });
    let failed = |why: String| format!("failed to fetch token: {why}");
    let request = http::Request::post(format!(
        "/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    ))
    .header(http::header::CONTENT_TYPE, "application/json")
    .body(body.to_string().into_bytes())
    .map_err(|error| failed(error.to_string()))?;
    let answer: TokenRequest = shared
        .client
        .request(request)
        .await
        .map_err(|error| failed(crate::shared::chain(&error)))?;
    let status = answer.status.unwrap_or_default();
    let (Some(value), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err(failed("the answer has no token".to_owned()));
    };
    let life_s = expires.0.duration_since(now).as_secs().max(1);
    let renew_after_s = (life_s * RENEW_AT_PERCENT / 100).min(RENEW_AFTER_MAX_S);
    let renew_at = now.checked_add(SignedDuration::from_secs(renew_after_s)).unwrap_or(now);
    Ok(Token { value, renew_at })
}
