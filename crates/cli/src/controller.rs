//! Flags of `stead controller`, in the words of upstream's kube-controller-manager.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Flags of `stead controller`.
#[derive(Debug, Clone, clap::Args)]
pub struct Controller {
    /// Kubeconfig of the cluster; without it, the cluster that this pod runs in.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Work in this namespace alone, with rights in it alone; otherwise in the whole cluster.
    #[arg(long, value_name = "NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,
    /// Sets that are worked on at the same time.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub concurrent_statefulset_syncs: usize,
    /// Upstream's feature gates: MaxUnavailableStatefulSet=true|false (off by default).
    #[arg(long, value_name = "GATE=BOOL", value_delimiter = ',', value_parser = gate)]
    pub feature_gates: Vec<Gate>,
    /// Address and port of /healthz, /readyz and /metrics, over plain HTTP; port 0 takes any.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10260")]
    pub health_bind_address: SocketAddr,
    /// Work only while holding a Lease, so that several may run and one works.
    #[arg(long)]
    pub leader_elect: bool,
    /// How long others wait after the last renewal that they saw before they take over.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long the holder tries to renew before it ends; shorter than the lease's duration.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// Between two attempts to acquire or renew.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "stead-statefulset-controller")]
    pub leader_elect_resource_name: String,
    /// Namespace of the Lease: kube-system, or what --namespace says.
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
}

impl Controller {
    /// Where the Lease is: with `--namespace`, rights end at that namespace.
    #[must_use]
    pub fn lease_namespace(&self) -> &str {
        let told = self.leader_elect_resource_namespace.as_deref();
        told.or(self.namespace.as_deref()).unwrap_or("kube-system")
    }
}

/// A feature gate and whether it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The set's own `maxUnavailable` is read.
    MaxUnavailableStatefulSet(bool),
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

pub(crate) fn gate(text: &str) -> Result<Gate, String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("missing bool value for {text}"))?;
    let open = match value.trim() {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
        "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
        _ => return Err(format!("invalid value of {name}={value}: true or false")),
    };
    match name.trim() {
        "MaxUnavailableStatefulSet" => Ok(Gate::MaxUnavailableStatefulSet(open)),
        _ => Err(format!("unrecognized feature gate: {name}")),
    }
}

/// A duration as Go prints it: `15s`, `1m30s`, `1.5h`, `200ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as 15s or 1m30s");
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_is_where_the_rights_are() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            flags: Controller,
        }
        let check = |line: &str, wanted: &str| {
            let words = std::iter::once("stead").chain(line.split_whitespace());
            let flags = <Line as clap::Parser>::try_parse_from(words).unwrap().flags;
            assert_eq!(flags.lease_namespace(), wanted, "{line}");
        };
        check("", "kube-system");
        check("--namespace shop", "shop");
        check("--leader-elect-resource-namespace locks", "locks");
        check("--namespace=shop --leader-elect-resource-namespace=locks", "locks");
        let words = ["stead", "--namespace", ""];
        assert!(<Line as clap::Parser>::try_parse_from(words).is_err());
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("15s", 15_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("200ms", 200), ("0s", 0)]
        {
            let wanted = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Ok(wanted), "{text}");
        }
        for text in ["", "15", "s", "-1s", "1d", "1s2", "99999999999999999999h"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("is no duration such as"), "{error}");
        }
    }

    #[test]
    fn gates() {
        let open = Gate::MaxUnavailableStatefulSet;
        assert_eq!(gate("MaxUnavailableStatefulSet=true"), Ok(open(true)));
        assert_eq!(gate("MaxUnavailableStatefulSet=0"), Ok(open(false)));
        for (text, said) in [
            ("MaxUnavailableStatefulSet", "missing bool value for MaxUnavailableStatefulSet"),
            ("MaxUnavailableStatefulSet=yes", "true or false"),
            ("Nope=true", "unrecognized feature gate: Nope"),
        ] {
            let error = gate(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
