//! The two ways to the API server: over HTTPS, or straight into its service.

use bytes::Bytes;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service, ServiceExt as _};

use crate::Identity;

/// A client that calls `service` without a socket, as `identity`.
///
/// Every request carries the identity as an extension; the service is what stands behind the
/// authentication layer of the API server. Needs a tokio runtime.
pub fn in_process<S, B>(service: S, identity: Identity) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service.map_request(move |mut request: Request<Body>| {
        request.extensions_mut().insert(identity.clone());
        request
    });
    kube::Client::new(service, "default")
}

/// A client over HTTPS, with the credentials of `config` (a kubeconfig's context, or a pod's).
///
/// # Errors
///
/// kube's, when the certificates or keys in `config` cannot be read.
pub fn https(config: kube::Config) -> Result<kube::Client, kube::Error> {
    kube::Client::try_from(config)
}
