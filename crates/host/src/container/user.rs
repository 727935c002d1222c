//! Who a program runs as: ids, and names looked up in the image's own passwd and group files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::runtime::Security;

/// The answer: ids and home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplemental groups, ascending.
    pub(crate) groups: Vec<u32>,
    /// `HOME`.
    pub(crate) home: String,
}

/// One line of a passwd file: name, uid, gid, home.
fn passwd(text: &str) -> impl Iterator<Item = (&str, u32, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some((name, uid.parse().ok()?, gid.parse().ok()?, fields.nth(1).unwrap_or("/")))
    })
}

/// One line of a group file: name, gid, members.
fn group(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or("")))
    })
}

/// Decides from the pod's wishes, the image's `User` (`user`, `uid`, `user:group`, `uid:gid`), and
/// the two files' texts.
///
/// The pod's numbers win. A name that is not in the file is an error in containerd's words; a
/// number need not be there. Groups that list the user by name are added to the pod's.
pub(crate) fn resolve(
    wanted: &Security,
    image_user: &str,
    passwd_text: &str,
    group_text: &str,
) -> Result<User, String> {
    let (user_part, group_part) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (image_user, None),
    };
    let pod_uid = wanted
        .user
        .map(|uid| u32::try_from(uid).map_err(|_| format!("invalid user id {uid}")))
        .transpose()?;
    let by_id = |uid: u32| passwd(passwd_text).find(|entry| entry.1 == uid);
    let (uid, entry) = match (pod_uid, user_part.parse::<u32>()) {
        (Some(uid), _) | (None, Ok(uid)) => (uid, by_id(uid)),
        (None, Err(_)) if user_part.is_empty() => (0, by_id(0)),
        (None, Err(_)) => {
            let entry = passwd(passwd_text).find(|entry| entry.0 == user_part);
            let entry = entry.ok_or_else(|| {
                format!("unable to find user {user_part}: no matching entries in passwd file")
            })?;
            (entry.1, Some(entry))
        }
    };
    let pod_gid = wanted
        .group
        .map(|gid| u32::try_from(gid).map_err(|_| format!("invalid group id {gid}")))
        .transpose()?;
    let gid = match (pod_gid, group_part.filter(|_| pod_uid.is_none())) {
        (Some(gid), _) => gid,
        (None, Some(name)) => match name.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let found = group(group_text).find(|entry| entry.0 == name);
                found
                    .ok_or_else(|| {
                        format!("unable to find group {name}: no matching entries in group file")
                    })?
                    .1
            }
        },
        (None, None) => entry.map_or(0, |entry| entry.2),
    };
    let mut groups: Vec<u32> =
        wanted.supplemental_groups.iter().filter_map(|gid| u32::try_from(*gid).ok()).collect();
    groups.push(gid);
    if let Some((name, ..)) = entry {
        let member = |members: &str| members.split(',').any(|member| member == name);
        groups.extend(group(group_text).filter(|entry| member(entry.2)).map(|entry| entry.1));
    }
    groups.sort_unstable();
    groups.dedup();
    let home = entry.map_or("/", |entry| entry.3).to_owned();
    Ok(User { uid, gid, groups, home })
}

/// [`resolve`] with the files of the calling process's own root. Files that are absent are empty.
pub(crate) fn resolve_here(wanted: &Security, image_user: &str) -> Result<User, String> {
    let read = |file: &str| {
        std::fs::read(Path::new(file))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    };
    resolve(wanted, image_user, &read("/etc/passwd"), &read("/etc/group"))
}

/// Refuses what would run as root though the pod says not to.
///
/// Source: kubernetes v1.36 `pkg/kubelet/kuberuntime/security_context.go`, `verifyRunAsNonRoot`.
pub(crate) fn verify_non_root(
    wanted: &Security,
    image_user: &str,
    pod: &str,
    container: &str,
) -> Result<(), String> {
    if !wanted.run_as_non_root {
        return Ok(());
    }
    if let Some(uid) = wanted.user {
        if uid == 0 {
            return Err(format!(
                "container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})"
            ));
        }
        return Ok(());
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match name.parse::<i64>() {
        Ok(0) => Err(format!(
            "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
        )),
        Err(_) if name.is_empty() => Err(format!(
            "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
        )),
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/var/web:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\nlogs:x:200:web,root\ntape:x:26:other\n";

    fn check(user: Option<i64>, gid: Option<i64>, more: &[i64], image: &str, expected: &Expect) {
        let wanted = Security {
            user,
            group: gid,
            supplemental_groups: more.to_vec(),
            ..Security::default()
        };
        expected.assert_eq(&match resolve(&wanted, image, PASSWD, GROUP) {
            Ok(u) => format!("{}:{} {:?} {}", u.uid, u.gid, u.groups, u.home),
            Err(error) => error,
        });
    }

    #[test]
    fn users() {
        check(None, None, &[], "", &expect!["0:0 [0, 200] /root"]);
        check(None, None, &[7], "web", &expect!["101:102 [7, 102, 200] /var/web"]);
        check(None, None, &[], "web:tape", &expect!["101:26 [26, 200] /var/web"]);
        check(None, None, &[], "1000:50", &expect!["1000:50 [50] /"]);
        check(Some(101), None, &[], "root:root", &expect!["101:102 [102, 200] /var/web"]);
        check(Some(5000), Some(6), &[1], "web", &expect!["5000:6 [1, 6] /"]);
        check(
            None,
            None,
            &[],
            "nobody",
            &expect!["unable to find user nobody: no matching entries in passwd file"],
        );
        check(
            None,
            None,
            &[],
            "web:none",
            &expect!["unable to find group none: no matching entries in group file"],
        );
    }

    fn check_root(user: Option<i64>, image: &str, expected: &Expect) {
        let wanted = Security { user, run_as_non_root: true, ..Security::default() };
        expected.assert_eq(
            &verify_non_root(&wanted, image, "web-0_default(1)", "app").err().unwrap_or_default(),
        );
    }

    #[test]
    fn non_root() {
        check_root(Some(1), "", &expect![""]);
        check_root(None, "1000", &expect![""]);
        check_root(
            Some(0),
            "1000",
            &expect![[
                r#"container's runAsUser breaks non-root policy (pod: "web-0_default(1)", container: app)"#
            ]],
        );
        check_root(
            None,
            "",
            &expect![[
                r#"container has runAsNonRoot and image will run as root (pod: "web-0_default(1)", container: app)"#
            ]],
        );
        check_root(
            None,
            "web",
            &expect![[
                r#"container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: "web-0_default(1)", container: app)"#
            ]],
        );
    }
}
