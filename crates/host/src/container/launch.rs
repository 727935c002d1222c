//! The last steps before a program runs, the same for a container's first and for later ones.

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        stat::{Mode, umask},
    },
    unistd::{Gid, Uid},
};

use super::{capability, plan::Plan, seccomp, user::User};

/// Why a program did not start; travels through a pipe to the keeper.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The container's settings cannot be carried out.
    Create(String),
    /// The program cannot be started.
    Start(String),
}

impl Failure {
    /// A step and what the system said to it.
    pub(crate) fn create(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Create(format!("{what}: {error}"))
    }

    /// Runc's words for a program that cannot be started.
    pub(crate) fn start(reason: &str) -> Self {
        Self::Start(reason.to_owned())
    }

    /// The reason in the words in which containerd passes a failed start of a container on.
    pub(crate) fn of_container(&self) -> String {
        let (Self::Create(reason) | Self::Start(reason)) = self;
        format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: {reason}: unknown"
        )
    }

    /// The reason in the words in which containerd passes a failed exec on.
    pub(crate) fn of_exec(&self, exec: &str) -> String {
        let (Self::Create(reason) | Self::Start(reason)) = self;
        format!(
            "failed to exec in container: failed to start exec {exec:?}: OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown"
        )
    }

    /// The pipe's words: one letter for the kind, then the text.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Create(text) => (b'C', text),
            Self::Start(text) => (b'S', text),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// The other way; `None` when the pipe closed silently: the program runs.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, text) = bytes.split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(if *kind == b'C' { Self::Create(text) } else { Self::Start(text) })
    }
}

/// Ends of pipes for the program's descriptors 0, 1 and 2; absent ones become `/dev/null`.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl Stdio {
    /// Puts them in place. Their owner becomes `user`, who may then open `/dev/stdout` by name.
    pub(crate) fn install(&self, user: &User) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::create("set up standard streams", &error);
        let null =
            fs::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
        let null = OwnedFd::from(null);
        for (target, end) in [(0, &self.stdin), (1, &self.stdout), (2, &self.stderr)] {
            let source = end.as_ref().unwrap_or(&null).as_raw_fd();
            nix::unistd::dup2(source, target).map_err(|error| failed(error.into()))?;
            if end.is_some() {
                // SAFETY: descriptor `target` was opened by dup2 above.
                let fd = unsafe { BorrowedFd::borrow_raw(target) };
                std::os::unix::fs::fchown(fd, Some(user.uid), None).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Gives every signal its default action and unblocks all: a keeper ignores some.
pub(crate) fn reset_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // SAFETY: the default action runs no code of ours. KILL and STOP refuse, which is right.
        if unsafe { sigaction(signal, &default) }.is_err() {
            continue;
        }
    }
    if SigSet::all().thread_unblock().is_err() {
        tracing::trace!("signals stay blocked");
    }
}

/// Ends this process when its keeper ends: the kernel keeps the promise of at most one.
///
/// A change of user takes it back, so it is asked for at the start and again before the exec.
pub(crate) fn die_with_keeper() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(libc::SIGKILL.unsigned_abs()))
}

/// Sets how readily the kernel kills this process, 0 where nothing is wished: the keeper's own
/// value is not for its children. Lowering may not be allowed: then it stays as it is.
pub(crate) fn adjust_oom_score(wanted: Option<i32>) {
    let score = wanted.unwrap_or(0);
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
        tracing::trace!(score, %error, "oom_score_adj left as it is");
    }
}

/// As many open files as the hard limit allows, which is never raised: what containerd's service
/// has always given to containers.
fn raise_open_files() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

/// Enters the working directory, becomes the user, gives up rights, and runs the program.
///
/// The calling process is inside the container already, with its standard streams in place.
/// Returns only when that failed.
pub(crate) fn run(plan: &Plan, args: &[String], tty: bool, user: &User) -> Failure {
    match prepare(plan, args, tty, user) {
        Ok(never) => never,
        Err(failure) => failure,
    }
}

fn prepare(plan: &Plan, args: &[String], tty: bool, user: &User) -> Result<Failure, Failure> {
    let capabilities = plan.capabilities().map_err(Failure::Create)?;
    let wanted = if plan.security.privileged {
        &crate::runtime::Seccomp::Unconfined
    } else {
        &plan.security.seccomp
    };
    let filters = seccomp::compile(wanted, capabilities).map_err(Failure::Create)?;
    let env = environment(plan, tty, user);
    umask(Mode::from_bits_truncate(0o022));
    raise_open_files().map_err(|e| Failure::create("set open files", &e))?;
    enter_directory(&plan.cwd)?;
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::create(what, error);
    let groups: Vec<_> = user.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).map_err(|e| failed("setgroups", &e))?;
    prctl(libc::PR_SET_KEEPCAPS, 1).map_err(|e| failed("keep capabilities", &e))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::unistd::setresgid(gid, gid, gid).map_err(|e| failed("setgid", &e))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(|e| failed("setuid", &e))?;
    if plan.security.no_new_privileges {
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(|e| failed("no_new_privs", &e))?;
    }
    // Changing the user emptied the effective set; the filter needs SYS_ADMIN from it.
    capability::raise().map_err(|e| failed("capset", &e))?;
    die_with_keeper().map_err(|e| failed("set death signal", &e))?;
    close_on_exec().map_err(|e| failed("close descriptors", &e))?;
    let program = find_program(&args[0], &env)?;
    let c_args = args.iter().map(|arg| CString::new(arg.as_bytes())).collect::<Result<Vec<_>, _>>();
    let c_env = env
        .iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")))
        .collect::<Result<Vec<_>, _>>();
    let (Ok(c_args), Ok(c_env)) = (c_args, c_env) else {
        return Err(Failure::start("exec: argument or environment with a NUL byte"));
    };
    // The filter comes before the capabilities go, without which it could not be installed; the
    // default one allows what is left to do.
    seccomp::install(&filters).map_err(|e| failed("seccomp", &e))?;
    capability::apply(capabilities).map_err(|e| failed("drop capabilities", &e))?;
    let c_program = CString::new(program.as_os_str().as_bytes()).unwrap_or_default();
    let error = match nix::unistd::execve(&c_program, &c_args, &c_env) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    Ok(Failure::start(&format!("exec: {:?}: {}", args[0], lower(&error.into()))))
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take one number and no memory.
    if unsafe { libc::prctl(option, value, 0, 0, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor but the standard ones to close at exec.
fn close_on_exec() -> io::Result<()> {
    const CLOSE_ON_EXEC: libc::c_uint = 4; // CLOSE_RANGE_CLOEXEC, Linux 5.11
    // SAFETY: marks descriptors; no memory is passed.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_ON_EXEC) } == 0 {
        return Ok(());
    }
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        if let Some(fd) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
            .filter(|fd| *fd > 2)
        {
            // SAFETY: sets a flag of a descriptor; a closed one is an error we can pass over.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

fn environment(plan: &Plan, tty: bool, user: &User) -> Vec<(String, String)> {
    let mut env = plan.env.clone();
    let mut add = |name: &str, value: &str| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    add("HOME", if user.home.is_empty() { "/" } else { &user.home });
    if tty {
        add("TERM", "xterm");
    }
    env
}

fn enter_directory(cwd: &str) -> Result<(), Failure> {
    let path = Path::new(if cwd.is_empty() { "/" } else { cwd });
    if !path.exists() {
        fs::create_dir_all(path)
            .map_err(|error| Failure::start(&format!("mkdir {cwd}: {}", lower(&error))))?;
    }
    std::env::set_current_dir(path).map_err(|error| {
        Failure::start(&format!(
            "chdir to cwd ({cwd:?}) set in config.json failed: {}",
            lower(&error)
        ))
    })?;
    // A working directory outside the root leaks the node's files (CVE-2024-21626).
    match std::env::current_dir() {
        Ok(here) if here.is_absolute() => Ok(()),
        _ => Err(Failure::start(
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        )),
    }
}

/// What the kernel calls it, in Go's lower case and without the number.
fn lower(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Where the program is, as Go's `exec.LookPath` finds it, in its words when it does not.
fn find_program(name: &str, env: &[(String, String)]) -> Result<std::path::PathBuf, Failure> {
    let quoted = format!("exec: {name:?}");
    if name.contains('/') {
        let path = Path::new(name);
        return match fs::metadata(path) {
            Err(error) => Err(Failure::start(&format!("{quoted}: stat {name}: {}", lower(&error)))),
            Ok(metadata) if metadata.is_dir() => {
                Err(Failure::start(&format!("{quoted}: is a directory")))
            }
            Ok(_) if !executable(path) => {
                Err(Failure::start(&format!("{quoted}: permission denied")))
            }
            Ok(_) => Ok(path.to_path_buf()),
        };
    }
    let paths =
        env.iter().rev().find(|(known, _)| known == "PATH").map_or("", |(_, value)| value.as_str());
    for folder in std::env::split_paths(&OsString::from(paths)) {
        let folder =
            if folder.as_os_str().is_empty() { Path::new(".").to_path_buf() } else { folder };
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) && executable(&path) {
            return Ok(path);
        }
    }
    Err(Failure::start(&format!("{quoted}: executable file not found in $PATH")))
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}
