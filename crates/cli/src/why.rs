//! `stead why KIND/NAME`: gathers what can be read, and prints the root cause and its cure.

use anyhow::{Result, bail};
use diagnosis::{Explanation, Subject, SubjectKind};
use jiff::Timestamp;

use crate::{gather, reach::Reach};

/// Flags of `stead why`.
#[derive(Debug, Clone, clap::Args)]
pub struct Why {
    /// What is asked about: KIND/NAME or KIND NAME; a statefulset (sts), pod (po),
    /// persistentvolumeclaim (pvc) or service (svc).
    #[arg(required = true, num_args = 1..=2, value_name = "KIND/NAME")]
    pub what: Vec<String>,
    /// How the answer is printed.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Which cluster.
    #[command(flatten)]
    pub reach: Reach,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Three lines: what is stuck, why, and the cure; one line when nothing is.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer itself.
    pub text: String,
    /// What could not be read, a line each.
    pub notes: String,
}

/// Asks the cluster, and says why.
///
/// # Errors
///
/// When the object is not there, or the cluster cannot be asked.
pub async fn run(why: &Why, now: Timestamp) -> Result<Answer> {
    let subject = subject(&why.what)?;
    let reached = why.reach.connect().await?;
    let found = gather::explain(&reached, &subject, now).await?;
    let Some(found) = found else {
        bail!(
            "{} {:?} not found in namespace {}",
            subject.kind.resource(),
            subject.name,
            reached.namespace
        );
    };
    Ok(print(&found, why.output))
}

fn print(found: &Explanation, output: Output) -> Answer {
    if output == Output::Json {
        return Answer { text: format!("{:#}\n", found.json()), notes: String::new() };
    }
    let notes = found.unseen.iter().map(|(part, why)| format!("note: {part} not read: {why}\n"));
    Answer { text: format!("{found}\n"), notes: notes.collect() }
}

/// `sts/web`, or `sts web`.
pub(crate) fn subject(words: &[String]) -> Result<Subject> {
    let (kind, name) = match words {
        [both] => match both.split_once('/') {
            Some(parts) => parts,
            None => bail!("{both:?} names no object: write KIND/NAME, such as statefulset/{both}"),
        },
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => bail!("name one object: KIND/NAME"),
    };
    let Some(kind) = SubjectKind::parse(kind) else {
        bail!(
            "{kind:?} cannot be explained: statefulset, pod, persistentvolumeclaim and service can"
        );
    };
    if name.is_empty() || name.contains('/') {
        bail!("{name:?} is no name of an object");
    }
    Ok(Subject { kind, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::subject;

    #[test]
    fn subjects() {
        for (words, meant) in [
            ("sts/web", "statefulset/web"),
            ("StatefulSets.apps/web", "statefulset/web"),
            ("po web-0", "pod/web-0"),
            ("persistentvolumeclaim/data-web-0", "pvc/data-web-0"),
            ("svc nginx", "service/nginx"),
            ("web", "\"web\" names no object: write KIND/NAME, such as statefulset/web"),
            (
                "deploy/web",
                "\"deploy\" cannot be explained: statefulset, pod, persistentvolumeclaim and service can",
            ),
            ("sts/", "\"\" is no name of an object"),
            ("sts/a/b", "\"a/b\" is no name of an object"),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let found = match subject(&words) {
                Ok(found) => format!("{}/{}", found.kind.word(), found.name),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, meant, "{words:?}");
        }
    }
}
