//! The kernel's netlink: messages with nested attributes, and the socket that carries them.
//!
//! Links and firewall rules are made here by the same few dozen lines, blocking and without a
//! task, because much of it happens on a thread that has stepped into a pod's namespace.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
            setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

/// Length of a message header.
const HEADER_BYTES: usize = 16;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The kernel answers at once; a request without an answer for this long failed.
const ANSWER_MAX_S: i64 = 10;
/// Dumps come in pieces of at most this many bytes.
const RECEIVE_BYTES: usize = 64 << 10;

/// One message, being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    /// What it asks for, for people.
    pub(crate) what: String,
}

impl Message {
    /// A message of this kind with its fixed header; it asks for an answer unless it is `silent`.
    pub(crate) fn new(what: impl Into<String>, kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or(u16::MAX);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        let mut message = Self { bytes, what: what.into() };
        message.align();
        message
    }

    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    /// A string with its final zero.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// In the machine's byte order, as rtnetlink wants.
    pub(crate) fn native(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as netfilter wants.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Attributes within an attribute.
    pub(crate) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.put(kind | NESTED, &[]);
        let mut whole = inside(self);
        let length = whole.bytes.len() - start;
        whole.bytes[start..start + 2].copy_from_slice(&length_field(length));
        whole
    }

    /// Bytes as they are: a header within an attribute.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.align();
        self
    }

    /// Whether further attributes of this many bytes still fit a 16-bit length.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&length_field(4 + value.len()));
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn add_flags(&mut self, flags: i32) {
        let old = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        let new = old | u16::try_from(flags).unwrap_or(0);
        self.bytes[6..8].copy_from_slice(&new.to_ne_bytes());
    }

    fn seal(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

/// Attributes are cut long before 64 KiB by their writers, so the cast never cuts.
fn length_field(length: usize) -> [u8; 2] {
    debug_assert!(length <= usize::from(u16::MAX), "an attribute of {length} bytes");
    u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes()
}

/// What the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The message's words.
    pub(crate) what: String,
    pub(crate) errno: Errno,
}

impl Refused {
    pub(crate) fn source(&self) -> io::Error {
        self.errno.into()
    }
}

/// An open netlink socket. It stays in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn route() -> nix::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    pub(crate) fn netfilter() -> nix::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> nix::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_MAX_S, 0))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all messages in one go and waits for each answer; the first refusal is the result.
    ///
    /// A message behind a refused one is still carried out, as the kernel does.
    pub(crate) fn ask(&mut self, messages: Vec<Message>) -> Result<(), Refused> {
        let first = self.sequence.wrapping_add(1);
        let mut names = VecDeque::new();
        let mut bytes = Vec::new();
        for mut message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.add_flags(libc::NLM_F_ACK);
            bytes.extend_from_slice(message.seal(self.sequence));
            names.push_back(message.what);
        }
        let failed = |what: &str, errno| Refused { what: what.to_owned(), errno };
        let Some(last) = names.back().cloned() else { return Ok(()) };
        self.send(&bytes).map_err(|errno| failed(&last, errno))?;
        let mut refused = None;
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut answered = 0;
        while answered < names.len() {
            let count = self.receive(&mut buffer).map_err(|errno| failed(&last, errno))?;
            for answer in Answers(&buffer[..count]) {
                let Some(errno) = answer.acknowledgement() else { continue };
                let at = usize::try_from(answer.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(name) = names.get(at) else { continue };
                answered += 1;
                if errno != Errno::from_raw(0) && refused.is_none() {
                    refused = Some(Refused { what: name.clone(), errno });
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends a batch that takes effect as a whole or not at all (nf_tables between its begin and
    /// end). Only the last real message is acknowledged; refusals always are.
    pub(crate) fn transact(&mut self, messages: Vec<Message>) -> Result<(), Refused> {
        let first = self.sequence.wrapping_add(1);
        let count = messages.len();
        let acknowledged = count.checked_sub(2);
        let mut names = Vec::new();
        let mut bytes = Vec::new();
        for (at, mut message) in messages.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            if Some(at) == acknowledged {
                message.add_flags(libc::NLM_F_ACK);
            }
            bytes.extend_from_slice(message.seal(self.sequence));
            names.push(message.what);
        }
        let failed = |errno| Refused { what: "sending a batch".to_owned(), errno };
        // The kernel takes a whole batch from one buffer or refuses it.
        setsockopt(&self.fd, sockopt::SndBufForce, &(bytes.len() * 2 + RECEIVE_BYTES))
            .map_err(failed)?;
        self.send(&bytes).map_err(failed)?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut refused: Option<Refused> = None;
        loop {
            let flags = if refused.is_some() { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
            let received = match recv(self.fd.as_raw_fd(), &mut buffer, flags) {
                Err(Errno::EINTR) => continue,
                // All refusals of the batch have been read.
                Err(_) if refused.is_some() => return refused.map_or(Ok(()), Err),
                result => result.map_err(failed)?,
            };
            for answer in Answers(&buffer[..received]) {
                let Some(errno) = answer.acknowledgement() else { continue };
                let at = usize::try_from(answer.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(what) = names.get(at) else { continue };
                if errno != Errno::from_raw(0) {
                    refused.get_or_insert_with(|| Refused { what: what.clone(), errno });
                } else if Some(at) == acknowledged && refused.is_none() {
                    return Ok(());
                }
            }
        }
    }

    /// Everything that the kernel lists for this request: message kind and body of each.
    pub(crate) fn list(&mut self, mut message: Message) -> Result<Vec<(u16, Vec<u8>)>, Refused> {
        self.sequence = self.sequence.wrapping_add(1);
        message.add_flags(libc::NLM_F_DUMP);
        let what = message.what.clone();
        let failed = |errno| Refused { what: what.clone(), errno };
        let bytes = message.seal(self.sequence).to_vec();
        self.send(&bytes).map_err(failed)?;
        let mut found = Vec::new();
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let count = self.receive(&mut buffer).map_err(failed)?;
            for answer in Answers(&buffer[..count]) {
                if answer.sequence != self.sequence {
                    continue;
                }
                if i32::from(answer.kind) == libc::NLMSG_DONE {
                    return Ok(found);
                }
                match answer.acknowledgement() {
                    Some(errno) => return Err(failed(errno)),
                    None => found.push((answer.kind, answer.body.to_vec())),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> nix::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        let sent = sendto(self.fd.as_raw_fd(), bytes, &kernel, MsgFlags::empty())?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
    }

    fn receive(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        loop {
            match recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }
}

/// One message from the kernel.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Answer<'_> {
    /// The error number of an acknowledgement; 0 is success.
    fn acknowledgement(&self) -> Option<Errno> {
        if i32::from(self.kind) != libc::NLMSG_ERROR {
            return None;
        }
        let code = i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?);
        Some(Errno::from_raw(code.wrapping_neg()))
    }
}

/// The messages of one datagram.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let header = self.0.get(..HEADER_BYTES)?;
        let length = u32::from_ne_bytes(header[..4].try_into().ok()?) as usize;
        let body = self.0.get(HEADER_BYTES..length)?;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes(header[8..12].try_into().ok()?);
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Answer { kind, sequence, body })
    }
}

/// The attributes that follow a fixed header: kind (without flags) and value.
pub(crate) fn attributes(body: &[u8], header_bytes: usize) -> Vec<(u16, &[u8])> {
    let mut rest = body.get(header_bytes..).unwrap_or(&[]);
    let mut found = Vec::new();
    while let Some(&[a, b, c, d]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = rest.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]) & 0x3fff, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}
