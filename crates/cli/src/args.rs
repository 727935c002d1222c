//! The command line: every verb and flag, once.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use clap::{Parser, Subcommand};

use crate::controller::{Controller, Gate, gate};

/// A Kubernetes for StatefulSets in one binary.
#[derive(Debug, Parser)]
#[command(name = "stead", version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What stead can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a cluster on this machine, or go on with the one that is there.
    Up(Up),
    /// Stop a cluster's pods and remove its networks and mounts; its data stays.
    Down(Down),
    /// Say what runs.
    Status(Cluster),
    /// Print the kubeconfig of a cluster.
    Kubeconfig(Cluster),
    /// Show a StatefulSet's whole life on a cluster of its own, and remove it all.
    Demo(Demo),
    /// Import, list or remove container images.
    Image(Image),
    /// Run only the StatefulSet controller, against any cluster whose own is off.
    Controller(Controller),
    /// Write everything the API holds to a file, while the cluster runs.
    Backup(BackupFile),
    /// Make the API hold what a backup holds, while the cluster runs.
    Restore(BackupFile),
    /// Say why a set, pod, claim or Service does not go on, and what ends it; for any cluster.
    Why(crate::why::Why),
    /// Follow, undo, pause or resume the rollout of a StatefulSet; for any cluster.
    Rollout(crate::rollout::Rollout),
    /// Print a script that completes commands in a shell.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// The small web program of the demo image.
    #[command(hide = true)]
    Pet(Pet),
}

/// Which cluster of this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct Cluster {
    /// Name of the cluster; its kubectl context is `stead-NAME`.
    #[arg(long, default_value = "default", value_parser = name)]
    pub name: String,
    /// Folder of its data [default: /var/lib/stead/NAME].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// Flags of `stead up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Up {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// Return once the cluster answers, and leave it running.
    #[arg(long)]
    pub detach: bool,
    /// Port of the API server.
    #[arg(long, default_value_t = 6443)]
    pub port: u16,
    /// Port of the node's kubelet API.
    #[arg(long, default_value_t = 10250)]
    pub kubelet_port: u16,
    /// Addresses of pods; each node gets a /24 of it.
    #[arg(long, default_value = "10.244.0.0/16", value_parser = cidr)]
    pub pod_cidr: Cidr,
    /// Addresses of Services.
    #[arg(long, default_value = "10.96.0.0/16", value_parser = cidr)]
    pub service_cidr: Cidr,
    /// Address of the cluster's DNS, out of the Services' [default: their tenth].
    #[arg(long)]
    pub dns_ip: Option<Ipv4Addr>,
    /// Ports that NodePort Services may have.
    #[arg(long, default_value = "30000-32767", value_parser = port_range)]
    pub node_port_range: PortRange,
    /// Also listen on this address, beside 127.0.0.1 and the pods' gateway; may be repeated.
    #[arg(long)]
    pub bind: Vec<IpAddr>,
    /// Name of this node [default: this machine's].
    #[arg(long)]
    pub node_name: Option<String>,
    /// Controllers to enable: `*` all, `foo` the one named foo; `-foo` disables it.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true
    )]
    pub controllers: Vec<String>,
    /// Upstream's feature gates: MaxUnavailableStatefulSet=true|false (off by default).
    #[arg(long, value_name = "GATE=BOOL", value_delimiter = ',', value_parser = gate)]
    pub feature_gates: Vec<Gate>,
}

impl Up {
    /// Whether a set's own `maxUnavailable` is kept and counts; the last word on it holds.
    #[must_use]
    pub fn max_unavailable_stateful_set(&self) -> bool {
        let last = self.feature_gates.last();
        last.is_some_and(|Gate::MaxUnavailableStatefulSet(open)| *open)
    }
}

/// Flags of `stead down`.
#[derive(Debug, Clone, clap::Args)]
pub struct Down {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// Remove its data, too: objects, volumes, images.
    #[arg(long)]
    pub purge: bool,
}

/// Flags of `stead demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Plain lines instead of a live view, as where there is no terminal.
    #[arg(long)]
    pub plain: bool,
}

/// `stead image …`
#[derive(Debug, Clone, clap::Args)]
pub struct Image {
    /// What to do with images.
    #[command(subcommand)]
    pub action: ImageAction,
}

/// What can be done with images.
#[derive(Debug, Clone, Subcommand)]
pub enum ImageAction {
    /// Add the images of OCI layouts or docker archives.
    Import {
        /// Which cluster.
        #[command(flatten)]
        cluster: Cluster,
        /// The archives.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the images.
    Ls {
        /// Which cluster.
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Forget images by name.
    Rm {
        /// Which cluster.
        #[command(flatten)]
        cluster: Cluster,
        /// Their names, with tags.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// A backup's file.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupFile {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// The file.
    pub file: PathBuf,
}

/// Flags of the demo's web program.
#[derive(Debug, Clone, clap::Args)]
pub struct Pet {
    /// Also list every pod of its Service.
    #[arg(long)]
    pub peers: bool,
}

/// A range of IPv4 addresses: `10.244.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Its first address.
    pub base: Ipv4Addr,
    /// The length of its prefix, 8 to 30.
    pub prefix: u8,
}

impl Cidr {
    /// Its address of this number, counted from its first; `None` past its end.
    #[must_use]
    pub fn nth(self, index: u32) -> Option<Ipv4Addr> {
        let size = 1_u64 << (32 - u32::from(self.prefix));
        (u64::from(index) < size).then(|| Ipv4Addr::from(u32::from(self.base) + index))
    }

    /// Whether this address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.prefix);
        u32::from(address) >> shift == u32::from(self.base) >> shift
    }

    /// Whether two ranges share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

fn name(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let chars = || text.chars();
    if text.len() <= 40 && chars().all(fine) && ends(chars().next()) && ends(chars().next_back()) {
        Ok(text.to_owned())
    } else {
        Err("a name has up to 40 lower-case letters, digits and inner dashes".to_owned())
    }
}

fn cidr(text: &str) -> Result<Cidr, String> {
    let wrong = || format!("`{text}` is no range such as 10.244.0.0/16");
    let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if !(8..=24).contains(&prefix) {
        return Err(format!("`{text}`: the prefix must be from /8 to /24"));
    }
    let mask = u32::MAX << (32 - u32::from(prefix));
    let first = Ipv4Addr::from(u32::from(base) & mask);
    if first != base {
        return Err(format!("`{text}` does not start a range: did you mean {first}/{prefix}?"));
    }
    if base.is_loopback() || base.is_link_local() || base.is_multicast() || base.octets()[0] == 0 {
        return Err(format!("`{text}` is reserved for other uses: try 10.244.0.0/16 or its like"));
    }
    Ok(Cidr { base, prefix })
}

fn port_range(text: &str) -> Result<PortRange, String> {
    let wrong = || format!("`{text}` is no range such as 30000-32767");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let last: u16 = last.parse().map_err(|_| wrong())?;
    if first == 0 || first > last { Err(wrong()) } else { Ok(PortRange { first, last }) }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    /// Commands of stead in a document: lines of console blocks, and words between backticks.
    fn commands(document: &str) -> Vec<String> {
        let mut inside = false;
        let mut found = Vec::new();
        for line in document.lines() {
            if line.starts_with("```") {
                inside = line == "```console";
                continue;
            }
            let pieces: Vec<&str> =
                if inside { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
            let simple =
                pieces.iter().flat_map(|piece| piece.split(['>', '#', '(', ')', '&', ';']));
            let simple = simple.map(|text| text.trim().trim_start_matches("sudo "));
            found.extend(simple.filter(|text| text.starts_with("stead ")).map(str::to_owned));
        }
        found
    }

    #[test]
    fn the_documents_use_what_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut seen = 0;
        for file in ["README.md", "docs/install.md", "docs/nodes.md", "docs/storage.md"]
            .into_iter()
            .chain(["docs/troubleshoot.md", "docs/upgrade.md"])
        {
            for line in commands(&std::fs::read_to_string(root.join(file)).unwrap()) {
                seen += 1;
                if let Err(error) = Args::try_parse_from(line.split_whitespace()) {
                    assert!(!error.use_stderr(), "{file}: {line}: {error}");
                }
            }
        }
        assert!(seen > 20, "the documents show how stead is used: {seen}");
    }

    #[test]
    fn help_says_what_it_is_first() {
        let help = Args::command().render_help().to_string();
        assert!(help.starts_with("A Kubernetes for StatefulSets in one binary"), "{help}");
    }

    #[test]
    fn every_shell_completes_the_verbs() {
        for shell in
            [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
        {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "stead", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["why", "rollout", "undo", "kubeconfig"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn flags_that_make_no_sense_are_refused_by_name() {
        for (line, said) in [
            ("stead up --pod-cidr 10.244.0.1/16", "did you mean 10.244.0.0/16?"),
            ("stead up --pod-cidr 10.244.0.0/30", "from /8 to /24"),
            ("stead up --pod-cidr 127.0.0.0/8", "reserved for other uses"),
            ("stead up --service-cidr ten", "is no range such as"),
            ("stead up --node-port-range 9-3", "is no range such as 30000-32767"),
            ("stead up --name Big_Name", "lower-case letters"),
            ("stead image import", "required"),
            ("stead controller --leader-elect-lease-duration 15", "is no duration such as 15s"),
            ("stead controller --feature-gates=Nope=true", "unrecognized feature gate: Nope"),
            ("stead up --feature-gates=Nope=true", "unrecognized feature gate: Nope"),
            ("stead controller --concurrent-statefulset-syncs 0", "at least 1"),
            ("stead why", "required"),
            ("stead why sts web more", "unexpected"),
            ("stead why sts/web --name x --kubeconfig y", "cannot be used with"),
            ("stead rollout undo sts/web --to-revision last", "invalid value"),
        ] {
            let error = Args::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn ranges() {
        let pods = cidr("10.244.0.0/16").unwrap();
        assert_eq!(pods.nth(1).unwrap().to_string(), "10.244.0.1");
        assert_eq!(pods.nth(65536), None);
        assert!(pods.overlaps(cidr("10.244.7.0/24").unwrap()));
        assert!(!pods.overlaps(cidr("10.96.0.0/16").unwrap()));
    }
}
