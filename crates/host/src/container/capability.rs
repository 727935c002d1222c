//! Capabilities by name, containerd's default set, and giving up all others.

use std::io;

/// containerd's default set (`oci.WithDefaultSpec`): what a container has that asks for nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Names in the kernel's order: the position is the number (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `CAP_SYS_RESOURCE`.
const SYS_RESOURCE: u32 = 24;

/// Whether this process may make others less likely to be killed for memory.
pub(crate) fn may_lower_oom_score() -> bool {
    permitted().is_ok_and(|bits| Set(bits).has(SYS_RESOURCE))
}

/// `CAP_SYS_ADMIN`.
pub(crate) const SYS_ADMIN: u32 = 21;

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set(pub(crate) u64);

impl Set {
    /// Every capability of the table.
    pub(crate) const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// Whether number `cap` is in it.
    pub(crate) fn has(self, cap: u32) -> bool {
        self.0 >> cap & 1 == 1
    }

    /// Whether `name` (without `CAP_`) is in it.
    pub(crate) fn has_name(self, name: &str) -> bool {
        number(name).is_some_and(|cap| self.has(cap))
    }
}

fn number(name: &str) -> Option<u32> {
    let bare = name.strip_prefix("CAP_").unwrap_or(name);
    let position = NAMES.iter().position(|known| known.eq_ignore_ascii_case(bare))?;
    u32::try_from(position).ok()
}

/// The set that results from adding to and dropping from the default; `ALL` is known to both.
///
/// As upstream's CRI: an added `ALL` comes first, a dropped `ALL` next, then single names, drops last.
/// The error names the unknown capability.
pub(crate) fn resolve(privileged: bool, add: &[String], drop: &[String]) -> Result<Set, String> {
    if privileged {
        return Ok(Set::ALL);
    }
    let mut bits: u64 = 0;
    for name in DEFAULT {
        bits |= number(name).map_or(0, |cap| 1 << cap);
    }
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    if all(add) {
        bits = Set::ALL.0;
    }
    if all(drop) {
        bits = 0;
    }
    for (names, adds) in [(add, true), (drop, false)] {
        for name in names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
            let cap = number(name).ok_or_else(|| format!("unknown capability {name:?}"))?;
            if adds {
                bits |= 1 << cap;
            } else {
                bits &= !(1 << cap);
            }
        }
    }
    Ok(Set(bits))
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

fn permitted() -> io::Result<u64> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut words = [Words::default(); 2];
    // SAFETY: both pointers are to live values of the layout that version 3 prescribes.
    if unsafe { libc::syscall(libc::SYS_capget, &mut header, words.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32)
}

/// Makes `set` the calling process's bounding, permitted and effective set; inheritable and
/// ambient become empty. What the process does not have itself is left out.
pub(crate) fn apply(set: Set) -> io::Result<()> {
    let held = set.0 & permitted()?;
    for cap in 0..64_u32 {
        // SAFETY: reads or drops one number of our own bounding set; no memory is passed.
        let (present, wanted) = (
            unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap), 0, 0, 0) },
            set.has(cap),
        );
        if present < 0 {
            break;
        }
        if present == 1 && !wanted {
            // SAFETY: as above.
            let dropped =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
            if dropped != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    // SAFETY: clears the ambient set; no memory is passed.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    put(held)
}

/// Sets the permitted and effective sets to `bits`, the inheritable one to nothing.
fn put(bits: u64) -> io::Result<()> {
    let low = u32::try_from(bits & 0xffff_ffff).unwrap_or_default();
    let high = u32::try_from(bits >> 32).unwrap_or_default();
    let words = [
        Words { effective: low, permitted: low, inheritable: 0 },
        Words { effective: high, permitted: high, inheritable: 0 },
    ];
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: both pointers are to live values of the layout that version 3 prescribes.
    if unsafe { libc::syscall(libc::SYS_capset, &mut header, words.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes every permitted capability effective again, after a change of user.
pub(crate) fn raise() -> io::Result<()> {
    put(permitted()?)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(privileged: bool, add: &[&str], drop: &[&str], expected: &Expect) {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        expected.assert_eq(&match resolve(privileged, &own(add), &own(drop)) {
            Ok(set) => format!("{:#013x}", set.0),
            Err(error) => error,
        });
    }

    #[test]
    fn sets() {
        check(false, &[], &[], &expect!["0x000a80425fb"]);
        check(true, &[], &["ALL"], &expect!["0x1ffffffffff"]);
        check(false, &[], &["ALL"], &expect!["0x00000000000"]);
        check(false, &["NET_BIND_SERVICE"], &["ALL"], &expect!["0x00000000400"]);
        check(false, &["ALL"], &["SYS_ADMIN"], &expect!["0x1ffffdfffff"]);
        check(false, &["CAP_NET_ADMIN"], &["chown"], &expect!["0x000a80435fa"]);
        check(false, &["FLY"], &[], &expect![[r#"unknown capability "FLY""#]]);
    }
}
