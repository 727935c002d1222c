//! OpenAPI documents, v2 and v3: compressed bytes in the binary.
//!
//! They are generated from k8s-openapi's schemas, the field facts and the table of kinds by the test
//! in `generate`, which also fails when they are out of date. Serving them costs no memory but the
//! page cache's; a client that does not accept gzip gets them inflated by the server.

use std::sync::LazyLock;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

#[cfg(test)]
mod generate;
pub mod gnostic;

/// `/openapi/v2`: gzip of JSON.
#[must_use]
pub fn v2() -> &'static Document {
    &V2
}

/// `/openapi/v3/PATH`, with PATH like `api/v1` or `apis/apps/v1`: gzip of JSON.
#[must_use]
pub fn v3(path: &str) -> Option<&'static Document> {
    V3.iter().find(|document| document.path == path)
}

/// `/openapi/v3`: where each document is; a URL changes when its document does.
#[must_use]
pub fn index() -> Value {
    let paths: Map<String, Value> = V3
        .iter()
        .map(|document| {
            let url = format!("/openapi/v3/{}?hash={}", document.path, document.hash);
            (document.path.to_owned(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// One compressed document.
#[derive(Debug)]
pub struct Document {
    /// `apis/apps/v1`; empty for v2.
    pub path: &'static str,
    /// gzip of JSON.
    pub gzip: &'static [u8],
    /// Upper-case hex, changes with the content: the `hash` of URLs and the ETag.
    pub hash: String,
}

impl Document {
    fn new(path: &'static str, gzip: &'static [u8]) -> Self {
        let hash = digest(&SHA256, gzip);
        let hash = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Self { path, gzip, hash }
    }
}

static V2: LazyLock<Document> =
    LazyLock::new(|| Document::new("", include_bytes!("generated/v2.json.gz")));

macro_rules! documents {
    ($($path:literal $file:literal),+ $(,)?) => {
        static V3: LazyLock<Vec<Document>> = LazyLock::new(|| {
            vec![$(Document::new($path, include_bytes!(concat!("generated/", $file, ".json.gz")))),+]
        });

        #[cfg(test)]
        const FILES: &[(&str, &str)] = &[$(($path, $file)),+];
    };
}

documents! {
    "api/v1" "api_v1",
    "apis/apps/v1" "apps_v1",
    "apis/authentication.k8s.io/v1" "authentication_v1",
    "apis/authorization.k8s.io/v1" "authorization_v1",
    "apis/coordination.k8s.io/v1" "coordination_v1",
    "apis/discovery.k8s.io/v1" "discovery_v1",
    "apis/events.k8s.io/v1" "events_v1",
    "apis/rbac.authorization.k8s.io/v1" "rbac_v1",
    "apis/scheduling.k8s.io/v1" "scheduling_v1",
    "apis/stead.io/v1alpha1" "stead_v1alpha1",
    "apis/storage.k8s.io/v1" "storage_v1",
}
