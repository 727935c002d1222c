//! The keeper's one loop: poll(2) over children, agents, logs and terminals.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        signalfd::{SfdFlags, SignalFd},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::{ForkResult, fork},
};

use super::{
    clock,
    containers::Running,
    execs::RunningExec,
    pod::{self, Shared},
    record::{PodRecord, StateRecord},
    streams::Dial,
    wire::{self, Failed, Inbox, Reply, Request},
};
use crate::container::cgroup::Hierarchies;

/// Everything a keeper holds.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) folder: PathBuf,
    pub(crate) pod: PodRecord,
    pub(crate) state: StateRecord,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) shared: Shared,
    pub(crate) clients: Vec<Client>,
    pub(crate) running: Vec<Running>,
    pub(crate) execs: Vec<RunningExec>,
    pub(crate) dials: Vec<Dial>,
    pub(crate) execs_made: u64,
    /// Who asked for the pod's end.
    stopping: Vec<u64>,
    clients_made: u64,
}

/// A connection of an agent.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) key: u64,
    socket: UnixStream,
    inbox: Inbox,
    watches: bool,
    gone: bool,
}

/// What a descriptor that poll(2) reports on is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    Signals,
    Listener,
    Client(u64),
    /// The pipe that tells whether a container's program runs; by process.
    Status(i32),
    Stdout(i32),
    Stderr(i32),
    Terminal(i32),
    Stdin(i32),
    /// Input of the attached client at this position.
    Attached(i32, usize),
    ExecStatus(i32),
    ExecTerminal(i32),
    ExecSocket(i32),
    Dial(u64),
}

/// Refuses a request.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Failed, pub(crate) String);

/// Runs the keeper of the pod in `folder`, to its end.
pub(crate) fn run(folder: &Path) -> io::Result<()> {
    let (listener, lock) = inherited()?;
    // SAFETY: one thread, no locks held; parent and child go separate ways at once.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => return Ok(()),
        ForkResult::Child => {}
    }
    let signals = settle()?;
    let (keeper, failure) = match set_up(folder, lock) {
        Ok(keeper) => (Some(keeper), None),
        Err(error) => (None, Some(error)),
    };
    match (keeper, failure) {
        (Some(mut keeper), _) => keeper.serve(&listener, &signals),
        (None, Some(error)) => {
            refuse_first(&listener, &error)?;
            Err(error)
        }
        (None, None) => Ok(()),
    }
}

/// The listening socket came as standard input, the lock as standard output: both move away from
/// where children would find them.
fn inherited() -> io::Result<(UnixListener, OwnedFd)> {
    use nix::fcntl::{FcntlArg, fcntl};
    let [listener, lock] = [0, 1].map(|fd| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3)));
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2(null.as_raw_fd(), 0)?;
    nix::unistd::dup2(null.as_raw_fd(), 1)?;
    // SAFETY: fcntl just gave us these descriptors, and nobody else knows them.
    let (listener, lock) =
        unsafe { (UnixListener::from_raw_fd(listener?), OwnedFd::from_raw_fd(lock?)) };
    listener.set_nonblocking(true)?;
    Ok((listener, lock))
}

/// Own session, deaf to terminals and service managers, parent of all orphans below.
fn settle() -> io::Result<SignalFd> {
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGQUIT]
    {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { sigaction(signal, &ignore) }?;
    }
    // SAFETY: these set properties of this process; the name is a string that ends with NUL.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        // No process of a shared pid namespace may look into the keeper or its children before
        // they become the container's own (CVE-2016-9962).
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"stead-keeper".as_ptr(), 0, 0, 0);
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    Ok(SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn set_up(folder: &Path, lock: OwnedFd) -> io::Result<Keeper> {
    let pod = PodRecord::load(folder)?;
    let hierarchies = Hierarchies::discover()?;
    hierarchies.create(&pod.keeper_cgroup)?;
    hierarchies.join(&pod.keeper_cgroup)?;
    crate::container::launch::adjust_oom_score(Some(-998));
    hierarchies.create(&pod.cgroup)?;
    hierarchies.limit(&pod.cgroup, &pod.config.resources)?;
    let shared = pod::make(folder, &pod, lock)?;
    Ok(Keeper {
        folder: folder.to_path_buf(),
        state: StateRecord::load(folder)?,
        pod,
        hierarchies,
        shared,
        clients: Vec::new(),
        running: Vec::new(),
        execs: Vec::new(),
        dials: Vec::new(),
        execs_made: 0,
        stopping: Vec::new(),
        clients_made: 0,
    })
}

/// Tells the agent, which is waiting for it, why there is no keeper.
fn refuse_first(listener: &UnixListener, error: &io::Error) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let (socket, _) = listener.accept()?;
    let reply = wire::frame(&Reply::Failed { kind: Failed::Sandbox, text: error.to_string() })?;
    wire::send(socket.as_raw_fd(), &reply, &[]).map(drop)
}

impl Keeper {
    fn serve(&mut self, listener: &UnixListener, signals: &SignalFd) -> io::Result<()> {
        let mut polled: Vec<libc::pollfd> = Vec::new();
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            polled.clear();
            tokens.clear();
            let mut watch = |fd: RawFd, events: i16, token: Token| {
                polled.push(libc::pollfd { fd, events, revents: 0 });
                tokens.push(token);
            };
            watch(signals.as_raw_fd(), libc::POLLIN, Token::Signals);
            watch(listener.as_raw_fd(), libc::POLLIN, Token::Listener);
            for client in &self.clients {
                watch(client.socket.as_raw_fd(), libc::POLLIN, Token::Client(client.key));
            }
            self.watch_containers(&mut watch);
            self.watch_execs(&mut watch);
            self.watch_dials(&mut watch);
            let count = libc::nfds_t::try_from(polled.len()).unwrap_or(0);
            // SAFETY: the pointer and count are of a live vector that nobody else touches.
            if unsafe { libc::poll(polled.as_mut_ptr(), count, self.patience_ms()) } < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
                continue;
            }
            for (entry, token) in polled.iter().zip(&tokens) {
                if entry.revents != 0 {
                    self.turn(*token, listener, signals)?;
                }
            }
            self.kill_overdue();
            self.drop_gone();
            if !self.stopping.is_empty() && self.running.is_empty() {
                return self.end();
            }
        }
    }

    fn turn(
        &mut self,
        token: Token,
        listener: &UnixListener,
        signals: &SignalFd,
    ) -> io::Result<()> {
        match token {
            Token::Signals => {
                while signals.read_signal()?.is_some() {}
                self.reap();
            }
            Token::Listener => self.accept(listener),
            Token::Client(key) => self.hear(key),
            Token::Status(pid) => self.hear_status(pid),
            Token::Stdout(pid) => self.read_output(pid, super::log::Stream::Stdout),
            Token::Stderr(pid) => self.read_output(pid, super::log::Stream::Stderr),
            Token::Terminal(pid) => self.read_terminal(pid),
            Token::Stdin(pid) => self.feed_stdin(pid),
            Token::Attached(pid, position) => self.hear_attached(pid, position),
            Token::ExecStatus(pid) => self.hear_exec_status(pid),
            Token::ExecTerminal(pid) | Token::ExecSocket(pid) => self.relay_exec(pid),
            Token::Dial(key) => self.finish_dial(key),
        }
        Ok(())
    }

    /// Until the next kill that is due; for ever when there is none.
    fn patience_ms(&self) -> i32 {
        let next = self.running.iter().filter_map(|container| container.kill_at_ms).min();
        next.map_or(-1, |at| {
            i32::try_from(at.saturating_sub(clock::steady_ms())).unwrap_or(i32::MAX)
        })
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((socket, _)) = listener.accept() {
            let own = nix::unistd::geteuid().as_raw();
            if !getsockopt(&socket, PeerCredentials).is_ok_and(|peer| peer.uid() == own) {
                continue;
            }
            self.clients_made += 1;
            self.clients.push(Client {
                key: self.clients_made,
                socket,
                inbox: Inbox::default(),
                watches: false,
                gone: false,
            });
        }
    }

    fn hear(&mut self, key: u64) {
        loop {
            let Some(client) = self.clients.iter_mut().find(|client| client.key == key) else {
                return;
            };
            match client.inbox.next::<Request>() {
                Ok(Some(request)) => {
                    if let Err(Refusal(kind, text)) = self.answer(key, request) {
                        self.reply(key, &Reply::Failed { kind, text }, &[]);
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    super::tell(&format!("an agent spoke nonsense: {error}"));
                    client.gone = true;
                    return;
                }
            }
            match client.inbox.receive(client.socket.as_raw_fd()) {
                Ok(true) => {}
                Ok(false) => {
                    client.gone = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    client.gone = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, key: u64, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Hello { version: _ } => {
                let net = self.shared.net.as_ref().map(AsRawFd::as_raw_fd);
                let hello = Reply::Hello { version: wire::VERSION, pid: std::process::id() };
                self.reply(key, &hello, net.as_slice());
                Ok(())
            }
            Request::Watch => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.key == key) {
                    client.watches = true;
                }
                self.reply(key, &Reply::Changed, &[]);
                Ok(())
            }
            Request::Start(start) => self.start(key, start),
            Request::Stop { id, signal, grace_ms } => self.stop(key, &id, signal, grace_ms),
            Request::Exec { id, command, tty, stdin, stdout, stderr } => {
                self.exec(key, &id, &command, tty, [stdin, stdout, stderr])
            }
            Request::Attach { id } => self.attach(key, &id),
            Request::Resize { id, exec, columns, rows } => {
                self.resize(key, &id, exec.as_deref(), columns, rows)
            }
            Request::Dial { port } => self.dial(key, port),
            Request::Remove { id } => self.remove(key, &id),
            Request::StopPod => {
                self.stopping.push(key);
                self.kill_all();
                Ok(())
            }
        }
    }

    /// Sends an answer; a client that does not take it is dropped.
    pub(crate) fn reply(&mut self, key: u64, reply: &Reply, descriptors: &[RawFd]) {
        let Some(client) = self.clients.iter_mut().find(|client| client.key == key) else { return };
        let sent = wire::frame(reply).and_then(|bytes| {
            Ok(wire::send(client.socket.as_raw_fd(), &bytes, descriptors)? == bytes.len())
        });
        if !matches!(sent, Ok(true)) {
            client.gone = true;
        }
    }

    /// Puts the state on disk, then wakes the watchers.
    ///
    /// A disk that refuses is told once each time; the truth stays in memory and is tried again at
    /// the next change.
    pub(crate) fn changed(&mut self) {
        if let Err(error) = self.state.save(&self.folder) {
            super::tell(&format!("state is not saved: {error}"));
        }
        let Ok(bytes) = wire::frame(&Reply::Changed) else { return };
        for client in self.clients.iter_mut().filter(|client| client.watches) {
            match wire::send(client.socket.as_raw_fd(), &bytes, &[]) {
                // A watcher that is behind has wake-ups waiting already; one more says nothing new.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(sent) if sent == bytes.len() => {}
                _ => client.gone = true,
            }
        }
    }

    fn drop_gone(&mut self) {
        if self.clients.iter().all(|client| !client.gone) {
            return;
        }
        for client in &self.clients {
            if client.gone {
                // Nobody waits for these programs any more.
                for exec in self.execs.iter().filter(|exec| exec.client == client.key) {
                    // SAFETY: signals the exec's own session; no memory is passed.
                    unsafe { libc::kill(-exec.pid, libc::SIGKILL) };
                }
            }
        }
        self.clients.retain(|client| !client.gone);
    }

    fn end(&mut self) -> io::Result<()> {
        self.hierarchies.kill(&self.pod.cgroup);
        self.hierarchies.remove(&self.pod.cgroup).or_else(|error| {
            super::tell(&format!("control group stays: {error}"));
            Ok::<_, io::Error>(())
        })?;
        for key in std::mem::take(&mut self.stopping) {
            self.reply(key, &Reply::Done, &[]);
        }
        Ok(())
    }
}

/// Makes a pipe whose ends close at exec: reading end first.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Makes reads and writes of this end return at once. The other end is not touched.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
