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
mod log;
mod remote;
mod route;
mod websocket;

use std::{path::PathBuf, sync::Arc};

use host::runtime::Runtime;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

pub use authorize::Authority;

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
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, say: those that are open will end.
                    tracing::warn!(%error, "a connection to the kubelet API was not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (kubelet, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let stream = match tls.accept(stream).await {
                    Ok(stream) => stream,
                    Err(error) => return tracing::debug!(%error, "no TLS on the kubelet's port"),
                };
                let user = authorize::user(stream.get_ref().1.peer_certificates());
                let service = service_fn(move |request| {
                    let (kubelet, user) = (kubelet.clone(), user.clone());
                    async move { Ok::<_, std::convert::Infallible>(kubelet.answer(user, request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let served = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a connection to the kubelet API ended");
                }
            });
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
            route::Route::Log(asked) => log::answer(self, asked).await,
            route::Route::Exec(asked) => exec::answer(self, asked, request).await,
            _ => Err(answer::refuse(404, "404 page not found")),
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
