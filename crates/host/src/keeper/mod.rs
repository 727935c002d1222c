//! The pod keeper: one small process a pod, which holds its namespaces, starts its containers,
//! writes their logs and remembers their ends. It outlives the agent, and alone forks.
//!
//! ```text
//!  agent (keepers.rs) ── unix socket, wire.rs ──▶ server.rs ── one poll(2) over everything
//!      │  writes pod.json, plan.json                │  pod.rs        namespaces, loopback, sysctls
//!      └─ reads state.json ◀── record.rs ───────────┤  containers.rs start, exit, stop; log.rs
//!         (on disk before it is said)               └─ execs.rs      exec, terminals; streams.rs attach
//! ```
//!
//! It knows no async runtime and no threads, and keeps almost nothing on its heap: plans stay in
//! files that only its short-lived children read.

mod clock;
mod containers;
mod execs;
mod log;
mod pod;
pub(crate) mod record;
mod server;
mod streams;
pub(crate) mod wire;

use std::path::Path;

pub(crate) use clock::now;
pub(crate) use pod::LOCK_FILE;

/// Runs a keeper: `stead keeper FOLDER`, with a listening unix socket as standard input.
///
/// Call it before anything starts a thread. Returns the exit status: 0 after the pod was stopped,
/// 1 when it could not be made (the reason went to whoever asked first, and to standard error).
#[must_use]
pub fn main(args: &[std::ffi::OsString]) -> i32 {
    let [folder] = args else {
        tell("usage: stead keeper FOLDER (started by the agent, not by people)");
        return 2;
    };
    match server::run(Path::new(folder)) {
        Ok(()) => 0,
        Err(error) => {
            tell(&error.to_string());
            1
        }
    }
}

/// Standard error of a keeper is `keeper.log` in its folder.
fn tell(text: &str) {
    use std::io::Write;
    // Nobody is left to tell when even this fails.
    drop(writeln!(std::io::stderr(), "{} {text}", clock::rfc3339(clock::now())));
}

/// Sends a signal; a process that has gone is no error.
pub(crate) fn kill(pid: i32, signal: i32) {
    if pid > 1 {
        // SAFETY: sends a signal to one process; no memory is passed.
        unsafe { libc::kill(pid, signal) };
    }
}
