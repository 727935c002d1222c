//! One container: its cgroup, root file system, rights, and the program started in it.
//!
//! ```text
//!  Plan (plan.rs, made by the agent, a file)  ──▶  keeper clones  ──▶  init.rs   first program of a container
//!                                                                 └─▶  enter.rs  a later one (exec, probes)
//!                                                                        both end in launch.rs
//! ```
//!
//! Mounts, devices and consoles are `libcontainer`'s; the order of steps is ours, because one
//! clone straight into the new namespaces takes 2 ms and the library's three forks take 8.

pub(crate) mod capability;
pub(crate) mod cgroup;
pub(crate) mod enter;
pub(crate) mod init;
pub(crate) mod launch;
pub(crate) mod plan;
pub(crate) mod seccomp;
pub(crate) mod spec;
mod syscalls;
pub(crate) mod user;
