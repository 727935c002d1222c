//! Connections to keepers: a request, its answer, descriptors.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use tokio::{io::Interest, net::UnixStream};

use super::Keepers;
use crate::{
    keeper::wire::{self, Failed, Inbox, Reply, Request},
    runtime::{ContainerState, RuntimeError},
};

/// How long to wait before a lost connection to a living keeper is made again.
const RECONNECT_MS: u64 = 20;

/// One connection.
#[derive(Debug)]
pub(super) struct Call {
    stream: UnixStream,
    inbox: Inbox,
}

impl Call {
    pub(super) async fn connect(keepers: &Keepers, uid: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(keepers.inner.socket(uid)).await?;
        Ok(Self { stream, inbox: Inbox::default() })
    }

    pub(super) async fn send(&self, request: &Request) -> io::Result<()> {
        let bytes = wire::frame(request)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.stream.writable().await?;
            let sent = self
                .stream
                .try_io(Interest::WRITABLE, || wire::send(self.stream.as_raw_fd(), rest, &[]));
            match sent {
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next answer with the descriptors that came with it.
    pub(super) async fn receive(&mut self) -> io::Result<(Reply, Vec<OwnedFd>)> {
        loop {
            if let Some(reply) = self.inbox.next()? {
                return Ok((reply, self.inbox.take_descriptors()));
            }
            self.stream.readable().await?;
            let fd = self.stream.as_raw_fd();
            match self.stream.try_io(Interest::READABLE, || self.inbox.receive(fd)) {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn keeper_error(uid: &str, what: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Keeper { uid: uid.to_owned(), what: what.to_string() }
}

/// The remedy that a refusal names.
fn refusal(kind: Failed, text: String) -> RuntimeError {
    match kind {
        Failed::NoContainer => RuntimeError::NoContainer(text),
        Failed::NotRunning => RuntimeError::NotRunning(text),
        Failed::Create => RuntimeError::Create(text),
        Failed::Start => RuntimeError::Start(text),
        Failed::Sandbox => RuntimeError::Sandbox(text),
        Failed::Dial => {
            let code = text.parse().unwrap_or(libc::EIO);
            RuntimeError::Dial { port: 0, source: io::Error::from_raw_os_error(code) }
        }
        Failed::System => {
            RuntimeError::System { what: text, source: io::Error::other("the keeper says no") }
        }
    }
}

impl Keepers {
    /// Asks and waits; refusals become errors.
    pub(super) async fn ask(
        &self,
        uid: &str,
        request: &Request,
    ) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
        let (reply, descriptors, _) = self.converse(uid, request).await?;
        Ok((reply, descriptors))
    }

    /// The same, keeping the connection for what comes later.
    pub(super) async fn converse(
        &self,
        uid: &str,
        request: &Request,
    ) -> Result<(Reply, Vec<OwnedFd>, Call), RuntimeError> {
        if !self.inner.lock_pods().contains_key(uid) {
            return Err(RuntimeError::NoPod(uid.to_owned()));
        }
        let asked = async {
            let mut call = Call::connect(self, uid).await?;
            call.send(request).await?;
            let (reply, descriptors) = call.receive().await?;
            Ok::<_, io::Error>((reply, descriptors, call))
        };
        match asked.await {
            Ok((Reply::Failed { kind, text }, ..)) => Err(refusal(kind, text)),
            Ok(answer) => {
                self.inner.refresh(uid);
                Ok(answer)
            }
            Err(error) => Err(keeper_error(uid, error)),
        }
    }

    /// Gets the pod's network from its keeper; the error is the keeper's reason for not being.
    pub(super) async fn hello(&self, uid: &str) -> Result<(), RuntimeError> {
        let (reply, mut descriptors) =
            self.ask(uid, &Request::Hello { version: wire::VERSION }).await?;
        let Reply::Hello { version, .. } = reply else { return Err(unexpected(uid, &reply)) };
        if version.abs_diff(wire::VERSION) > 1 {
            return Err(keeper_error(
                uid,
                format!("speaks version {version}, this program {}", wire::VERSION),
            ));
        }
        if let Some(pod) = self.inner.lock_pods().get_mut(uid) {
            pod.net = descriptors.pop().map(Arc::new);
        }
        Ok(())
    }

    /// Listens to a keeper until it dies, and then buries it.
    pub(super) fn listen(&self, uid: String) {
        let keepers = self.clone();
        tokio::spawn(async move {
            loop {
                if let Err(error) = keepers.hear(&uid).await {
                    tracing::debug!(uid, %error, "keeper's connection ended");
                }
                if !matches!(keepers.inner.is_alive(&uid), Ok(true)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(RECONNECT_MS)).await;
            }
            keepers.bury(&uid).await;
            keepers.wake(&uid);
        });
    }

    async fn hear(&self, uid: &str) -> io::Result<()> {
        let mut call = Call::connect(self, uid).await?;
        call.send(&Request::Watch).await?;
        loop {
            let (Reply::Changed, _) = call.receive().await? else { continue };
            self.inner.refresh(uid);
            self.wake(uid);
        }
    }
}

/// An answer that does not fit its question.
pub(super) fn unexpected(uid: &str, reply: &Reply) -> RuntimeError {
    keeper_error(uid, format!("unexpected answer {reply:?}"))
}

/// The container of an answer.
pub(super) fn container(uid: &str, reply: Reply) -> Result<ContainerState, RuntimeError> {
    match reply {
        Reply::Container(state) => Ok(state),
        other => Err(unexpected(uid, &other)),
    }
}
