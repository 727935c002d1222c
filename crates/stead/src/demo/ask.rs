//! Questions that a person would ask: DNS for a name, a pod for its text.

use std::{net::Ipv4Addr, net::SocketAddr, str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use client::kube::Client;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, RecordType},
};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UdpSocket};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Tells an answer from another; each question has a socket of its own.
const QUESTION: u16 = 1;
/// The port of `stead pet`.
pub(super) const PORT: u16 = 8080;

/// The addresses that a server of DNS knows for a name; none where it knows no such name.
pub(super) async fn addresses(server: SocketAddr, name: &str) -> Result<Vec<Ipv4Addr>> {
    let mut query = Message::new(QUESTION, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_str(&format!("{name}."))?, RecordType::A));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec()?).await?;
    let mut buffer = vec![0; 65535];
    let answer = tokio::time::timeout(ANSWER_MAX, socket.recv(&mut buffer)).await;
    let length = answer
        .with_context(|| format!("the cluster's DNS does not answer at {server}"))?
        .with_context(|| format!("nothing listens for DNS at {server}"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    if answer.metadata.id != query.metadata.id {
        bail!("the answer of {server} is to another question");
    }
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    Ok(addresses.collect())
}

/// Posts a text to a pod through the API server, as `kubectl proxy` and its users do.
pub(super) async fn post(client: &Client, pod: &str, text: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/default/pods/{pod}:{PORT}/proxy/");
    let request = Request::builder().method(Method::POST).uri(path).body(text.into())?;
    let answer = client.request_text(request).await;
    answer.with_context(|| format!("the API server could not hand a text to {pod}"))
}

/// What a pod answers at its own address.
pub(super) async fn get(address: Ipv4Addr) -> Result<String> {
    let asked = async {
        let stream = TcpStream::connect((address, PORT)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .uri("/")
            .header(http::header::HOST, address.to_string())
            .body(Full::<Bytes>::default())?;
        let answered = async {
            let answer = sender.send_request(request).await?;
            let text = answer.into_body().collect().await?.to_bytes();
            anyhow::Ok(String::from_utf8_lossy(&text).into_owned())
        };
        tokio::pin!(answered);
        tokio::select! {
            text = &mut answered => text,
            ended = connection => match ended {
                Ok(()) => answered.await,
                Err(error) => Err(error.into()),
            },
        }
    };
    tokio::time::timeout(ANSWER_MAX, asked)
        .await
        .with_context(|| format!("the pod at {address} does not answer"))?
        .with_context(|| format!("the pod at {address} could not be asked"))
}
