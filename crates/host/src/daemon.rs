//! A server process that outlives the shell that started it.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// A process that runs, by a descriptor: its number may come to be another's, this may not.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process of this number; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the kernel has none of it: it is older than Linux 5.3, or out of descriptors.
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Ok(pid) = libc::pid_t::try_from(pid) else { return Ok(None) };
        // SAFETY: takes two numbers; the kernel answers with a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match libc::c_int::try_from(fd) {
            // SAFETY: the kernel just made it for us, and nobody else knows it.
            Ok(fd) if fd >= 0 => Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(fd) }))),
            _ => match Errno::last() {
                Errno::ESRCH => Ok(None),
                error => Err(error.into()),
            },
        }
    }

    /// Returns when it has ended, or `most` later; says whether it has.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn ended(&self, most: Duration) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, most)?;
        Ok(polled[0].any().unwrap_or(true))
    }
}

/// Until a descriptor is ready, or `most` later; after a signal it waits as long again.
fn poll(polled: &mut [PollFd<'_>], most: Duration) -> io::Result<()> {
    let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
    loop {
        match nix::poll::poll(polled, most) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A server that was just started.
#[derive(Debug)]
pub struct Begun {
    child: Child,
    process: Option<Process>,
    log: Inotify,
}

impl Begun {
    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Returns when it has printed something since the last call, when it has ended, or `most` later.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn news(&self, most: Duration) -> io::Result<()> {
        let fds = [Some(self.log.as_fd()), self.process.as_ref().map(|process| process.0.as_fd())];
        let fds = fds.into_iter().flatten();
        let mut polled: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut polled, most)?;
        match self.log.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Starts this very program with these arguments, in a session of its own, its output in `log`.
///
/// # Errors
///
/// When the log cannot be opened or watched, or the program not be started.
#[expect(clippy::disallowed_methods, reason = "this crate is where processes are started")]
pub fn start(args: &[OsString], log: &Path) -> io::Result<Begun> {
    let printed = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let path = log;
    let log = File::options().create(true).append(true).open(path)?;
    printed.add_watch(path, AddWatchFlags::IN_MODIFY)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    let process = Process::open(child.id())?;
    Ok(Begun { child, process, log: printed })
}

/// Asks a process to end (SIGTERM); one that has gone is no error.
///
/// # Errors
///
/// When it may not be asked.
pub fn ask_to_end(pid: u32) -> io::Result<()> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(()) };
    match kill(Pid::from_raw(pid), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this crate is where processes are started")]
    fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        assert!(!process.ended(Duration::ZERO).unwrap());
        ask_to_end(child.id()).unwrap();
        assert!(process.ended(Duration::from_secs(30)).unwrap());
        assert!(!child.wait().unwrap().success());
        assert!(Process::open(u32::MAX).unwrap().is_none());
    }
}
