//! A server on a store in memory, and the words in which rows talk to it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use api::{
    ApiError, Object, Reason, Resource,
    k8s::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount},
};
use bytes::Bytes;
use client::Identity;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use store::{MemoryJournal, Store};
use tower::Service;

use crate::{
    Access, Ambient, ApiServer, Attributes, Authenticator, Authorizer, Body, Bootstrap, Decision,
    Options, Plugins,
};

/// Everyone is an administrator, but for what `denied` says.
#[derive(Debug, Default)]
pub(crate) struct Doubles {
    /// Verbs that nobody may use.
    pub(crate) denied: Mutex<Vec<&'static str>>,
}

impl Authenticator for Doubles {
    fn authenticate(
        &self,
        request: &Parts,
        _: &[CertificateDer<'static>],
    ) -> Result<Identity, ApiError> {
        match request.headers.get("authorization") {
            Some(_) => Err(ApiError::new(Reason::Unauthorized, "Unauthorized")),
            None => Ok(Identity { user: "system:anonymous".to_owned(), ..Identity::default() }),
        }
    }
}

impl Authorizer for Doubles {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if self.denied.lock().unwrap().contains(&attributes.verb) {
            Decision::Deny(String::new())
        } else {
            Decision::Allow
        }
    }
}

impl Access for Doubles {
    fn review(
        &self,
        _: &Identity,
        _: &'static dyn Resource,
        _: &str,
        object: Box<dyn Object>,
    ) -> Result<Box<dyn Object>, ApiError> {
        Ok(object)
    }

    fn token(
        &self,
        _: &Identity,
        _: &ServiceAccount,
        request: TokenRequest,
    ) -> Result<TokenRequest, ApiError> {
        Ok(request)
    }

    fn document(&self, path: &str) -> Option<(&'static str, Bytes)> {
        (path == "/openid/v1/jwks").then(|| ("application/jwk-set+json", Bytes::from_static(b"{}")))
    }
}

/// Time stands still until a row moves it; chance counts up.
#[derive(Debug, Default)]
pub(crate) struct Still {
    second: AtomicI64,
    chance: AtomicU64,
}

impl Ambient for Still {
    fn now(&self) -> Timestamp {
        let second = 1_700_000_000 + self.second.load(Ordering::Relaxed);
        Timestamp::from_second(second).unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let next = self.chance.fetch_add(1, Ordering::Relaxed);
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = next.to_le_bytes()[at % 8];
        }
    }
}

/// One server and what is behind it.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) server: ApiServer,
    pub(crate) doubles: Arc<Doubles>,
    pub(crate) journal: MemoryJournal,
    pub(crate) ambient: Arc<Still>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// `CODE reason: message`, or `CODE kind`.
    pub(crate) fn line(&self) -> String {
        let Ok(json) = serde_json::from_slice::<Value>(&self.bytes) else {
            return format!("{} {}", self.code, self.text().trim_end());
        };
        let word = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        match word("message").as_str() {
            "" => format!("{} {}", self.code, word("kind")),
            message => format!("{} {}: {message}", self.code, word("reason")),
        }
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        let journal = MemoryJournal::default();
        let store = Store::open(journal.clone(), store::Options::default()).unwrap();
        let doubles = Arc::new(Doubles::default());
        let ambient = Arc::new(Still::default());
        let mut options = Options::new(doubles.clone(), doubles.clone(), doubles.clone());
        options.ambient = ambient.clone();
        options.admission = vec![Arc::new(Plugins::new(store.clone(), ambient.clone()))];
        let mut house = Self::with(store, options).await;
        (house.doubles, house.journal, house.ambient) = (doubles, journal, ambient);
        house
    }

    /// A server of these parts.
    pub(crate) async fn with(store: Store, options: Options) -> Self {
        let server = ApiServer::new(store, options);
        let advertise = "192.0.2.1:6443".parse().unwrap();
        let account: ServiceAccount = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "default", "namespace": "default" },
        }))
        .unwrap();
        let objects: Vec<Box<dyn Object>> = vec![Box::new(account)];
        server.bootstrap(Bootstrap { advertise, objects }).await.unwrap();
        Self {
            server,
            doubles: Arc::default(),
            journal: MemoryJournal::default(),
            ambient: Arc::default(),
        }
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.ambient.second.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A request with headers `name: value`.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.raw(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// The same, its body still to be read.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let identity = Identity { user: "tester".to_owned(), ..Identity::default() };
        let request = request.extension(identity).body(Full::new(body.into())).unwrap();
        self.server.clone().call(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[], body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", path, &headers, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }
}

/// The lines of a watch, as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Body,
    read: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), read: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.read.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// `TYPE name@version` of the next event.
    pub(crate) async fn line(&mut self) -> String {
        let Some(event) = self.next().await else { return "END".to_owned() };
        let object = &event["object"];
        let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        if event["type"] == "ERROR" {
            return format!("ERROR {} {}", object["code"], word("/message"));
        }
        let kind = event["type"].as_str().unwrap_or_default();
        format!("{kind} {}@{}", word("/metadata/name"), word("/metadata/resourceVersion"))
    }
}

/// A ConfigMap of one key.
pub(crate) fn config(name: &str, value: &str) -> Value {
    serde_json::json!({ "metadata": { "name": name }, "data": { "k": value } })
}
