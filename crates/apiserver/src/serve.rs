//! The HTTPS listener: TLS, HTTP/1.1 and HTTP/2, one task a connection.

use std::{convert::Infallible, future::Future, sync::Arc};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Duration, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    answer::{Body, RequestBody},
    server::{ApiServer, Peer},
};

/// A client that has not finished its TLS handshake by then is no client.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long open connections may end their requests after the shutdown begins.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Streams of one HTTP/2 connection: upstream's 250 would starve a client with many watches.
const STREAMS_MAX: u32 = 1000;
/// How much of an upload may be in flight on one HTTP/2 stream, in bytes.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Pause after a failed accept: descriptors have run out, and some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Serves HTTPS until `shutdown` completes; then open requests get two seconds to end.
    ///
    /// `tls` decides about client certificates; ALPN is set here.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut tls = (*tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        // Dropped to begin the end; each connection holds a receiver until it has ended.
        let (open, stopping) = watch::channel(());
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let stopping = stopping.clone();
                    tokio::spawn(self.clone().converse(stream, acceptor.clone(), stopping));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.set_stopping();
        drop(stopping);
        open.send_replace(());
        if timeout(DRAIN_MAX, open.closed()).await.is_err() {
            tracing::debug!("connections were still open at the end of the shutdown");
        }
    }

    async fn converse(
        self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        mut stopping: watch::Receiver<()>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let address = stream.peer_addr().ok().map(|address| address.ip());
        let stream = match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake timed out"),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Peer { certificates: certificates.to_vec().into(), address };
        let service = service_fn(move |request: Request<Incoming>| {
            let server = self.clone();
            let peer = peer.clone();
            async move { Ok::<_, Infallible>(server.answer_socket(request, peer).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES);
        builder.http1().timer(TokioTimer::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer_socket(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut request =
            request.map(|body| -> RequestBody { body.map_err(Into::into).boxed_unsync() });
        // The mark of a socket: no extension that claims an identity counts beside it.
        request.extensions_mut().insert(peer);
        self.answer(request).await
    }
}
