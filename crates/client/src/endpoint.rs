//! Raw paths of a server of the cluster: the API server's own, and a node agent's.
//!
//! Files go up and come down in pieces; neither side holds one whole in memory.

use std::{io, path::Path};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::ConfigExt as _,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Why a call failed: one variant per remedy.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The kubeconfig does not hold what is needed.
    #[error("the kubeconfig could not be used")]
    Kubeconfig(#[source] KubeconfigError),
    /// No connection, or one that broke.
    #[error("the cluster does not answer: is it up? (`stead status`)")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered with a refusal.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: StatusCode,
        /// The answer's own sentence.
        message: String,
    },
    /// No node has told its port.
    #[error("no node of the cluster is ready yet: try again in a moment")]
    NoNode,
    /// The file could not be read or written.
    #[error("{path}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What goes up: nothing, or a file in pieces.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A server, with the credentials of a kubeconfig.
#[derive(Clone)]
pub struct Endpoint {
    base: Uri,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Endpoint")
    }
}

impl Endpoint {
    /// The API server of this kubeconfig's current context.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be used.
    pub async fn server(kubeconfig: &str) -> Result<Self, EndpointError> {
        connect(&config(kubeconfig).await?)
    }

    /// The agent of the cluster's node on this machine, by the port that its Node tells.
    ///
    /// # Errors
    ///
    /// When the API server cannot be asked, or no node has told its port.
    pub async fn node(kubeconfig: &str) -> Result<Self, EndpointError> {
        let mut config = config(kubeconfig).await?;
        let nodes = connect(&config)?.get("/api/v1/nodes").await?;
        let nodes: serde_json::Value = serde_json::from_slice(&nodes)
            .map_err(|error| EndpointError::Unreachable(Box::new(error)))?;
        let port = nodes["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|node| node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64())
            .ok_or(EndpointError::NoNode)?;
        let url = format!("https://127.0.0.1:{port}");
        config.cluster_url = url.parse().map_err(|_| EndpointError::NoNode)?;
        connect(&config)
    }

    /// What a path answers.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Bytes, EndpointError> {
        self.call(Method::GET, path, nothing()).await
    }

    /// Deletes what a path names.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or refuses.
    pub async fn delete(&self, path: &str) -> Result<Bytes, EndpointError> {
        self.call(Method::DELETE, path, nothing()).await
    }

    /// Posts a file's bytes.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or the server cannot be reached or refuses.
    pub async fn upload(&self, path: &str, file: &Path) -> Result<Bytes, EndpointError> {
        let failed = |source| EndpointError::File { path: file.display().to_string(), source };
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        let pieces = futures::stream::try_unfold(opened, |mut opened| async move {
            let mut piece = vec![0; PIECE_BYTES];
            let count = opened.read(&mut piece).await?;
            piece.truncate(count);
            let frame = http_body::Frame::data(Bytes::from(piece));
            Ok::<_, io::Error>((count > 0).then_some((frame, opened)))
        });
        self.call(Method::POST, path, StreamBody::new(pieces).boxed_unsync()).await
    }

    /// Writes what a path answers to a new file, readable by its owner alone; returns its size.
    ///
    /// # Errors
    ///
    /// When the file exists or cannot be written, or the server cannot be reached or refuses; no
    /// part of the file is left then.
    pub async fn download(&self, path: &str, file: &Path) -> Result<u64, EndpointError> {
        let answer = self.send(Method::GET, path, nothing()).await?;
        let failed = |source| EndpointError::File { path: file.display().to_string(), source };
        let mut options = tokio::fs::OpenOptions::new();
        let mut opened =
            options.write(true).create_new(true).mode(0o600).open(file).await.map_err(failed)?;
        let result = async {
            let mut pieces = answer.into_body().into_data_stream().map_err(io::Error::other);
            let mut size = 0;
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                size += piece.len() as u64;
                opened.write_all(&piece).await?;
            }
            opened.sync_all().await?;
            Ok(size)
        }
        .await;
        if result.is_err() {
            tokio::fs::remove_file(file).await.map_err(failed)?;
        }
        result.map_err(failed)
    }

    async fn call(&self, method: Method, path: &str, body: Body) -> Result<Bytes, EndpointError> {
        let answer = self.send(method, path, body).await?;
        let collected = answer.into_body().collect().await;
        Ok(collected.map_err(broken)?.to_bytes())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, EndpointError> {
        let refused = |error: http::Error| EndpointError::Refused {
            code: StatusCode::BAD_REQUEST,
            message: error.to_string(),
        };
        let mut uri = self.base.clone().into_parts();
        uri.path_and_query = Some(path.parse().map_err(|error| refused(http::Error::from(error)))?);
        let uri = Uri::from_parts(uri).map_err(|error| refused(http::Error::from(error)))?;
        let request = Request::builder().method(method).uri(uri).body(body).map_err(refused)?;
        let answer = self.client.request(request).await.map_err(broken)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(broken)?.to_bytes();
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        // Ours is a Status; a proxy on the way may say it in its own words.
        let status = serde_json::from_slice::<serde_json::Value>(&body);
        let message = status.ok().and_then(|status| status["message"].as_str().map(str::to_owned));
        let message = message.unwrap_or(text);
        Err(EndpointError::Refused { code, message })
    }
}

async fn config(kubeconfig: &str) -> Result<Config, EndpointError> {
    let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(EndpointError::Kubeconfig)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(parsed, &options).await.map_err(EndpointError::Kubeconfig)
}

fn connect(config: &Config) -> Result<Endpoint, EndpointError> {
    let connector = config.rustls_https_connector().map_err(broken)?;
    let client = Client::builder(TokioExecutor::new()).build(connector);
    Ok(Endpoint { base: config.cluster_url.clone(), client })
}

fn nothing() -> Body {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> EndpointError {
    EndpointError::Unreachable(Box::new(error))
}
