//! Bytes between containers, their logs and attached clients; connections into the pod.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::sys::socket::{SockaddrIn, SockaddrIn6, connect};

use super::{
    log::Stream,
    server::{Keeper, Refusal, Token, pipe, set_nonblocking},
    wire::{self, Failed, Inbox, Reply},
};
use crate::runtime::ContainerPhase;

/// Read at once from a container.
const CHUNK_BYTES: usize = 16 * 1024;
/// What an attached client may lag behind; one that lags more is let go, the container is not held up.
const LAG_MAX_BYTES: libc::c_int = 1024 * 1024;

/// One attached client: the ends that we hold.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Both ways, instead of the three.
    terminal: Option<OwnedFd>,
}

impl Attached {
    /// Where its input comes from, while it is open.
    pub(crate) fn input(&self) -> Option<RawFd> {
        self.stdin.as_ref().or(self.terminal.as_ref()).map(AsRawFd::as_raw_fd)
    }

    fn is_over(&self) -> bool {
        self.stdout.is_none()
            && self.stderr.is_none()
            && self.terminal.is_none()
            && self.stdin.is_none()
    }

    /// Hands output on; a stream whose client does not keep up is closed.
    fn output(&mut self, stream: Option<Stream>, bytes: &[u8]) {
        let end = match stream {
            Some(Stream::Stdout) => &mut self.stdout,
            Some(Stream::Stderr) => &mut self.stderr,
            None => &mut self.terminal,
        };
        let written = end.as_ref().map(|fd| nix::unistd::write(fd, bytes));
        if written.is_some_and(|result| result != Ok(bytes.len())) {
            *end = None;
        }
    }
}

/// A connection that is being made inside the pod's network.
#[derive(Debug)]
pub(crate) struct Dial {
    client: u64,
    port: u16,
    socket: OwnedFd,
    /// The other loopback address is still to be tried.
    v6_next: bool,
}

impl Keeper {
    fn read_some(fd: Option<&OwnedFd>, chunk: &mut [u8]) -> Option<usize> {
        match nix::unistd::read(fd?.as_raw_fd(), chunk) {
            Ok(length) => Some(length),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => None,
            // A terminal whose last user has gone says EIO.
            Err(_) => Some(0),
        }
    }

    /// Takes what a container wrote to a pipe.
    pub(crate) fn read_output(&mut self, pid: i32, stream: Stream) {
        let Some(container) = self.running.iter_mut().find(|container| container.pid == pid) else {
            return;
        };
        let end =
            if stream == Stream::Stdout { &mut container.stdout } else { &mut container.stderr };
        let mut chunk = [0; CHUNK_BYTES];
        match Self::read_some(end.as_ref(), &mut chunk) {
            None => {}
            Some(0) => *end = None,
            Some(length) => {
                container.log.write(stream, &chunk[..length]);
                for attached in &mut container.attached {
                    attached.output(Some(stream), &chunk[..length]);
                }
                container.attached.retain(|attached| !attached.is_over());
            }
        }
    }

    /// Takes what a container wrote to its terminal.
    pub(crate) fn read_terminal(&mut self, pid: i32) {
        let Some(container) = self.running.iter_mut().find(|container| container.pid == pid) else {
            return;
        };
        let mut chunk = [0; CHUNK_BYTES];
        match Self::read_some(container.terminal.as_ref(), &mut chunk) {
            None => {}
            Some(0) => container.terminal = None,
            Some(length) => {
                container.log.write(Stream::Stdout, &chunk[..length]);
                for attached in &mut container.attached {
                    attached.output(None, &chunk[..length]);
                }
                container.attached.retain(|attached| !attached.is_over());
            }
        }
    }

    /// Takes input of an attached client.
    pub(crate) fn hear_attached(&mut self, pid: i32, position: usize) {
        let Some(container) = self.running.iter_mut().find(|container| container.pid == pid) else {
            return;
        };
        let Some(attached) = container.attached.get_mut(position) else { return };
        if !container.pending.is_empty() {
            return;
        }
        let mut chunk = [0; 4096];
        match Self::read_some(attached.stdin.as_ref().or(attached.terminal.as_ref()), &mut chunk) {
            None => return,
            Some(0) => {
                let had_stdin = attached.stdin.take().is_some();
                attached.terminal = None;
                if had_stdin && container.stdin_once {
                    container.stdin = None;
                }
                container.attached.retain(|attached| !attached.is_over());
                return;
            }
            Some(length) => container.pending.extend_from_slice(&chunk[..length]),
        }
        self.feed_stdin(pid);
    }

    /// Gives a container the input that waits for it.
    pub(crate) fn feed_stdin(&mut self, pid: i32) {
        let Some(container) = self.running.iter_mut().find(|container| container.pid == pid) else {
            return;
        };
        let Some(target) = container.stdin.as_ref().or(container.terminal.as_ref()) else {
            container.pending = Vec::new();
            return;
        };
        match nix::unistd::write(target, &container.pending) {
            Ok(length) => drop(container.pending.drain(..length)),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(_) => {
                container.stdin = None;
                container.pending.clear();
            }
        }
        if container.pending.is_empty() {
            container.pending = Vec::new();
        }
    }

    /// Connects a client to a running container's own streams.
    pub(crate) fn attach(&mut self, client: u64, id: &str) -> Result<(), Refusal> {
        let record = self.state.containers.iter().find(|container| container.id == id);
        let Some(record) = record else { return Err(Refusal(Failed::NoContainer, id.to_owned())) };
        let up = matches!(record.phase, ContainerPhase::Running { .. });
        let container = self.running.iter_mut().find(|container| container.id == id).filter(|_| up);
        let Some(container) = container else {
            return Err(Refusal(Failed::NotRunning, id.to_owned()));
        };
        let failed = |error: io::Error| Refusal(Failed::System, format!("attach: {error}"));
        let mut attached = Attached::default();
        let mut give = Vec::new();
        if container.terminal.is_some() {
            let (ours, theirs) = terminal_pair().map_err(failed)?;
            attached.terminal = Some(ours);
            give.push((wire::Stream::Terminal, theirs));
        } else {
            if container.stdin.is_some() {
                let (ours, theirs) = pipe().map_err(failed)?;
                set_nonblocking(&ours).map_err(failed)?;
                attached.stdin = Some(ours);
                give.push((wire::Stream::Stdin, theirs));
            }
            for (stream, end) in [
                (wire::Stream::Stdout, &mut attached.stdout),
                (wire::Stream::Stderr, &mut attached.stderr),
            ] {
                let (theirs, ours) = pipe().map_err(failed)?;
                set_nonblocking(&ours).map_err(failed)?;
                // SAFETY: sets the size of a pipe; no memory is passed. Without it the lag is 64 KiB.
                unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETPIPE_SZ, LAG_MAX_BYTES) };
                *end = Some(ours);
                give.push((stream, theirs));
            }
        }
        container.attached.push(attached);
        let streams = give.iter().map(|(stream, _)| *stream).collect();
        let descriptors: Vec<_> = give.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        self.reply(client, &Reply::Attached { streams }, &descriptors);
        Ok(())
    }

    /// Sets the size of a terminal.
    pub(crate) fn resize(
        &mut self,
        client: u64,
        id: &str,
        exec: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> Result<(), Refusal> {
        let terminal = match exec {
            Some(exec) => self
                .execs
                .iter()
                .find(|known| known.id == exec)
                .and_then(super::execs::RunningExec::master),
            None => self
                .running
                .iter()
                .find(|known| known.id == id)
                .and_then(|known| known.terminal.as_ref()),
        };
        let Some(terminal) = terminal else {
            return Err(Refusal(Failed::NotRunning, exec.unwrap_or(id).to_owned()));
        };
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, `size` is a live value of the type that this call takes.
        if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } != 0 {
            let error = io::Error::last_os_error();
            return Err(Refusal(Failed::System, format!("resize: {error}")));
        }
        self.reply(client, &Reply::Done, &[]);
        Ok(())
    }

    /// Begins a TCP connection to a port of the pod's loopback: IPv4, then IPv6.
    pub(crate) fn dial(&mut self, client: u64, port: u16) -> Result<(), Refusal> {
        let v4 = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let socket = begin(v4).or_else(|error| {
            if error.raw_os_error() == Some(libc::ECONNREFUSED) {
                begin(v6(port))
            } else {
                Err(error)
            }
        });
        let socket = socket.map_err(|error| refused(&error))?;
        self.dials.push(Dial { client, port, socket, v6_next: true });
        self.finish_dial(client);
        Ok(())
    }

    /// Names the connections that are being made.
    pub(crate) fn watch_dials(&self, watch: &mut impl FnMut(RawFd, i16, Token)) {
        for dial in &self.dials {
            watch(dial.socket.as_raw_fd(), libc::POLLOUT, Token::Dial(dial.client));
        }
    }

    /// Looks whether a connection is made, and hands it over.
    pub(crate) fn finish_dial(&mut self, client: u64) {
        let Some(position) = self.dials.iter().position(|dial| dial.client == client) else {
            return;
        };
        let dial = &mut self.dials[position];
        let mut entry =
            libc::pollfd { fd: dial.socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one live entry.
        if unsafe { libc::poll(&raw mut entry, 1, 0) } == 0 {
            return;
        }
        let error = match nix::sys::socket::getsockopt(
            &dial.socket,
            nix::sys::socket::sockopt::SocketError,
        ) {
            Ok(0) => None,
            Ok(code) => Some(io::Error::from_raw_os_error(code)),
            Err(error) => Some(error.into()),
        };
        if error.is_some() && dial.v6_next {
            dial.v6_next = false;
            if let Ok(socket) = begin(v6(dial.port)) {
                dial.socket = socket;
                return;
            }
        }
        let dial = self.dials.remove(position);
        match error {
            None => self.reply(client, &Reply::Done, &[dial.socket.as_raw_fd()]),
            Some(error) => {
                let Refusal(kind, text) = refused(&error);
                self.reply(client, &Reply::Failed { kind, text }, &[]);
            }
        }
    }
}

fn v6(port: u16) -> SocketAddr {
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0))
}

fn refused(error: &io::Error) -> Refusal {
    Refusal(Failed::Dial, error.raw_os_error().unwrap_or(libc::EIO).to_string())
}

fn begin(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain system call; the result is checked.
    let fd = unsafe {
        libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let result = match to {
        SocketAddr::V4(to) => connect(fd, &SockaddrIn::from(to)),
        SocketAddr::V6(to) => connect(fd, &SockaddrIn6::from(to)),
    };
    match result {
        Ok(()) | Err(nix::Error::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// A socket pair that stands for a terminal: our end, theirs.
pub(crate) fn terminal_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), theirs.into()))
}

/// The terminal's master, which the container has sent before its program ran.
pub(crate) fn receive_master(console: &OwnedFd) -> io::Result<OwnedFd> {
    let mut inbox = Inbox::default();
    inbox.receive(console.as_raw_fd())?;
    let master = inbox
        .take_descriptors()
        .pop()
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    set_nonblocking(&master)?;
    Ok(master)
}
