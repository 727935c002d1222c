//! Opening connections to nodes and pods, and saying in upstream's words why one does not open.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, SignatureScheme, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_rustls::TlsConnector;

use crate::access::PkiError;

/// How long opening a connection may take, TLS included; upstream's 30 seconds.
const DIAL_MAX: Duration = Duration::from_secs(30);

/// An open connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How to speak on a connection.
#[derive(Debug, Clone)]
pub(super) enum Security {
    /// As it is.
    Plain,
    /// TLS, to this name.
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

/// Opens a connection.
///
/// # Errors
///
/// Why not, as Go says it: `dial tcp 10.244.0.5:8080: connect: connection refused`.
pub(super) async fn dial(to: SocketAddr, security: Security) -> Result<Box<dyn Stream>, String> {
    let opening = async {
        let stream = TcpStream::connect(to).await.map_err(|error| refused(to, &error))?;
        stream.set_nodelay(true).map_err(|error| refused(to, &error))?;
        match security {
            Security::Plain => Ok(Box::new(stream) as Box<dyn Stream>),
            Security::Tls(config, name) => {
                let connector = TlsConnector::from(config);
                let stream = connector.connect(name, stream).await;
                let stream = stream.map_err(|error| format!("tls: {error}"))?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            }
        }
    };
    match timeout(DIAL_MAX, opening).await {
        Ok(opened) => opened,
        Err(_late) => Err(format!("dial tcp {to}: i/o timeout")),
    }
}

fn refused(to: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset by peer",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "network is unreachable",
        ErrorKind::TimedOut => "connection timed out",
        _ => return format!("dial tcp {to}: connect: {error}"),
    };
    format!("dial tcp {to}: connect: {why}")
}

/// Speaks to kubelets: trusts this authority, shows this certificate (`kube-apiserver-kubelet-client`).
///
/// # Errors
///
/// `Tls` when the PEM texts are none, or do not belong together.
pub fn kubelet_tls(
    ca_pem: &str,
    certificate_pem: &str,
    key_pem: &str,
) -> Result<ClientConfig, PkiError> {
    let tls = |error: Box<dyn std::error::Error + Send + Sync>| PkiError::Tls(error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| tls(error.into()))?;
        roots.add(certificate).map_err(|error| tls(error.into()))?;
    }
    let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| tls(error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    let key = key.map_err(|error| tls(error.into()))?;
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(error.into()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| tls(error.into()))
}

/// The same, but whatever the other side shows is taken: upstream's way to pods that serve HTTPS.
pub(super) fn blind(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    client::trust_anyone(&mut config);
    config
}

/// `blind`, without a certificate of ours: pods must not learn to speak as the server.
pub(super) fn blind_stranger(config: &ClientConfig) -> ClientConfig {
    let mut config = blind(config);
    config.client_auth_cert_resolver = Arc::new(Nobody);
    config
}

#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
