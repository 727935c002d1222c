//! What controllers are called on the command line, and which of them a list enables.

use thiserror::Error;

use crate::SCHEDULER_CLIENT;

/// The name of the StatefulSet controller.
pub const STATEFULSET: &str = "statefulset-controller";

/// What one controller is called.
struct Names {
    /// Here, after its service account.
    own: &'static str,
    /// On the command line …
    full: &'static str,
    /// … and by the shorter name of older flags.
    alias: &'static str,
}

const fn names(own: &'static str, full: &'static str, alias: &'static str) -> Names {
    Names { own, full, alias }
}

/// Every controller. The scheduler is none: it always runs.
///
/// Source: kubernetes v1.36 `cmd/kube-controller-manager/names`, and `--controllers`' aliases.
const NAMES: &[Names] = &[
    names(STATEFULSET, STATEFULSET, "statefulset"),
    names("endpointslice-controller", "endpointslice-controller", "endpointslice"),
    names("endpoint-controller", "endpoints-controller", "endpoint"),
    names("service-account-controller", "serviceaccount-controller", "serviceaccount"),
    names(
        "root-ca-cert-publisher",
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
    ),
    names(
        "persistent-volume-binder",
        "persistentvolume-binder-controller",
        "persistentvolume-binder",
    ),
    names("expand-controller", "persistentvolume-expander-controller", "persistentvolume-expander"),
    names("node-controller", "node-lifecycle-controller", "nodelifecycle"),
    names("pod-garbage-collector", "pod-garbage-collector-controller", "podgc"),
    names("kube-dns-publisher", "kube-dns-publisher", "kube-dns"),
    names("namespace-controller", "namespace-controller", "namespace"),
    names("generic-garbage-collector", "garbage-collector-controller", "garbagecollector"),
];

impl Names {
    fn are(&self, word: &str) -> bool {
        word == self.full || word == self.alias
    }
}

/// A name on the list that no controller has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is not in the list of known controllers: {}", known())]
pub struct NoSuchController {
    /// As it was given.
    pub name: String,
}

fn known() -> String {
    NAMES.iter().map(|names| names.alias).collect::<Vec<_>>().join(", ")
}

/// The controllers that a list such as `*,-statefulset` enables: `*` is all of them, `foo` enables
/// foo, `-foo` disables it; the first word about one holds. `None` where the list disables none.
///
/// # Errors
///
/// A name that no controller has.
pub fn enabled(list: &[String]) -> Result<Option<Vec<&'static str>>, NoSuchController> {
    for word in list.iter().filter(|word| *word != "*") {
        let name = word.strip_prefix('-').unwrap_or(word);
        if !NAMES.iter().any(|names| names.are(name)) {
            return Err(NoSuchController { name: name.to_owned() });
        }
    }
    let is_wanted = |names: &&Names| {
        let first = list.iter().find_map(|word| match word.strip_prefix('-') {
            Some(name) => names.are(name).then_some(false),
            None => names.are(word).then_some(true),
        });
        first.unwrap_or_else(|| list.iter().any(|word| word == "*"))
    };
    let mut enabled: Vec<&str> = NAMES.iter().filter(is_wanted).map(|names| names.own).collect();
    if enabled.len() == NAMES.len() {
        return Ok(None);
    }
    enabled.push(SCHEDULER_CLIENT);
    Ok(Some(enabled))
}

#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|names| names.own).chain([SCHEDULER_CLIENT])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, without: Option<&[&str]>) {
        let list: Vec<String> = list.split(',').map(str::to_owned).collect();
        let found = enabled(&list).unwrap();
        let wanted = without.map(|without| all().filter(|name| !without.contains(name)).collect());
        assert_eq!(found, wanted, "{list:?}");
    }

    #[test]
    fn lists() {
        check("*", None);
        check("*,-statefulset", Some(&[STATEFULSET]));
        check("-statefulset-controller,*,-podgc", Some(&[STATEFULSET, "pod-garbage-collector"]));
        check("*,statefulset,-statefulset", None);
        let only = enabled(&["namespace".to_owned()]).unwrap();
        assert_eq!(only, Some(vec!["namespace-controller", SCHEDULER_CLIENT]));
        let error = enabled(&["*".to_owned(), "-nope".to_owned()]).unwrap_err().to_string();
        let wanted = "\"nope\" is not in the list of known controllers: statefulset, ";
        assert!(error.starts_with(wanted), "{error}");
    }
}
