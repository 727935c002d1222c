//! Names that are not the cluster's, passed on to the node's own resolvers as they came.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    wire::{self, Name},
    zone::{WireRecord, kind},
};

/// A resolver that says nothing for this long is passed over: a third of what askers wait.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// Resolvers asked, as the C library does.
const RESOLVERS_MAX: usize = 3;
/// Queries under way; further ones fail at once, so that a dead resolver costs no memory.
const UNDER_WAY_MAX: usize = 1_000;
/// The largest message.
const MESSAGE_MAX_BYTES: usize = 65_535;

/// Passes messages on.
#[derive(Debug)]
pub(crate) struct Forwarder {
    resolv_conf: PathBuf,
    port: u16,
    /// Addresses that would lead back here.
    own: Vec<IpAddr>,
    known: Mutex<Known>,
    places: Semaphore,
    random: RandomState,
}

#[derive(Debug, Default)]
struct Known {
    changed_at: Option<SystemTime>,
    resolvers: Arc<[SocketAddr]>,
    /// Makes each query's number differ.
    count: u64,
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf, port: u16, own: Vec<IpAddr>) -> Self {
        Self {
            resolv_conf,
            port,
            own,
            known: Mutex::default(),
            places: Semaphore::new(UNDER_WAY_MAX),
            random: RandomState::new(),
        }
    }

    /// A place among the queries under way; `None` when there are too many.
    pub(crate) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// The first answer of a resolver, under the message's own number; `None` when none answers.
    pub(crate) async fn ask(&self, message: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let own_id = message.get(..2)?.to_vec();
        for resolver in self.resolvers().iter().take(RESOLVERS_MAX) {
            let mut question = message.to_vec();
            question[..2].copy_from_slice(&self.number().to_be_bytes());
            let answered = async {
                if over_tcp {
                    ask_tcp(*resolver, &question).await
                } else {
                    ask_udp(*resolver, &question).await
                }
            };
            match timeout(ANSWER_MAX, answered).await {
                Ok(Ok(mut answer)) => {
                    answer[..2].copy_from_slice(&own_id);
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver failed"),
                Err(_) => tracing::debug!(%resolver, "a resolver did not answer"),
            }
        }
        None
    }

    /// The records of a foreign name, with their owners and lives in seconds; empty when none are
    /// found.
    pub(crate) async fn resolve(&self, name: &[u8], wanted: u16) -> Vec<(Name, WireRecord, u32)> {
        // Recursion wanted, one question.
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(name);
        message.extend_from_slice(&wanted.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        let answer = self.ask(&message, false).await;
        answer.and_then(|answer| read_answers(&answer)).unwrap_or_default()
    }

    /// The node's resolvers, but those that lead back to us; read again when the file changes.
    fn resolvers(&self) -> Arc<[SocketAddr]> {
        let changed_at = std::fs::metadata(&self.resolv_conf).and_then(|it| it.modified()).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changed_at != changed_at || known.changed_at.is_none() {
            let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_else(|error| {
                tracing::warn!(path = %self.resolv_conf.display(), %error, "no resolvers of the node");
                String::new()
            });
            known.resolvers = parse(&text, self.port, &self.own).into();
            known.changed_at = changed_at;
        }
        Arc::clone(&known.resolvers)
    }

    /// Hard to guess, so that nobody can answer in a resolver's place.
    fn number(&self) -> u16 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.count = known.count.wrapping_add(1);
        let [a, b, ..] = self.random.hash_one(known.count).to_be_bytes();
        u16::from_be_bytes([a, b])
    }
}

/// The name servers of a resolv.conf.
fn parse(text: &str, port: u16, own: &[IpAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .filter(|address| !own.contains(address))
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

async fn ask_udp(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; MESSAGE_MAX_BYTES];
    loop {
        let count = socket.recv(&mut buffer).await?;
        if answers(&buffer[..count], question) {
            buffer.truncate(count);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether this is an answer to that: the same number and the same question.
fn answers(answer: &[u8], question: &[u8]) -> bool {
    let is_answer = answer.len() >= 12 && answer[2] & 0x80 != 0 && answer[..2] == question[..2];
    // Servers that cannot read the question send it back without.
    let has_question = answer.get(4..6) == Some(&[0, 1]);
    is_answer
        && (!has_question
            || wire::read(answer, 12).map(|it| it.0) == wire::read(question, 12).map(|it| it.0))
}

/// Addresses and aliases of an answer.
fn read_answers(message: &[u8]) -> Option<Vec<(Name, WireRecord, u32)>> {
    let count = u16::from_be_bytes([*message.get(6)?, *message.get(7)?]);
    let (_, after) = wire::read(message, 12)?;
    let mut at = after + 4;
    let mut rows = Vec::new();
    for _ in 0..count {
        let (owner, after) = wire::read(message, at)?;
        let fixed = message.get(after..after + 10)?;
        let found = u16::from_be_bytes([fixed[0], fixed[1]]);
        let ttl_s = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let start = after + 10;
        at = start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let bytes = match found {
            kind::A | kind::AAAA => message.get(start..at)?.into(),
            kind::CNAME => wire::read(message, start)?.0,
            _ => continue,
        };
        rows.push((owner, WireRecord { kind: found, bytes, target: None }, ttl_s));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_that_lead_back_are_left_out() {
        let text = "# x\nnameserver 10.244.0.1\nsearch a\nnameserver 192.0.2.1\nnameserver fd00::1\nnameserver x\nnameserver\n";
        let own = ["10.244.0.1".parse().unwrap()];
        let found: Vec<String> = parse(text, 53, &own).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[fd00::1]:53"]);
    }
}
