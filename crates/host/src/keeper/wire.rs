//! The keeper's protocol: frames of a length (4 bytes, little endian) and JSON; descriptors ride
//! with a frame's first byte. One request a connection at a time; `Watch` is told of every change.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::runtime::{ContainerState, Resources};

/// This protocol's number. A new agent speaks to keepers of the last two.
pub(crate) const VERSION: u32 = 1;
/// Longest frame: a command line of an exec may be long (`ARG_MAX` is 2 MiB), a state is not.
pub(crate) const FRAME_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most descriptors that ride with one frame.
const DESCRIPTORS_MAX: usize = 4;

/// What the agent asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// First on each connection that needs an answer about the pod itself.
    Hello {
        version: u32,
    },
    /// Be told of every change.
    Watch,
    Start(Start),
    Stop {
        id: String,
        signal: i32,
        grace_ms: u64,
    },
    Exec {
        id: String,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    Attach {
        id: String,
    },
    Resize {
        id: String,
        exec: Option<String>,
        columns: u16,
        rows: u16,
    },
    Dial {
        port: u16,
    },
    /// Forget an exited container.
    Remove {
        id: String,
    },
    /// Kill everything, answer, and end.
    StopPod,
}

/// A container to start: what the keeper itself must know; the rest is in the plan's file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) limits: Resources,
    pub(crate) cgroup: String,
}

/// What the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// With the network namespace's descriptor.
    Hello {
        version: u32,
        pid: u32,
    },
    /// To watchers: look again.
    Changed,
    Container(ContainerState),
    Done,
    /// The exec runs; with the streams' descriptors in the order of `streams`.
    Exec {
        id: String,
        streams: Vec<Stream>,
    },
    /// The exec ended.
    Exited {
        code: i32,
    },
    /// With the streams' descriptors in the order of `streams`.
    Attached {
        streams: Vec<Stream>,
    },
    Failed {
        kind: Failed,
        text: String,
    },
}

/// Which stream a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    Stdin,
    Stdout,
    Stderr,
    Terminal,
}

/// Why not: one for each remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failed {
    NoContainer,
    NotRunning,
    Create,
    Start,
    Sandbox,
    /// The text is the error number.
    Dial,
    System,
}

/// A frame's bytes.
pub(crate) fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > FRAME_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a message of {length} bytes is too long"),
        ));
    }
    bytes[..4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
    Ok(bytes)
}

/// Sends what the socket takes now; descriptors ride with the first byte.
pub(crate) fn send(socket: RawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let parts = [IoSlice::new(bytes)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[_] = if descriptors.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket, &parts, control, flags, None)?)
}

/// Bytes and descriptors of frames that are still arriving.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Takes what the socket has now; false at its end.
    pub(crate) fn receive(&mut self, socket: RawFd) -> io::Result<bool> {
        let mut chunk = [0_u8; 4096];
        let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let mut parts = [IoSliceMut::new(&mut chunk)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket, &mut parts, Some(&mut control), flags)?;
        let length = message.bytes;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = part {
                // SAFETY: the kernel just made these descriptors for us, and nobody else knows them.
                self.descriptors
                    .extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        self.bytes.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    /// The next whole message, if it is here.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > FRAME_MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {length} bytes"),
            ));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }

    /// The descriptors that came so far.
    pub(crate) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd, unix::net::UnixStream};

    use super::*;

    #[test]
    fn frames_and_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let bytes = frame(&Request::Dial { port: 80 }).unwrap();
        send(left.as_raw_fd(), &bytes[..3], &[left.as_raw_fd()]).unwrap();
        let mut inbox = Inbox::default();
        assert!(inbox.receive(right.as_raw_fd()).unwrap());
        assert!(inbox.next::<Request>().unwrap().is_none());
        send(left.as_raw_fd(), &bytes[3..], &[]).unwrap();
        assert!(inbox.receive(right.as_raw_fd()).unwrap());
        assert!(matches!(inbox.next::<Request>().unwrap(), Some(Request::Dial { port: 80 })));
        assert_eq!(inbox.take_descriptors().len(), 1);
        drop(left);
        assert!(!inbox.receive(right.as_raw_fd()).unwrap());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut inbox = Inbox { bytes: vec![255; 8], descriptors: Vec::new() };
        assert!(inbox.next::<Request>().is_err());
        let mut inbox = Inbox { bytes: vec![2, 0, 0, 0, b'{', b'!'], descriptors: Vec::new() };
        assert!(inbox.next::<Request>().is_err());
    }
}
