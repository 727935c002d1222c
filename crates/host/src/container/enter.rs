//! A later program in a running container (exec, probes, hooks): joins what the first one has.

use std::{fs, os::fd::OwnedFd, path::Path};

use nix::sched::{CloneFlags, setns};

use super::{
    cgroup::Hierarchies,
    init::open_console,
    launch::{self, Failure, Stdio},
    plan::{Plan, later_user},
};

/// What the keeper hands to the process it has just forked into the container's pid namespace.
#[derive(Debug)]
pub(crate) struct Later<'a> {
    /// The container's folder.
    pub(crate) folder: &'a Path,
    /// The container's first process, on the node.
    pub(crate) pid: i32,
    pub(crate) hierarchies: &'a Hierarchies,
    pub(crate) args: &'a [String],
    pub(crate) stdio: Stdio,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<OwnedFd>,
}

/// Makes the calling process a program in the container. Returns only with the reason why not.
pub(crate) fn enter_container(later: Later<'_>) -> Failure {
    match prepare(later) {
        Ok(never) => never,
        Err(failure) => failure,
    }
}

fn prepare(later: Later<'_>) -> Result<Failure, Failure> {
    let failed =
        |what: &'static str| move |error: &dyn std::fmt::Display| Failure::create(what, error);
    launch::reset_signals();
    launch::die_with_keeper().map_err(|e| failed("set death signal")(&e))?;
    let plan = Plan::load(later.folder).map_err(|e| failed("read plan")(&e))?;
    let user = later_user(later.folder).map_err(|e| failed("read user")(&e))?;
    later.hierarchies.join(&plan.cgroup).map_err(|e| failed("join cgroup")(&e))?;
    launch::adjust_oom_score(plan.oom_score_adj);
    nix::unistd::setsid().map_err(|e| failed("setsid")(&e))?;
    let namespace = |kind: &str| fs::File::open(format!("/proc/{}/ns/{kind}", later.pid));
    let cgroup = namespace("cgroup").map_err(|e| failed("open namespace")(&e))?;
    let root = namespace("mnt").map_err(|e| failed("open namespace")(&e))?;
    setns(&cgroup, CloneFlags::CLONE_NEWCGROUP).map_err(|e| failed("enter namespace")(&e))?;
    setns(&root, CloneFlags::CLONE_NEWNS).map_err(|e| failed("enter namespace")(&e))?;
    let tty = later.console.is_some();
    match later.console {
        Some(console) => open_console(console, false, &user)?,
        None => later.stdio.install(&user)?,
    }
    Ok(launch::run(&plan, later.args, tty, &user))
}
