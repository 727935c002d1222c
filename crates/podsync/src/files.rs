//! The files that every container gets: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, Pod};

/// Most name servers that resolvers read. Source: kubernetes v1.36 `pkg/apis/core/validation`.
const NAMESERVERS_MAX: usize = 3;
/// Most search domains. Source: same, `MaxDNSSearchPaths`.
const SEARCHES_MAX: usize = 32;
/// Most characters of the search list. Source: same, `MaxDNSSearchListChars`.
const SEARCH_CHARS_MAX: usize = 2048;
/// Most bytes of a host name. Source: Linux `HOST_NAME_MAX`, less one as upstream cuts it.
const HOSTNAME_MAX: usize = 63;

/// The cluster's DNS as pods should see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterDns {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// `cluster.local`.
    pub domain: String,
}

/// The pod's host name, and the domain behind it where it has a subdomain.
#[must_use]
pub fn host_names(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let named = spec.and_then(|s| s.hostname.as_deref()).filter(|name| !name.is_empty());
    let mut host = named.or(meta.name.as_deref()).unwrap_or("").to_owned();
    if host.len() > HOSTNAME_MAX {
        host.truncate(HOSTNAME_MAX);
        host.truncate(host.trim_end_matches(['-', '.']).len());
    }
    let domain =
        spec.and_then(|s| s.subdomain.as_deref()).filter(|sub| !sub.is_empty()).map(|sub| {
            let namespace = meta.namespace.as_deref().unwrap_or("");
            format!("{sub}.{namespace}.svc.{cluster_domain}")
        });
    (host, domain)
}

/// What `hostname` says inside: the short name, or the whole one where the pod asks for it.
#[must_use]
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    let (host, domain) = host_names(pod, cluster_domain);
    let whole = pod.spec.as_ref().and_then(|s| s.set_hostname_as_fqdn) == Some(true);
    match domain {
        Some(domain) if whole => format!("{host}.{domain}"),
        _ => host,
    }
}

/// /etc/hosts. `node_hosts`: the node's own file, for pods in the node's network.
///
/// Source: kubernetes v1.36 `pkg/kubelet/kubelet_pods.go`, `managedHostsFileContent`.
#[must_use]
pub fn hosts(pod: &Pod, addresses: &[IpAddr], cluster_domain: &str, node_hosts: &str) -> String {
    let spec = pod.spec.as_ref();
    let aliases = spec.and_then(|s| s.host_aliases.as_deref()).unwrap_or(&[]);
    if spec.and_then(|s| s.host_network) == Some(true) {
        let head = "# Kubernetes-managed hosts file (host network).\n";
        return format!("{head}{node_hosts}{}", alias_lines(aliases));
    }
    let (host, domain) = host_names(pod, cluster_domain);
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for address in addresses {
        text.push_str(&match &domain {
            Some(domain) => format!("{address}\t{host}.{domain}\t{host}\n"),
            None => format!("{address}\t{host}\n"),
        });
    }
    text.push_str(&alias_lines(aliases));
    text
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[derive(Debug, Default)]
struct Resolv {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// /etc/resolv.conf by the pod's DNS policy. `node_resolv`: the node's own file.
///
/// Source: kubernetes v1.36 `pkg/kubelet/network/dns/dns.go`, `GetPodDNS`.
#[must_use]
pub fn resolv_conf(pod: &Pod, cluster: &ClusterDns, node_resolv: &str) -> String {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|s| s.host_network) == Some(true);
    let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let node = parse(node_resolv);
    let mut all = match policy {
        "None" => Resolv::default(),
        "Default" => node,
        "ClusterFirst" if host_network => node,
        _ => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
            let domain = &cluster.domain;
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            searches.extend(node.searches);
            Resolv {
                servers: cluster.servers.iter().map(ToString::to_string).collect(),
                searches,
                options: vec![("ndots".to_owned(), Some("5".to_owned()))],
            }
        }
    };
    if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
        all.servers.extend(config.nameservers.clone().unwrap_or_default());
        all.searches.extend(config.searches.clone().unwrap_or_default());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            match all.options.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1.clone_from(&option.value),
                None => all.options.push((name, option.value.clone())),
            }
        }
    }
    render(all)
}

fn render(mut all: Resolv) -> String {
    all.servers = unique(all.servers);
    all.servers.truncate(NAMESERVERS_MAX);
    all.searches = unique(all.searches);
    all.searches.truncate(SEARCHES_MAX);
    while all.searches.join(" ").len() > SEARCH_CHARS_MAX {
        all.searches.pop();
    }
    let mut text = String::new();
    for server in &all.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !all.searches.is_empty() {
        text.push_str(&format!("search {}\n", all.searches.join(" ")));
    }
    if !all.options.is_empty() {
        let words: Vec<String> = all
            .options
            .iter()
            .map(|(name, value)| match value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            })
            .collect();
        text.push_str(&format!("options {}\n", words.join(" ")));
    }
    text
}

fn unique(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

fn parse(text: &str) -> Resolv {
    let mut all = Resolv::default();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => all.servers.extend(words.next().map(str::to_owned)),
            // The last search or domain line wins.
            Some("search" | "domain") => {
                all.searches = words
                    .map(|word| if word == "." { word } else { word.trim_end_matches('.') })
                    .map(str::to_owned)
                    .collect();
            }
            Some("options") => {
                all.options = words
                    .map(|word| match word.split_once(':') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (word.to_owned(), None),
                    })
                    .collect();
            }
            _ => {}
        }
    }
    all
}
