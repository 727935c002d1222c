//! The filter of system calls: from the default table or an OCI profile to BPF, and into the kernel.

use std::{collections::BTreeMap, fs, io, path::Path};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use serde::Deserialize;

use super::{
    capability::{SYS_ADMIN, Set},
    syscalls::{
        AF_VSOCK, ALLOWED, BY_CAPABILITY, NAMESPACE_FLAGS, NUMBERS_END, PERSONALITIES, number,
    },
};
use crate::runtime::Seccomp;

/// What each system call number does: an empty list is "always".
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters in the order in which they go into the kernel; its answer is the strictest of theirs.
///
/// The error is a sentence for the person who wrote the pod.
pub(crate) fn compile(wanted: &Seccomp, capabilities: Set) -> Result<Vec<BpfProgram>, String> {
    match wanted {
        Seccomp::Unconfined => Ok(Vec::new()),
        Seccomp::RuntimeDefault => default_filters(capabilities),
        Seccomp::Localhost(file) => profile_filters(file),
    }
}

/// Puts the filters in force for the calling process and what it executes.
///
/// Needs CAP_SYS_ADMIN, or no_new_privs set before.
pub(crate) fn install(filters: &[BpfProgram]) -> io::Result<()> {
    for filter in filters {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len())
                .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
            filter: filter.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `program` points to `len` instructions of the kernel's layout (seccompiler's
        // sock_filter is repr(C) like libc's), which live through the call.
        let result =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn arch() -> Result<TargetArch, String> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(|error| format!("seccomp: {error}"))
}

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let one = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
        .map_err(seccomp_error)?;
    SeccompRule::new(vec![one]).map_err(seccomp_error)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn seccomp_error(error: seccompiler::BackendError) -> String {
    format!("seccomp: {error}")
}

fn default_rules(capabilities: Set) -> Result<Rules, String> {
    let mut rules = Rules::new();
    let held = BY_CAPABILITY
        .iter()
        .filter(|(name, _)| capabilities.has_name(name))
        .map(|(_, calls)| *calls);
    for call in ALLOWED.iter().copied().chain(held).flatten().copied() {
        if let Some(number) = number(call) {
            rules.insert(number, Vec::new());
        }
    }
    rules.insert(libc::SYS_socket, vec![condition(0, SeccompCmpOp::Ne, AF_VSOCK)?]);
    let personalities = PERSONALITIES.iter().map(|value| condition(0, SeccompCmpOp::Eq, *value));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    if !capabilities.has(SYS_ADMIN) {
        rules.insert(
            libc::SYS_clone,
            vec![condition(0, SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS), 0)?],
        );
        // Answered by the filter of newer calls.
        rules.insert(libc::SYS_clone3, Vec::new());
    }
    Ok(rules)
}

fn default_filters(capabilities: Set) -> Result<Vec<BpfProgram>, String> {
    let eperm = SeccompAction::Errno(1);
    let listed = build(default_rules(capabilities)?, eperm, SeccompAction::Allow)?;
    Ok(vec![newer_calls(!capabilities.has(SYS_ADMIN)), listed])
}

/// Calls that our table does not know, and `clone3` (whose flags no filter can see), do not exist:
/// C libraries then fall back to older ones, which they do not on EPERM.
fn newer_calls(hide_clone3: bool) -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ENOSYS: u32 = 0x0005_0000 | 38;
    let op = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let clone3 = if hide_clone3 { 435 } else { u32::MAX };
    vec![
        op(LOAD, 0, 0, 4), // seccomp_data.arch
        op(JUMP_EQUAL, 0, 4, AUDIT_ARCH),
        op(LOAD, 0, 0, 0), // seccomp_data.nr
        op(JUMP_EQUAL, 1, 0, clone3),
        op(JUMP_AT_LEAST, 0, 1, NUMBERS_END),
        op(RETURN, 0, 0, ENOSYS),
        op(RETURN, 0, 0, ALLOW),
    ]
}

fn build(
    rules: Rules,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let filter = SeccompFilter::new(rules, mismatch, matched, arch()?).map_err(seccomp_error)?;
    BpfProgram::try_from(filter).map_err(seccomp_error)
}

/// An OCI seccomp profile, as far as it can be carried out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(1)),
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(1)),
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        other => return Err(format!("seccomp: unsupported action {other:?}")),
    })
}

fn rule(args: &[Argument]) -> Result<Option<SeccompRule>, String> {
    let mut conditions = Vec::new();
    for argument in args {
        let (operator, value) = match argument.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
            other => return Err(format!("seccomp: unsupported comparison {other:?}")),
        };
        let one = SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, operator, value);
        conditions.push(one.map_err(seccomp_error)?);
    }
    if conditions.is_empty() {
        return Ok(None);
    }
    SeccompRule::new(conditions).map(Some).map_err(seccomp_error)
}

/// One filter for each action that a profile names. Each lets pass what is not its own, but the
/// one of allowed calls, which gives all others the default action.
fn profile_filters(file: &Path) -> Result<Vec<BpfProgram>, String> {
    let told = |error: &dyn std::fmt::Display| {
        format!("cannot load seccomp profile {:?}: {error}", file.display().to_string())
    };
    let text = fs::read(file).map_err(|error| told(&error))?;
    let profile: Profile = serde_json::from_slice(&text).map_err(|error| told(&error))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut groups: Vec<(SeccompAction, Rules)> = Vec::new();
    let mut listed = Rules::new();
    for entry in &profile.syscalls {
        let wanted = action(&entry.action, entry.errno_ret)?;
        let conditions = rule(&entry.args)?;
        for number in entry.names.iter().filter_map(|name| number(name)) {
            let position = groups.iter().position(|(known, _)| *known == wanted);
            let position = position.unwrap_or_else(|| {
                groups.push((wanted.clone(), Rules::new()));
                groups.len() - 1
            });
            for rules in [&mut groups[position].1, &mut listed] {
                match &conditions {
                    // An empty list already says "always".
                    Some(_) if rules.get(&number).is_some_and(Vec::is_empty) => {}
                    Some(rule) => rules.entry(number).or_default().push(rule.clone()),
                    None => drop(rules.insert(number, Vec::new())),
                }
            }
        }
    }
    let mut filters = Vec::new();
    if default != SeccompAction::Allow {
        filters.push(build(listed, default.clone(), SeccompAction::Allow)?);
    }
    for (wanted, rules) in groups {
        if wanted != SeccompAction::Allow && wanted != default {
            filters.push(build(rules, SeccompAction::Allow, wanted)?);
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_call_has_a_number() {
        let by_capability = BY_CAPABILITY.iter().map(|(_, calls)| *calls);
        let unknown: Vec<_> = ALLOWED
            .iter()
            .copied()
            .chain(by_capability)
            .flatten()
            .filter(|name| number(name).is_none())
            .collect();
        if cfg!(target_arch = "x86_64") {
            assert_eq!(unknown, Vec::<&&str>::new());
        }
    }

    #[test]
    fn the_default_compiles() {
        let plain = compile(&Seccomp::RuntimeDefault, Set(0)).unwrap();
        assert_eq!(plain.len(), 2);
        assert!(plain[1].len() < 4096, "the kernel takes no more: {}", plain[1].len());
        assert_eq!(compile(&Seccomp::Unconfined, Set(0)).unwrap().len(), 0);
    }

    #[test]
    fn a_profile_of_two_minds() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("profile.json");
        fs::write(
            &file,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","chmod"],"action":"SCMP_ACT_ERRNO"}]}"#,
        )
        .unwrap();
        assert_eq!(compile(&Seccomp::Localhost(file), Set(0)).unwrap().len(), 1);
        let missing = compile(&Seccomp::Localhost(dir.path().join("none")), Set(0)).unwrap_err();
        assert!(missing.starts_with("cannot load seccomp profile"), "{missing}");
    }
}
