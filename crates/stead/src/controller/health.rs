//! `/healthz`, `/readyz` and `/metrics` of `stead controller`, over plain HTTP.

use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use manager::{Budgets, Election, Handle};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Duration, sleep, timeout},
};

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 64;
/// A connection lives no longer.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed accept: descriptors have run out, and some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is told about this process.
pub(super) struct Health {
    lease: String,
    elects: bool,
    working: Mutex<Option<Handle>>,
}

impl Health {
    pub(super) fn new(election: &Election, elects: bool) -> Self {
        Self { lease: election.name.clone(), elects, working: Mutex::default() }
    }

    /// The controller works.
    pub(super) fn begin(&self, handle: Handle) {
        *self.working() = Some(handle);
    }

    /// The controller works no more.
    pub(super) fn end(&self) -> Option<Handle> {
        self.working().take()
    }

    fn working(&self) -> MutexGuard<'_, Option<Handle>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        match path {
            "/healthz" | "/livez" => (StatusCode::OK, "ok".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => (StatusCode::OK, self.metrics()),
            _ => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        }
    }

    /// Who waits for the Lease is ready to take over; who works is ready once it sees everything.
    fn ready(&self) -> (StatusCode, String) {
        let missing = self.working().as_ref().map(Handle::unsynced).unwrap_or_default();
        if missing.is_empty() {
            return (StatusCode::OK, "ok".to_owned());
        }
        let mut text = String::new();
        for plural in missing {
            text += &format!("[-]{plural} failed: not listed yet, see the log\n");
        }
        (StatusCode::INTERNAL_SERVER_ERROR, text + "readyz check failed\n")
    }

    /// In Prometheus' text form, under upstream's names.
    fn metrics(&self) -> String {
        let (is_working, figures, sets) = match &*self.working() {
            Some(handle) => (1, handle.figures(), handle.budgets()),
            None => (0, Vec::new(), Budgets::default()),
        };
        let mut families = Vec::new();
        if self.elects {
            let help = "Gauge of if the reporting system is master of the relevant lease, 0 \
                        indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please \
                        make sure to group by name.";
            let row = vec![(self.lease.as_str(), is_working)];
            families.push(("leader_election_master_status", "gauge", help, row));
        }
        let of = |value: fn(&manager::Figures) -> u64| {
            let short = |name: &'static str| name.strip_suffix("-controller").unwrap_or(name);
            figures.iter().map(|(name, own)| (short(name), value(own))).collect::<Vec<_>>()
        };
        let depth = of(|own| own.depth as u64);
        families.push(("workqueue_depth", "gauge", "Current depth of workqueue", depth));
        let help = "Total number of adds handled by workqueue";
        families.push(("workqueue_adds_total", "counter", help, of(|own| own.adds)));
        let help = "Total number of retries handled by workqueue";
        families.push(("workqueue_retries_total", "counter", help, of(|own| own.retries)));
        let mut text = String::new();
        for (name, kind, help, rows) in families {
            text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (label, value) in rows {
                // Writing to a String cannot fail.
                writeln!(text, "{name}{{name={label:?}}} {value}").unwrap_or(());
            }
        }
        text + &sets.text()
    }
}

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, health: Arc<Health>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = Arc::clone(&health);
                tokio::spawn(async move {
                    converse(stream, health).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, health: Arc<Health>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (code, text) = health.answer(request.uri().path());
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = code;
        let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(CONNECTION_MAX, connection).await {
        tracing::debug!(error, "a connection ended early");
    }
}
