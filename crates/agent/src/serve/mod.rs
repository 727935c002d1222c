//! The kubelet API: logs, exec, attach, port-forward, images and figures, over mutual TLS.
//!
//! ```text
//!   TLS client certificate ──▶ who ──▶ SubjectAccessReview ──▶ route ──▶ runtime, log files
//!                                                              upgrade ──▶ WebSocket or SPDY
//! ```
//!
//! Paths are upstream's (`/containerLogs`, `/exec` …), so that any API server can use them;
//! `/stead/v1/images` is our own.

mod answer;
mod authorize;
mod exec;
mod figures;
mod images;
mod log;
mod port_forward;
mod remote;
mod route;
mod spdy;
mod websocket;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use host::runtime::Runtime;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

pub use authorize::Authority;

/// Connections at the same time. One of a log that is followed lasts; a node has 110 pods.
const CONNECTIONS_MAX: usize = 1024;
/// Pause after a failed accept: descriptors have run out, and some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take to begin TLS.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head; also how long a connection waits idle.
const HEADER_MAX: Duration = Duration::from_secs(120);

/// What is answered.
pub(crate) type Body = UnsyncBoxBody<bytes::Bytes, std::io::Error>;

/// What the kubelet API reads of its node.
pub trait Pods: Send + Sync + 'static {
    /// The pod of this name, if it is on this node.
    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>>;
    /// Every pod of this node.
    fn pods(&self) -> Vec<Arc<Pod>>;
    /// The folder of this pod's logs: `<container>/<attempt>.log` below it.
    fn log_folder(&self, pod: &Pod) -> PathBuf;
}

/// One node's kubelet API.
#[derive(Clone)]
pub struct Kubelet {
    /// Containers and images.
    pub runtime: Arc<dyn Runtime>,
    /// The node's pods.
    pub pods: Arc<dyn Pods>,
    /// Who may what.
    pub authority: Arc<Authority>,
    /// Name of the node.
    pub node: String,
    /// A folder for archives while they are read.
    pub scratch: PathBuf,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kubelet({})", self.node)
    }
}

impl Kubelet {
    /// Serves until `stop` says so. Connections without a certificate of the cluster's CA are
    /// refused by `tls`.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: TlsAcceptor,
        mut stop: watch::Receiver<bool>,
    ) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let next = async {
                // The semaphore is never closed.
                let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|(stream, _)| (stream, place))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the kubelet API was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (kubelet, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(HELLO_MAX, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let user = authorize::user(stream.get_ref().1.peer_certificates());
                        kubelet.converse(stream, user).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS on the kubelet's port"),
                    Err(_) => tracing::debug!("a connection did not begin TLS in time"),
                }
                drop(place);
            });
        }
    }

    /// Answers one connection's requests.
    async fn converse<I>(&self, io: I, user: Option<authorize::User>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let (kubelet, user) = (self.clone(), user.clone());
            async move { Ok::<_, std::convert::Infallible>(kubelet.answer(user, request).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
        let served = http.serve_connection(TokioIo::new(io), service).with_upgrades();
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection to the kubelet API ended");
        }
    }

    async fn answer(
        &self,
        user: Option<authorize::User>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let Some(user) = user else {
            return answer::text(401, "Unauthorized");
        };
        let Some(route) = route::parse(request.uri()) else {
            return answer::text(404, "404 page not found");
        };
        if let Err(refusal) =
            self.authority.allow(&user, request.method(), &route, &self.node).await
        {
            return answer::text(refusal.code, &refusal.message);
        }
        let result = match route {
            route::Route::Health => Ok(answer::text(200, "ok")),
            route::Route::Pods => figures::pods(self),
            route::Route::Summary => figures::summary(self).await,
            route::Route::Metrics(page) => figures::metrics(self, page).await,
            route::Route::Log(asked) => log::answer(self, asked).await,
            route::Route::Exec(asked) => exec::answer(self, asked, request).await,
            route::Route::PortForward(asked) => port_forward::answer(self, asked, request).await,
            route::Route::Images(name) => images::answer(self, name, request).await,
        };
        result.unwrap_or_else(|refusal| answer::text(refusal.code, &refusal.message))
    }

    /// The pod, and its state if the runtime knows it yet.
    async fn find(
        &self,
        of: &route::PodAsked,
    ) -> Result<(Arc<Pod>, Option<host::runtime::PodState>), answer::Refusal> {
        let pod = self.pods.pod(&of.namespace, &of.pod);
        let pod = pod.ok_or_else(|| answer::refuse(404, format!("pod {:?} not found", of.pod)))?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let states = self.runtime.pods().await.map_err(|error| answer::refuse(500, error))?;
        Ok((pod, states.into_iter().find(|state| state.uid == uid)))
    }
}

#[cfg(test)]
mod tests;
