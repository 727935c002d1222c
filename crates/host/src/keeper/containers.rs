//! Containers of this keeper: from the clone to the last word of the log.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

use super::{
    clock, kill,
    log::{Log, Stream},
    pod::clone_into,
    record::container_folder,
    server::{Keeper, Refusal, Token, pipe, set_nonblocking},
    streams::Attached,
    wire::{Failed, Reply, Start},
};
use crate::{
    container::{
        init::{First, become_container},
        launch::{Failure, Stdio},
    },
    runtime::{ContainerPhase, ContainerState},
};

/// Exit code of a container whose program could not be started (kubelet's `StartError`).
const START_ERROR_CODE: i32 = 128;

/// A container with a process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) pid: i32,
    /// While its program is being started: the pipe that tells, what came so far, who waits.
    pub(crate) starting: Option<Starting>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    /// The terminal's master.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdin_once: bool,
    /// Input that the container has not taken yet.
    pub(crate) pending: Vec<u8>,
    pub(crate) log: Log,
    pub(crate) attached: Vec<Attached>,
    pub(crate) kill_at_ms: Option<u64>,
    waiters: Vec<u64>,
    cgroup: String,
}

#[derive(Debug)]
pub(crate) struct Starting {
    status: OwnedFd,
    text: Vec<u8>,
    clients: Vec<u64>,
    /// Where the terminal's master will come from.
    console: Option<OwnedFd>,
}

/// The keeper's and the container's ends of its streams.
struct Ends {
    stdio: Stdio,
    console: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    master: Option<OwnedFd>,
}

fn system(what: &str) -> impl Fn(io::Error) -> Refusal + '_ {
    move |error| Refusal(Failed::System, format!("{what}: {error}"))
}

fn ends(start: &Start) -> io::Result<Ends> {
    let mut ends = Ends {
        stdio: Stdio::default(),
        console: None,
        stdin: None,
        stdout: None,
        stderr: None,
        master: None,
    };
    if start.tty {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ends.master = Some(ours.into());
        ends.console = Some(theirs.into());
        return Ok(ends);
    }
    if start.stdin {
        let (read, write) = pipe()?;
        set_nonblocking(&write)?;
        ends.stdio.stdin = Some(read);
        ends.stdin = Some(write);
    }
    for (theirs, ours) in
        [(&mut ends.stdio.stdout, &mut ends.stdout), (&mut ends.stdio.stderr, &mut ends.stderr)]
    {
        let (read, write) = pipe()?;
        set_nonblocking(&read)?;
        *ours = Some(read);
        *theirs = Some(write);
    }
    Ok(ends)
}

impl Keeper {
    /// Starts a container, or finds the one that has its name and attempt already.
    pub(crate) fn start(&mut self, client: u64, start: Start) -> Result<(), Refusal> {
        let known = self
            .state
            .containers
            .iter()
            .find(|c| c.name == start.name && c.attempt == start.attempt);
        if let Some(known) = known {
            let (id, state) = (known.id.clone(), known.clone());
            match self
                .running
                .iter_mut()
                .find(|container| container.id == id)
                .and_then(|c| c.starting.as_mut())
            {
                Some(starting) => starting.clients.push(client),
                None => self.reply(client, &Reply::Container(state), &[]),
            }
            return Ok(());
        }
        let log_path =
            self.pod.config.log_dir.join(&start.name).join(format!("{}.log", start.attempt));
        let log = Log::open(&log_path).map_err(system("open log"))?;
        self.hierarchies.create(&start.cgroup).map_err(system("make control group"))?;
        self.hierarchies.limit(&start.cgroup, &start.limits).map_err(system("set limits"))?;
        let ends = ends(&start).map_err(system("make pipes"))?;
        let (status, their_status) = pipe().map_err(system("make pipe"))?;
        set_nonblocking(&status).map_err(system("make pipe"))?;
        // The record comes first: a keeper that is killed now leaves a container that is known.
        self.state.containers.push(ContainerState {
            id: start.id.clone(),
            name: start.name.clone(),
            attempt: start.attempt,
            image: start.image,
            image_id: start.image_id,
            annotations: start.annotations,
            created_at: clock::now(),
            phase: ContainerPhase::Created,
        });
        self.changed();
        let pid = match self.clone_first(&start.id, ends.stdio, ends.console, &their_status) {
            Ok(pid) => pid,
            Err(error) => {
                self.state.containers.retain(|container| container.id != start.id);
                self.changed();
                return Err(system("clone")(error));
            }
        };
        self.running.push(Running {
            id: start.id,
            pid,
            starting: Some(Starting {
                status,
                text: Vec::new(),
                clients: vec![client],
                console: ends.master,
            }),
            stdout: ends.stdout,
            stderr: ends.stderr,
            terminal: None,
            stdin: ends.stdin,
            stdin_once: start.stdin_once,
            pending: Vec::new(),
            log,
            attached: Vec::new(),
            kill_at_ms: None,
            waiters: Vec::new(),
            cgroup: start.cgroup,
        });
        Ok(())
    }

    fn clone_first(
        &self,
        id: &str,
        stdio: Stdio,
        console: Option<OwnedFd>,
        status: &OwnedFd,
    ) -> io::Result<i32> {
        let folder = container_folder(&self.folder, id);
        let pid = self.clone_with_pids(self.shared.first_process, !self.pod.config.host_pid)?;
        if pid == 0 {
            let first = First {
                folder: &folder,
                shm: self.shared.shm.as_ref(),
                hierarchies: &self.hierarchies,
                stdio,
                console,
            };
            let failure = become_container(first);
            end_child(status.as_raw_fd(), &failure);
        }
        Ok(pid)
    }

    /// Forks into the pid namespace of process `of`, or a new one, or (when not `own`) none.
    pub(crate) fn clone_with_pids(&self, of: Option<i32>, own: bool) -> io::Result<i32> {
        let Some(of) = of.filter(|_| own) else {
            return clone_into(if own { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() });
        };
        let here = std::fs::File::open("/proc/self/ns/pid")?;
        let there = std::fs::File::open(format!("/proc/{of}/ns/pid"))?;
        setns(&there, CloneFlags::CLONE_NEWPID)?;
        let pid = clone_into(CloneFlags::empty());
        if !matches!(pid, Ok(0)) {
            setns(&here, CloneFlags::CLONE_NEWPID)?;
        }
        pid
    }

    /// Names the descriptors that containers need watched.
    pub(crate) fn watch_containers(&self, watch: &mut impl FnMut(RawFd, i16, Token)) {
        for container in &self.running {
            let pid = container.pid;
            let mut input = |fd: &Option<OwnedFd>, token| {
                if let Some(fd) = fd {
                    watch(fd.as_raw_fd(), libc::POLLIN, token);
                }
            };
            if let Some(starting) = &container.starting {
                watch(starting.status.as_raw_fd(), libc::POLLIN, Token::Status(pid));
                continue;
            }
            input(&container.stdout, Token::Stdout(pid));
            input(&container.stderr, Token::Stderr(pid));
            input(&container.terminal, Token::Terminal(pid));
            if !container.pending.is_empty() {
                let target = container.stdin.as_ref().or(container.terminal.as_ref());
                if let Some(target) = target {
                    watch(target.as_raw_fd(), libc::POLLOUT, Token::Stdin(pid));
                }
                continue;
            }
            for (position, attached) in container.attached.iter().enumerate() {
                if let Some(fd) = attached.input() {
                    watch(fd, libc::POLLIN, Token::Attached(pid, position));
                }
            }
        }
    }

    /// The start's pipe says something, or closes: the program runs.
    pub(crate) fn hear_status(&mut self, pid: i32) {
        let Some(container) = self.running.iter_mut().find(|container| container.pid == pid) else {
            return;
        };
        let Some(starting) = &mut container.starting else { return };
        match read_all(&starting.status, &mut starting.text) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => super::tell(&format!("status of {}: {error}", container.id)),
        }
        let Some(mut starting) = container.starting.take() else { return };
        let id = container.id.clone();
        if let Some(failure) = Failure::from_bytes(&starting.text) {
            self.start_failed(&id, &failure, &starting.clients);
            return;
        }
        if let Some(console) = starting.console.take() {
            match super::streams::receive_master(&console) {
                Ok(master) => container.terminal = Some(master),
                Err(error) => super::tell(&format!("terminal of {id}: {error}")),
            }
        }
        let phase = ContainerPhase::Running { pid: pid.unsigned_abs(), started_at: clock::now() };
        if let Some(state) = self.set_phase(&id, phase) {
            for client in starting.clients {
                self.reply(client, &Reply::Container(state.clone()), &[]);
            }
        }
    }

    fn set_phase(&mut self, id: &str, phase: ContainerPhase) -> Option<ContainerState> {
        let record = self.state.containers.iter_mut().find(|container| container.id == id)?;
        record.phase = phase;
        let state = record.clone();
        self.changed();
        Some(state)
    }

    /// Settings that cannot be carried out leave no record; a program that cannot be started does.
    fn start_failed(&mut self, id: &str, failure: &Failure, clients: &[u64]) {
        let text = failure.of_container();
        let kind = match failure {
            Failure::Create(_) => {
                self.state.containers.retain(|container| container.id != id);
                self.changed();
                Failed::Create
            }
            Failure::Start(_) => {
                let phase = ContainerPhase::Exited {
                    started_at: None,
                    finished_at: clock::now(),
                    exit_code: START_ERROR_CODE,
                    signal: None,
                    oom_killed: false,
                };
                self.set_phase(id, phase);
                Failed::Start
            }
        };
        for client in clients {
            self.reply(*client, &Reply::Failed { kind, text: text.clone() }, &[]);
        }
    }

    /// Collects every child that has ended.
    pub(crate) fn reap(&mut self) {
        loop {
            let (pid, code, signal) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid.as_raw(), 128 + signal as i32, Some(signal as i32))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if self.running.iter().any(|container| container.pid == pid) {
                self.exited(pid, code, signal);
            } else {
                self.exec_exited(pid, code);
            }
        }
    }

    fn exited(&mut self, pid: i32, exit_code: i32, signal: Option<i32>) {
        // It may have run and ended between two looks.
        self.hear_status(pid);
        self.drain_output(pid);
        let Some(position) = self.running.iter().position(|container| container.pid == pid) else {
            return;
        };
        let mut container = self.running.remove(position);
        container.log.finish();
        let oom_killed = exit_code != 0 && self.hierarchies.oom_kills(&container.cgroup) > 0;
        // What shares its pid namespace with others does not end with its first process.
        self.hierarchies.kill(&container.cgroup);
        if let Err(error) = self.hierarchies.remove(&container.cgroup) {
            // Still dying processes keep it; the pod's end removes it.
            tracing::trace!(%error, "control group stays");
        }
        let record = self.state.containers.iter().find(|record| record.id == container.id);
        if let Some(ContainerPhase::Running { started_at, .. }) =
            record.map(|record| record.phase.clone())
        {
            let phase = ContainerPhase::Exited {
                started_at: Some(started_at),
                finished_at: clock::now(),
                exit_code,
                signal,
                oom_killed,
            };
            self.set_phase(&container.id, phase);
        }
        for client in container.waiters {
            self.reply(client, &Reply::Done, &[]);
        }
    }

    /// Asks a container to end, and kills it when its grace is over.
    pub(crate) fn stop(
        &mut self,
        client: u64,
        id: &str,
        signal: i32,
        grace_ms: u64,
    ) -> Result<(), Refusal> {
        if !self.state.containers.iter().any(|container| container.id == id) {
            return Err(Refusal(Failed::NoContainer, id.to_owned()));
        }
        let Some(container) = self.running.iter_mut().find(|container| container.id == id) else {
            self.reply(client, &Reply::Done, &[]);
            return Ok(());
        };
        container.waiters.push(client);
        let at = clock::steady_ms().saturating_add(grace_ms);
        container.kill_at_ms = Some(container.kill_at_ms.map_or(at, |earlier| earlier.min(at)));
        if grace_ms > 0 {
            kill(container.pid, signal);
        }
        Ok(())
    }

    /// Kills what has outlived its grace.
    pub(crate) fn kill_overdue(&mut self) {
        let now = clock::steady_ms();
        for container in &mut self.running {
            if container.kill_at_ms.is_some_and(|at| at <= now) {
                container.kill_at_ms = None;
                kill(container.pid, libc::SIGKILL);
            }
        }
    }

    /// Kills every container; their ends are recorded as they come.
    pub(crate) fn kill_all(&mut self) {
        for container in &mut self.running {
            kill(container.pid, libc::SIGKILL);
        }
        self.hierarchies.kill(&self.pod.cgroup);
    }

    /// Forgets an exited container; its folder is the agent's to remove.
    pub(crate) fn remove(&mut self, client: u64, id: &str) -> Result<(), Refusal> {
        if self.running.iter().any(|container| container.id == id) {
            return Err(Refusal(Failed::System, format!("container {id} is running")));
        }
        self.state.containers.retain(|container| container.id != id);
        self.changed();
        self.reply(client, &Reply::Done, &[]);
        Ok(())
    }

    /// Reads what is left in the pipes of a container that has ended.
    fn drain_output(&mut self, pid: i32) {
        const ROUNDS_MAX: u32 = 256; // 4 MiB: more than any pipe holds
        for _ in 0..ROUNDS_MAX {
            let Some(container) = self.running.iter().find(|container| container.pid == pid) else {
                return;
            };
            let ends = [&container.stdout, &container.stderr, &container.terminal];
            let readable = |end: &Option<OwnedFd>| end.as_ref().is_some_and(has_input);
            let [stdout, stderr, terminal] = ends.map(readable);
            if stdout {
                self.read_output(pid, Stream::Stdout);
            }
            if stderr {
                self.read_output(pid, Stream::Stderr);
            }
            if terminal {
                self.read_terminal(pid);
            }
            if !stdout && !stderr && !terminal {
                return;
            }
        }
    }
}

fn has_input(fd: &OwnedFd) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 1 && entry.revents & libc::POLLIN != 0 }
}

/// Reads what is there; true at the end of the pipe.
pub(crate) fn read_all(fd: &OwnedFd, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 1024];
    loop {
        match nix::unistd::read(fd.as_raw_fd(), &mut chunk) {
            Ok(0) => return Ok(true),
            Ok(length) => text.extend_from_slice(&chunk[..length]),
            Err(nix::Error::EAGAIN) => return Ok(false),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A child that could not become what it should says why, and ends without running the parent's code.
pub(crate) fn end_child(status: RawFd, failure: &Failure) -> ! {
    let bytes = failure.to_bytes();
    // SAFETY: writes a live buffer to a descriptor; then ends the process without destructors,
    // which belong to the parent.
    unsafe {
        libc::write(status, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(1)
    }
}
