//! A small API server: objects as JSON, versions, watches that can be held back or cut.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use client::{Identity, kube::client::Body};
use futures::{
    StreamExt as _,
    channel::mpsc::{UnboundedSender, unbounded},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tower::{BoxError, Service};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone, Default)]
pub(super) struct Fake {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    /// By plural, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    watchers: Vec<(String, UnboundedSender<Bytes>)>,
    held: Option<Vec<(String, Bytes)>>,
    refusals: u32,
    /// A plural whose creations are refused.
    refused: Option<&'static str>,
    /// What requests about a plural are answered with, instead.
    faults: BTreeMap<String, u16>,
    /// Requests for watches, by plural.
    asked: BTreeMap<String, u32>,
    log: Vec<String>,
}

/// What a path names.
struct Path {
    namespace: String,
    plural: String,
    name: String,
    part: String,
}

impl Fake {
    pub(super) fn service(
        &self,
    ) -> impl Service<
        Request<Body>,
        Response = Answer,
        Error = BoxError,
        Future = impl Future<Output = Result<Answer, BoxError>> + Send + use<>,
    > + Clone
    + Send
    + use<> {
        let fake = self.clone();
        tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let user = head.extensions.get::<Identity>().unwrap().user.clone();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let watch = head.uri.query().is_some_and(|query| query.contains("watch="));
                let path = path(head.uri.path());
                let fault = fake.lock().faults.get(&path.plural).copied();
                if watch {
                    *fake.lock().asked.entry(path.plural.clone()).or_default() += 1;
                }
                Ok::<Answer, BoxError>(if let Some(code) = fault {
                    status(code, "", "the test says so")
                } else if watch {
                    fake.lock().watch(&path.plural)
                } else {
                    fake.lock().answer(&head.method, &path, body, &user)
                })
            }
        })
    }

    /// Creates or replaces an object behind everyone's back.
    pub(super) fn put(&self, plural: &str, object: Value) {
        self.lock().put(plural, object);
    }

    /// Removes an object behind everyone's back.
    pub(super) fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let path = Path {
            namespace: namespace.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            part: String::new(),
        };
        let mut inner = self.lock();
        inner.answer(&Method::DELETE, &path, Value::Null, "the test");
    }

    pub(super) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.lock().objects.get(&key).cloned()
    }

    pub(super) fn list(&self, plural: &str) -> Vec<Value> {
        self.lock().of(plural)
    }

    /// Every write: verb, plural, name, and who wrote.
    pub(super) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Keeps watch events back until `release`.
    pub(super) fn hold(&self) {
        self.lock().held = Some(Vec::new());
    }

    pub(super) fn release(&self) {
        let mut inner = self.lock();
        for (plural, bytes) in inner.held.take().unwrap_or_default() {
            inner.send(&plural, bytes);
        }
    }

    /// Ends every watch.
    pub(super) fn cut(&self) {
        self.lock().watchers.clear();
    }

    /// Refuses all creations of this kind, or of none.
    pub(super) fn refuse_kind(&self, plural: Option<&'static str>) {
        self.lock().refused = plural;
    }

    /// Refuses the next creations of objects other than events.
    pub(super) fn refuse(&self, count: u32) {
        self.lock().refusals = count;
    }

    /// Answers every request about this plural so; `None` heals it.
    pub(super) fn fail(&self, plural: &str, code: Option<u16>) {
        let mut inner = self.lock();
        match code {
            Some(code) => inner.faults.insert(plural.to_owned(), code),
            None => inner.faults.remove(plural),
        };
    }

    /// How often a watch of this plural was asked for.
    pub(super) fn watches(&self, plural: &str) -> u32 {
        self.lock().asked.get(plural).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    fn of(&self, plural: &str) -> Vec<Value> {
        self.objects.iter().filter(|((p, ..), _)| p == plural).map(|(_, o)| o.clone()).collect()
    }

    fn put(&mut self, plural: &str, mut object: Value) -> Value {
        self.version += 1;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.version.to_string());
        let key = (plural.to_owned(), text(&meta["namespace"]), text(&meta["name"]));
        let old = self.objects.get(&key);
        if meta["uid"].is_null() {
            let uid = old.map(|old| old["metadata"]["uid"].clone());
            meta["uid"] = uid.unwrap_or_else(|| json!(format!("uid-{}", self.version)));
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.event(plural, kind, &object);
        object
    }

    fn event(&mut self, plural: &str, kind: &str, object: &Value) {
        let bytes = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        match &mut self.held {
            Some(held) => held.push((plural.to_owned(), bytes)),
            None => self.send(plural, bytes),
        }
    }

    fn send(&mut self, plural: &str, bytes: Bytes) {
        self.watchers.retain(|(watched, sender)| {
            watched != plural || sender.unbounded_send(bytes.clone()).is_ok()
        });
    }

    /// The objects there are, the mark at their end, and whatever follows.
    fn watch(&mut self, plural: &str) -> Answer {
        let (sender, receiver) = unbounded();
        for object in self.of(plural) {
            let event = format!("{}\n", json!({"type": "ADDED", "object": object}));
            sender.unbounded_send(Bytes::from(event)).unwrap();
        }
        let mark = json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "Mark", "metadata": {
            "resourceVersion": self.version.to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"}}}});
        sender.unbounded_send(Bytes::from(format!("{mark}\n"))).unwrap();
        self.watchers.push((plural.to_owned(), sender));
        let frames = receiver.map(|bytes| Ok(http_body::Frame::data(bytes)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn answer(&mut self, method: &Method, path: &Path, mut body: Value, user: &str) -> Answer {
        let Path { namespace, plural, name, part } = path;
        let key = (plural.clone(), namespace.clone(), name.clone());
        if *method != Method::GET {
            let named =
                if name.is_empty() { body["metadata"]["name"].as_str() } else { Some(&**name) };
            let slash = if part.is_empty() { "" } else { "/" };
            let line = format!("{method} {plural}{slash}{part} {} by {user}", named.unwrap());
            self.log.push(line);
        }
        let old = self.objects.get(&key).cloned();
        match (method.as_str(), part.as_str(), old) {
            ("POST", "", _) if self.refused == Some(plural.as_str()) => {
                status(403, "Forbidden", "exceeded quota")
            }
            ("POST", "", _) if plural != "events" && self.refusals > 0 => {
                self.refusals -= 1;
                status(403, "Forbidden", "exceeded quota")
            }
            ("POST", "", _) => {
                let new = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if self.objects.contains_key(&(plural.clone(), namespace.clone(), new)) {
                    return status(409, "AlreadyExists", "it already exists");
                }
                json_answer(201, &self.put(plural, body))
            }
            (_, _, None) => status(404, "NotFound", "it is not found"),
            ("GET", _, Some(old)) => json_answer(200, &old),
            ("POST", "binding", Some(mut pod)) => {
                if !pod["spec"]["nodeName"].is_null() {
                    return status(409, "Conflict", "pod is already assigned");
                }
                pod["spec"]["nodeName"] = body["target"]["name"].clone();
                self.put(plural, pod);
                status(201, "", "")
            }
            ("PUT", _, Some(old)) => {
                if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
                    return status(409, "Conflict", "it has been modified");
                }
                json_answer(200, &self.put(plural, body.take()))
            }
            ("PATCH", _, Some(mut object)) => {
                merge(&mut object, body);
                json_answer(200, &self.put(plural, object))
            }
            (_, _, Some(mut old)) => {
                self.version += 1;
                old["metadata"]["resourceVersion"] = json!(self.version.to_string());
                self.objects.remove(&key);
                self.event(plural, "DELETED", &old);
                status(200, "", "")
            }
        }
    }
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn path(text: &str) -> Path {
    let mut segments = text.trim_start_matches('/').split('/');
    let group = segments.next() == Some("apis");
    segments.by_ref().take(if group { 2 } else { 1 }).for_each(drop);
    let mut rest: Vec<&str> = segments.collect();
    let mut namespace = "";
    if rest[0] == "namespaces" && rest.len() >= 3 {
        namespace = rest[1];
        rest.drain(..2);
    }
    let at = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
    Path { namespace: namespace.to_owned(), plural: at(0), name: at(1), part: at(2) }
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"apiVersion": "v1", "kind": "Status", "code": code, "reason": reason, "message": message, "metadata": {}});
    json_answer(code, &status)
}

fn json_answer(code: u16, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}
