//! A server process that outlives the shell that started it.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Starts this very program with these arguments, in a session of its own, its output in `log`.
///
/// # Errors
///
/// When the log cannot be opened, or the program not be started.
#[expect(clippy::disallowed_methods, reason = "this crate is where processes are started")]
pub fn start(args: &[OsString], log: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    command.spawn()
}

/// Asks a process to end (SIGTERM); one that has gone is no error.
///
/// # Errors
///
/// When it may not be asked.
pub fn ask_to_end(pid: u32) -> io::Result<()> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(()) };
    match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
    {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
