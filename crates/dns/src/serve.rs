//! Sockets: UDP and TCP, many queries at once.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Shared,
    answer::{Outcome, decide},
    packet::{Answer, Query, code},
    zone::kind,
};

/// The largest query that we take over UDP: far more than any has.
const QUERY_MAX_BYTES: usize = 4_096;
/// Connections at once; a further one waits in the kernel.
const CONNECTIONS_MAX: usize = 500;
/// A connection on which nothing comes for this long is closed (RFC 7766 asks for seconds).
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Between attempts to accept when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is dropped.
pub(crate) async fn serve(shared: Arc<Shared>, udp: Vec<Arc<UdpSocket>>, tcp: Vec<TcpListener>) {
    let mut tasks = JoinSet::new();
    for socket in udp {
        tasks.spawn(serve_udp(Arc::clone(&shared), socket));
    }
    for listener in tcp {
        tasks.spawn(serve_tcp(Arc::clone(&shared), listener));
    }
    while let Some(result) = tasks.join_next().await {
        if let Err(error) = result {
            tracing::error!(%error, "a DNS task ended");
        }
    }
}

/// One reader a socket: what it knows it answers in the order of the questions. Resolvers ask for a
/// name's two kinds of address at once, and some (busybox) print what comes in the order it comes.
async fn serve_udp(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; QUERY_MAX_BYTES];
    let mut waiting = JoinSet::new();
    loop {
        let (count, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error about an earlier answer; the socket is well.
            Err(error) => {
                tracing::debug!(%error, "receiving a query failed");
                continue;
            }
        };
        let message = &buffer[..count];
        match outcome(&shared, message, false) {
            Outcome::Silence => {}
            Outcome::Reply(reply) => send(&socket, &reply, peer).await,
            other => {
                let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
                let message = message.to_vec();
                waiting.spawn(async move {
                    let reply = elsewhere(&shared, &message, other, false).await;
                    send(&socket, &reply, peer).await;
                });
                while waiting.try_join_next().is_some() {}
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(reply, peer).await {
        // The asker asks again.
        tracing::debug!(%error, %peer, "sending an answer failed");
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Err(error) = serve_connection(&shared, stream).await {
                        tracing::debug!(%error, %peer, "a DNS connection failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let mut message = Vec::new();
        let read = async {
            let length = stream.read_u16().await?;
            message.resize(usize::from(length), 0);
            stream.read_exact(&mut message).await
        };
        match timeout(IDLE_MAX, read).await {
            Err(_) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(result) => result?,
        };
        let reply = match outcome(shared, &message, true) {
            Outcome::Silence => return Ok(()),
            Outcome::Reply(reply) => reply,
            other => elsewhere(shared, &message, other, true).await,
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let written = stream.write_all(&[&length.to_be_bytes(), &reply[..]].concat()).await;
        written?;
    }
}

fn outcome(shared: &Shared, message: &[u8], over_tcp: bool) -> Outcome {
    decide(&shared.zone.read().unwrap_or_else(PoisonError::into_inner), message, over_tcp)
}

/// The answer that needs another server's; SERVFAIL where none can be had.
async fn elsewhere(shared: &Shared, message: &[u8], outcome: Outcome, over_tcp: bool) -> Vec<u8> {
    let max_bytes = |query: &Query| if over_tcp { usize::MAX } else { query.answer_max_bytes() };
    let place = shared.forwarder.place();
    match outcome {
        Outcome::Forward(query) => {
            let answer = match &place {
                Some(_) => shared.forwarder.ask(message, over_tcp).await,
                None => None,
            };
            answer.unwrap_or_else(|| Answer::new(&query).finish(code::SERVER, max_bytes(&query)))
        }
        Outcome::Chase(chase) => {
            let is_address = matches!(chase.query.kind, kind::A | kind::AAAA);
            let found = match &place {
                Some(_) if is_address => {
                    shared.forwarder.resolve(&chase.target, chase.query.kind).await
                }
                _ => Vec::new(),
            };
            chase.reply(&found, max_bytes(&chase.query))
        }
        Outcome::Reply(reply) => reply,
        Outcome::Silence => Vec::new(),
    }
}
