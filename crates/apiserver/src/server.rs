//! The server as a service: one request in, one answer out, through all layers.
//!
//! ```text
//! ids ▶ who calls ▶ how many at once ▶ may they ▶ route ▶ read | write | watch | connect
//! ```

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use api::{ApiError, Reason, Resource, prepare::Gates, resource, status::About};
use bytes::{Buf, Bytes};
use client::Identity;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts,
};
use http_body_util::BodyExt;
use rustls_pki_types::CertificateDer;
use store::{CommitError, Committed, Op, Store};
use tokio::time::Instant;

use crate::{
    allocate::Ranges,
    ambient::{System, uid},
    answer::{self, Body, BoxError, RequestBody},
    backup, body,
    call::Call,
    contract::{
        Access, Admission, Ambient, Attributes, Authenticator, Authorizer, Connect, Connection,
        Decision, Subject,
    },
    document,
    limit::Limits,
    list,
    metrics::Metrics,
    negotiate::Accept,
    path::Ask,
    protobuf,
    query::Query,
    quota::Turns,
    version::Version,
};

/// What a server is made of, beside its store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tells who calls.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells who may what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Answers reviews and token requests.
    pub access: Arc<dyn Access>,
    /// In the order they are asked.
    pub admission: Vec<Arc<dyn Admission>>,
    /// The way to nodes: exec, logs, proxies. Without one those answer 503.
    pub connect: Option<Arc<dyn Connect>>,
    /// Time and chance.
    pub ambient: Arc<dyn Ambient>,
    /// A folder for backups on their way; the system's for temporary files unless it is set.
    pub scratch: std::path::PathBuf,
    /// Where Services get addresses and ports from.
    pub ranges: Ranges,
    /// What `/version` says.
    pub version: Version,
    /// Upstream's feature gates.
    pub gates: Gates,
}

impl Options {
    /// With the system's clock and chance, default ranges, no admission and no way to nodes.
    pub fn new(
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
        access: Arc<dyn Access>,
    ) -> Self {
        Self {
            authenticator,
            authorizer,
            access,
            admission: Vec::new(),
            connect: None,
            ambient: Arc::new(System::new()),
            scratch: std::env::temp_dir(),
            ranges: Ranges::default(),
            version: Version::default(),
            gates: Gates::default(),
        }
    }
}

/// The API server. Clones are the same server.
#[derive(Debug, Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    options: Options,
    limits: Limits,
    /// Who writes where a quota counts.
    turns: Turns,
    metrics: Metrics,
    /// Where clients reach it, once its first objects are there.
    bootstrapped: OnceLock<SocketAddr>,
    /// No new connections are taken.
    stopping: AtomicBool,
    /// The last commit met a full or failing disk.
    disk_fails: AtomicBool,
}

/// What the listener knows of a connection; its presence marks a request from a socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// The verified chain of the client, leaf first.
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
    /// Where it calls from.
    pub(crate) address: Option<std::net::IpAddr>,
}

impl ApiServer {
    /// A server over this store. It writes nothing by itself: see `bootstrap` and `background`.
    #[must_use]
    pub fn new(store: Store, options: Options) -> Self {
        let inner = Inner {
            store,
            options,
            limits: Limits::default(),
            turns: Turns::default(),
            metrics: Metrics::default(),
            bootstrapped: OnceLock::new(),
            stopping: AtomicBool::new(false),
            disk_fails: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Commits, and notes whether the disk serves.
    pub(crate) async fn commit(&self, ops: Vec<Op>) -> Result<Committed, CommitError> {
        let committed = self.inner.store.commit(ops).await;
        match &committed {
            Ok(_) => self.inner.disk_fails.store(false, Ordering::Relaxed),
            Err(CommitError::Journal(_) | CommitError::Closed) => {
                self.inner.disk_fails.store(true, Ordering::Relaxed);
            }
            Err(CommitError::Refused { .. }) => {}
        }
        committed
    }

    pub(crate) fn disk_serves(&self) -> bool {
        !self.inner.disk_fails.load(Ordering::Relaxed)
    }

    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.inner.bootstrapped.get().is_some()
    }

    pub(crate) fn set_bootstrapped(&self, advertise: SocketAddr) {
        // A second bootstrap of the same server changes nothing.
        self.inner.bootstrapped.get_or_init(|| advertise);
    }

    /// Where clients reach it; none before the bootstrap.
    pub(crate) fn advertise(&self) -> Option<SocketAddr> {
        self.inner.bootstrapped.get().copied()
    }

    /// `host:port` that discovery tells.
    pub(crate) fn address(&self) -> String {
        self.advertise().map(|address| address.to_string()).unwrap_or_default()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn set_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn ambient(&self) -> &dyn Ambient {
        &*self.inner.options.ambient
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn gates(&self) -> Gates {
        self.inner.options.gates
    }

    /// Has `/metrics` show what `gauges` answers, too: families of gauges in Prometheus' text form.
    pub fn also_shows(&self, gauges: impl Fn() -> String + Send + Sync + 'static) {
        self.inner.metrics.also_shows(Box::new(gauges));
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Answers one request; errors are answers, too.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let ask = Ask::parse(&parts.method, parts.uri.path(), &query);
        let audit_id = audit_id(&parts).unwrap_or_else(|| self.new_audit_id());
        let known = known_resource(&ask);
        let longrunning = ask.verb == "watch" || is_connect(&ask);
        let _running = self.metrics().enter(&ask, known, longrunning);
        let verb = ask.verb;
        let subresource = ask.subresource.clone();
        let mut response = match self.enter(&mut parts, body, ask, query).await {
            Ok(response) => response,
            Err(error) if error.reason == Reason::Expired => {
                answer::status(&list::with_continue(&error))
            }
            Err(error) => answer::error(&error),
        };
        if !longrunning {
            let code = response.status().as_u16();
            self.metrics().finish(verb, known, &subresource, code, started.elapsed());
        }
        stamp_headers(&mut response, audit_id);
        response
    }

    fn new_audit_id(&self) -> HeaderValue {
        HeaderValue::from_str(&uid(self.ambient())).unwrap_or(HeaderValue::from_static(""))
    }

    async fn enter(
        &self,
        parts: &mut Parts,
        body: RequestBody,
        ask: Ask,
        query: Query,
    ) -> Result<Response<Body>, ApiError> {
        let user = self.identify(parts)?;
        let user = self.impersonate(user, parts)?;
        let _place = self.inner.limits.enter(&user, &ask).await?;
        self.authorize(&user, &ask)?;
        if !ask.about_resource && ask.path == backup::PATH {
            return self.backup_or_restore(parts, body).await;
        }
        if !ask.about_resource {
            return self.document(&ask, parts).await;
        }
        if document::is_definitions(&ask) {
            return Ok(self.definitions());
        }
        let resource = find(&ask)?;
        if is_connect(&ask) {
            return self.connect(parts, body, ask, user, resource).await;
        }
        let mut bytes = body::collect(&parts.headers, body).await?;
        if is_protobuf(&parts.headers) {
            bytes = protobuf::to_json(&bytes)?;
            let json = HeaderValue::from_static("application/json");
            parts.headers.insert(header::CONTENT_TYPE, json);
        }
        let call = Call {
            accept: Accept::choose(&parts.headers)?,
            headers: std::mem::take(&mut parts.headers),
            now: self.ambient().now(),
            warnings: std::sync::Mutex::default(),
            ask,
            query,
            user,
        };
        let mut response = self.dispatch(&call, resource, &bytes).await?;
        add_warnings(&call, &mut response);
        Ok(response)
    }

    /// Who calls: the extension of an in-process caller, or what authentication says.
    fn identify(&self, parts: &mut Parts) -> Result<Identity, ApiError> {
        let inside = parts.extensions.remove::<Identity>();
        match (parts.extensions.get::<Peer>(), inside) {
            (None, Some(identity)) => Ok(identity),
            (peer, _) => {
                let certificates = peer.map(|peer| peer.certificates.clone()).unwrap_or_default();
                self.options().authenticator.authenticate(parts, &certificates)
            }
        }
    }

    pub(crate) fn authorize(&self, user: &Identity, ask: &Ask) -> Result<(), ApiError> {
        let target = if ask.about_resource {
            Subject::Resource {
                group: &ask.group,
                version: &ask.version,
                resource: &ask.resource,
                subresource: &ask.subresource,
                namespace: &ask.namespace,
                name: &ask.name,
            }
        } else {
            Subject::Path(&ask.path)
        };
        self.allow(&Attributes { user, verb: ask.verb, target })
    }

    /// 403 in upstream's words unless this may happen.
    pub(crate) fn allow(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        match self.options().authorizer.authorize(attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(forbidden(attributes, &why)),
        }
    }

    async fn connect(
        &self,
        parts: &mut Parts,
        body: RequestBody,
        ask: Ask,
        user: Identity,
        resource: &'static dyn Resource,
    ) -> Result<Response<Body>, ApiError> {
        let Some(connect) = &self.options().connect else {
            let text = "this server has no way to nodes";
            return Err(ApiError::new(Reason::ServiceUnavailable, text));
        };
        let connection = Connection {
            user,
            resource,
            namespace: ask.namespace,
            name: ask.name,
            subresource: ask.subresource,
            path: ask.rest,
        };
        let empty = Request::new(()).into_parts().0;
        let parts = std::mem::replace(parts, empty);
        connect.connect(connection, Request::from_parts(parts, body)).await
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(protobuf::CONTENT_TYPE)
}

fn find(ask: &Ask) -> Result<&'static dyn Resource, ApiError> {
    let unknown = || {
        let text = "the server could not find the requested resource";
        ApiError::new(Reason::NotFound, text).with_details()
    };
    let resource = known_resource(ask).ok_or_else(unknown)?;
    if !resource.namespaced() && !ask.namespace.is_empty() && ask.resource != "namespaces" {
        return Err(unknown());
    }
    // Without a namespace only lists have a path, and the collections of other verbs a 405.
    let names_one = !matches!(ask.verb, "list" | "watch" | "deletecollection");
    let everywhere = resource.namespaced() && ask.namespace.is_empty();
    if everywhere && !ask.name.is_empty() && names_one {
        return Err(unknown());
    }
    if !ask.subresource.is_empty() && resource.subresource(&ask.subresource).is_none() {
        return Err(unknown());
    }
    Ok(resource)
}

fn known_resource(ask: &Ask) -> Option<&'static dyn Resource> {
    let resource = resource::by_plural(&ask.group, &ask.resource)?;
    (resource.names().version == ask.version).then_some(resource)
}

/// Subresources whose bytes go to a node or pod.
fn is_connect(ask: &Ask) -> bool {
    matches!(ask.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy")
}

/// The sentence of a refusal.
fn forbidden(attributes: &Attributes<'_>, why: &str) -> ApiError {
    let user = &attributes.user.user;
    let verb = attributes.verb;
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    match attributes.target {
        Subject::Path(path) => {
            let text = format!("User {user:?} cannot {verb} path {path:?}{why}");
            ApiError::forbidden(About { group: "", resource: "" }, "", &text)
        }
        Subject::Resource { group, resource, subresource, namespace, name, .. } => {
            let full = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let place = if namespace.is_empty() || resource == "namespaces" {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            let text = format!(
                "User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}{why}"
            );
            ApiError::forbidden(About { group, resource }, name, &text)
        }
    }
}

fn audit_id(parts: &Parts) -> Option<HeaderValue> {
    parts.headers.get("audit-id").filter(|value| !value.is_empty()).cloned()
}

/// Fixed uids of the flow schema and priority level that every request falls into.
const FLOW_SCHEMA: &str = "00000000-0000-4000-8000-000000000001";
const PRIORITY_LEVEL: &str = "00000000-0000-4000-8000-000000000002";

fn stamp_headers(response: &mut Response<Body>, audit_id: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("audit-id"), audit_id);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert("x-kubernetes-pf-flowschema-uid", HeaderValue::from_static(FLOW_SCHEMA));
    headers.insert("x-kubernetes-pf-prioritylevel-uid", HeaderValue::from_static(PRIORITY_LEVEL));
}

fn add_warnings(call: &Call, response: &mut Response<Body>) {
    let warnings = call.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for text in warnings.iter() {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// 405 in upstream's words.
pub(crate) fn not_allowed() -> ApiError {
    let text = "the server does not allow this method on the requested resource";
    ApiError::new(Reason::MethodNotAllowed, text).with_details()
}

/// A Status that says that all went well.
pub(crate) fn success(code: StatusCode) -> Response<Body> {
    let text = format!(
        "{{\"apiVersion\":\"v1\",\"code\":{},\"kind\":\"Status\",\"metadata\":{{}},\
         \"status\":\"Success\"}}",
        code.as_u16()
    );
    answer::json(code, text)
}

impl<B> tower::Service<Request<B>> for ApiServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        let request = request.map(boxed);
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}

/// Forgets the type of a request body.
fn boxed<B>(body: B) -> RequestBody
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let whole = |mut data: B::Data| -> Bytes { data.copy_to_bytes(data.remaining()) };
    body.map_frame(move |frame| frame.map_data(whole)).map_err(Into::into).boxed_unsync()
}
