//! Later programs in containers: exec, probes, hooks.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use super::{
    containers::{end_child, read_all},
    record::container_folder,
    server::{Keeper, Refusal, Token, pipe, set_nonblocking},
    streams::{receive_master, terminal_pair},
    wire::{Failed, Reply, Stream},
};
use crate::{
    container::{
        enter::{Later, enter_container},
        launch::{Failure, Stdio},
    },
    runtime::ContainerPhase,
};

/// A program that runs for a client.
#[derive(Debug)]
pub(crate) struct RunningExec {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) client: u64,
    starting: Option<Starting>,
    terminal: Option<Terminal>,
    /// It has ended; its last words are still on their way.
    ended: Option<i32>,
}

#[derive(Debug)]
struct Starting {
    status: OwnedFd,
    text: Vec<u8>,
    give: Vec<(Stream, OwnedFd)>,
    console: Option<OwnedFd>,
    failed: bool,
}

/// A terminal between its master and the client's socket.
#[derive(Debug)]
struct Terminal {
    master: OwnedFd,
    socket: OwnedFd,
    to_master: Vec<u8>,
    to_socket: Vec<u8>,
}

impl RunningExec {
    /// Its terminal.
    pub(crate) fn master(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().map(|terminal| &terminal.master)
    }
}

/// Moves bytes one way; false when either end is gone.
fn relay(from: &OwnedFd, to: &OwnedFd, pending: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    loop {
        while !pending.is_empty() {
            match nix::unistd::write(to, pending) {
                Ok(length) => drop(pending.drain(..length)),
                Err(nix::Error::EAGAIN) => return true,
                Err(nix::Error::EINTR) => {}
                Err(_) => return false,
            }
        }
        match nix::unistd::read(from.as_raw_fd(), &mut chunk) {
            Ok(0) => return false,
            Ok(length) => pending.extend_from_slice(&chunk[..length]),
            Err(nix::Error::EAGAIN) => return true,
            Err(nix::Error::EINTR) => {}
            // A terminal whose last user has gone says EIO.
            Err(_) => return false,
        }
    }
}

impl Keeper {
    /// Starts a program in a running container; `streams` says which of stdin, stdout and stderr
    /// are wanted.
    pub(crate) fn exec(
        &mut self,
        client: u64,
        id: &str,
        command: &[String],
        tty: bool,
        streams: [bool; 3],
    ) -> Result<(), Refusal> {
        let record = self.state.containers.iter().find(|container| container.id == id);
        let Some(record) = record else { return Err(Refusal(Failed::NoContainer, id.to_owned())) };
        let ContainerPhase::Running { pid: first, .. } = record.phase else {
            return Err(Refusal(Failed::NotRunning, id.to_owned()));
        };
        if command.is_empty() {
            return Err(Refusal(Failed::Start, "exec: no command".to_owned()));
        }
        let failed = |error: io::Error| Refusal(Failed::System, format!("exec: {error}"));
        let (status, their_status) = pipe().map_err(failed)?;
        set_nonblocking(&status).map_err(failed)?;
        let mut stdio = Stdio::default();
        let mut give = Vec::new();
        let (mut console, mut their_console) = (None, None);
        if tty {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
            (console, their_console) = (Some(ours.into()), Some(theirs.into()));
        } else {
            let [stdin, stdout, stderr] = streams;
            if stdin {
                let (read, write) = pipe().map_err(failed)?;
                stdio.stdin = Some(read);
                give.push((Stream::Stdin, write));
            }
            for (wanted, stream, end) in [
                (stdout, Stream::Stdout, &mut stdio.stdout),
                (stderr, Stream::Stderr, &mut stdio.stderr),
            ] {
                if wanted {
                    let (read, write) = pipe().map_err(failed)?;
                    *end = Some(write);
                    give.push((stream, read));
                }
            }
        }
        let first = first.cast_signed();
        let pid = self
            .clone_later(id, first, command, stdio, their_console, &their_status)
            .map_err(failed)?;
        self.execs_made += 1;
        self.execs.push(RunningExec {
            id: format!("{:016x}", self.execs_made),
            pid,
            client,
            starting: Some(Starting { status, text: Vec::new(), give, console, failed: false }),
            terminal: None,
            ended: None,
        });
        Ok(())
    }

    fn clone_later(
        &self,
        id: &str,
        first: i32,
        args: &[String],
        stdio: Stdio,
        console: Option<OwnedFd>,
        status: &OwnedFd,
    ) -> io::Result<i32> {
        let own = !self.pod.config.host_pid;
        let pid = self.clone_with_pids(own.then_some(first), own)?;
        if pid == 0 {
            let folder = container_folder(&self.folder, id);
            let later = Later {
                folder: &folder,
                pid: first,
                hierarchies: &self.hierarchies,
                args,
                stdio,
                console,
            };
            let failure = enter_container(later);
            end_child(status.as_raw_fd(), &failure);
        }
        Ok(pid)
    }

    /// Names the descriptors that execs need watched.
    pub(crate) fn watch_execs(&self, watch: &mut impl FnMut(RawFd, i16, Token)) {
        for exec in &self.execs {
            if let Some(starting) = exec.starting.as_ref().filter(|starting| !starting.failed) {
                watch(starting.status.as_raw_fd(), libc::POLLIN, Token::ExecStatus(exec.pid));
            }
            if let Some(terminal) = &exec.terminal {
                let events = |to: &[u8], from: &[u8]| {
                    (if from.is_empty() { libc::POLLIN } else { 0 })
                        | (if to.is_empty() { 0 } else { libc::POLLOUT })
                };
                let (master, socket) = (&terminal.to_master, &terminal.to_socket);
                watch(
                    terminal.master.as_raw_fd(),
                    events(master, socket),
                    Token::ExecTerminal(exec.pid),
                );
                watch(
                    terminal.socket.as_raw_fd(),
                    events(socket, master),
                    Token::ExecSocket(exec.pid),
                );
            }
        }
    }

    /// The start's pipe says something, or closes: the program runs.
    pub(crate) fn hear_exec_status(&mut self, pid: i32) {
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) else { return };
        let Some(starting) = &mut exec.starting else { return };
        match read_all(&starting.status, &mut starting.text) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => super::tell(&format!("status of exec {}: {error}", exec.id)),
        }
        let (client, id) = (exec.client, exec.id.clone());
        if let Some(failure) = Failure::from_bytes(&starting.text) {
            // It stays until it is reaped.
            starting.failed = true;
            self.reply(
                client,
                &Reply::Failed { kind: Failed::Start, text: failure.of_exec(&id) },
                &[],
            );
            return;
        }
        let Some(mut starting) = exec.starting.take() else { return };
        if let Some(console) = starting.console.take() {
            let made = receive_master(&console).and_then(|master| Ok((master, terminal_pair()?)));
            match made {
                Ok((master, (socket, theirs))) => {
                    exec.terminal = Some(Terminal {
                        master,
                        socket,
                        to_master: Vec::new(),
                        to_socket: Vec::new(),
                    });
                    starting.give.push((Stream::Terminal, theirs));
                }
                Err(error) => super::tell(&format!("terminal of exec {id}: {error}")),
            }
        }
        let streams = starting.give.iter().map(|(stream, _)| *stream).collect();
        let descriptors: Vec<_> = starting.give.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        self.reply(client, &Reply::Exec { id, streams }, &descriptors);
    }

    /// Moves bytes between an exec's terminal and its client.
    pub(crate) fn relay_exec(&mut self, pid: i32) {
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) else { return };
        let Some(terminal) = &mut exec.terminal else { return };
        let open = relay(&terminal.master, &terminal.socket, &mut terminal.to_socket)
            && relay(&terminal.socket, &terminal.master, &mut terminal.to_master);
        let over = exec.ended.is_some() && terminal.to_socket.is_empty();
        if !open || over {
            // Closing the master hangs the program's terminal up.
            exec.terminal = None;
        }
        if exec.ended.is_some() && exec.terminal.is_none() {
            self.finish_exec(pid);
        }
    }

    /// A child that is no container's first process has ended.
    pub(crate) fn exec_exited(&mut self, pid: i32, code: i32) {
        self.hear_exec_status(pid);
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) else { return };
        exec.ended = Some(code);
        if exec.terminal.is_some() {
            self.relay_exec(pid);
        } else {
            self.finish_exec(pid);
        }
    }

    fn finish_exec(&mut self, pid: i32) {
        let Some(position) = self.execs.iter().position(|exec| exec.pid == pid) else { return };
        let exec = self.execs.remove(position);
        if let (None, Some(code)) = (&exec.starting, exec.ended) {
            self.reply(exec.client, &Reply::Exited { code }, &[]);
        }
    }
}
