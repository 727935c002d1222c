//! `stead rollout`: follow, undo, pause and resume a set's rollout, through the API alone.
//!
//! `report` says in words how a rollout stands; `history` chooses revisions; both are pure.
//! Messages are kubectl's where kubectl has one. What a set cannot say of itself (paused) stands
//! in its StatefulSetPolicy.

mod change;
mod follow;
mod history;
mod report;

use anyhow::{Result, bail};
use client::kube::{Api, api::ListParams};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

use api::policy::StatefulSetPolicy;
use diagnosis::SubjectKind;

use crate::reach::{Reach, Reached};

/// `stead rollout …`
#[derive(Debug, Clone, clap::Args)]
pub struct Rollout {
    /// What to do with the rollout.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a rollout.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Follow it until every pod is available at the new revision.
    Status {
        /// Which set.
        #[command(flatten)]
        set: Set,
        /// Say once how it stands; do not wait.
        #[arg(long)]
        once: bool,
        /// Stop waiting after so many seconds, and say why it is not done; 0 never stops.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        timeout: u64,
    },
    /// List the revisions of the set's template.
    History {
        /// Which set.
        #[command(flatten)]
        set: Set,
        /// Print the template of this one.
        #[arg(long)]
        revision: Option<i64>,
    },
    /// Set the template back: to the last revision that was rolled out whole, or to a chosen one.
    Undo {
        /// Which set.
        #[command(flatten)]
        set: Set,
        /// Number of the revision.
        #[arg(long, value_name = "N")]
        to_revision: Option<i64>,
    },
    /// Hold it: no pod gets the new template until it is resumed (by a StatefulSetPolicy).
    Pause {
        /// Which set.
        #[command(flatten)]
        set: Set,
    },
    /// Let it go on.
    Resume {
        /// Which set.
        #[command(flatten)]
        set: Set,
    },
    /// Replace every pod, in order, with the same template.
    Restart {
        /// Which set.
        #[command(flatten)]
        set: Set,
    },
    /// Give up a rollout that is not done: back to the last revision that was rolled out whole.
    Return {
        /// Which set.
        #[command(flatten)]
        set: Set,
    },
}

/// Which set of which cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// The set: statefulset/NAME or statefulset NAME (sts for short).
    #[arg(required = true, num_args = 1..=2, value_name = "statefulset/NAME")]
    pub what: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub reach: Reach,
}

/// Does it; `say` gets each line as it comes.
///
/// # Errors
///
/// When the set is not there, the cluster refuses, or the rollout failed.
pub async fn run(
    rollout: &Rollout,
    now: impl Fn() -> Timestamp,
    say: &mut (dyn FnMut(&str) -> Result<()> + Send),
) -> Result<()> {
    match &rollout.action {
        Action::Status { set, once, timeout } => {
            let place = Place::find(set).await?;
            follow::run(&place, *once, *timeout, now, say).await
        }
        Action::History { set, revision } => {
            let place = Place::find(set).await?;
            let (set, revisions) = (place.set().await?, place.revisions().await?);
            say(history::print(&set, &history::own(&set, revisions), *revision)?.trim_end())
        }
        Action::Undo { set, to_revision } => {
            change::undo(&Place::find(set).await?, *to_revision, say).await
        }
        Action::Return { set } => change::give_up(&Place::find(set).await?, say).await,
        Action::Pause { set } => change::pause(&Place::find(set).await?, true, say).await,
        Action::Resume { set } => change::pause(&Place::find(set).await?, false, say).await,
        Action::Restart { set } => change::restart(&Place::find(set).await?, now(), say).await,
    }
}

/// A set in its cluster.
struct Place {
    reached: Reached,
    name: String,
}

impl Place {
    async fn find(set: &Set) -> Result<Self> {
        let subject = crate::why::subject(&set.what)?;
        if subject.kind != SubjectKind::Set {
            bail!("only a statefulset has a rollout here, and {} is none", set.what.join(" "));
        }
        Ok(Self { reached: set.reach.connect().await?, name: subject.name })
    }

    fn sets(&self) -> Api<StatefulSet> {
        Api::namespaced(self.reached.client.clone(), &self.reached.namespace)
    }

    fn policies(&self) -> Api<StatefulSetPolicy> {
        Api::namespaced(self.reached.client.clone(), &self.reached.namespace)
    }

    async fn set(&self) -> Result<StatefulSet> {
        Ok(self.sets().get(&self.name).await?)
    }

    async fn revisions(&self) -> Result<Vec<ControllerRevision>> {
        let api: Api<ControllerRevision> =
            Api::namespaced(self.reached.client.clone(), &self.reached.namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// The set's policy; `None` where it has none, or the cluster does not know the kind.
    async fn policy(&self) -> Result<Option<StatefulSetPolicy>> {
        let found = match self.policies().list(&ListParams::default()).await {
            Ok(found) => found.items,
            Err(client::kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut mine = found.into_iter().filter(|p| p.spec.stateful_set_name == self.name);
        let first = mine.next();
        if let (Some(first), Some(second)) = (&first, mine.next()) {
            let name =
                |policy: &StatefulSetPolicy| policy.metadata.name.clone().unwrap_or_default();
            bail!(
                "two policies name statefulset {:?}, so neither acts: delete {} or {}",
                self.name,
                name(first),
                name(&second)
            );
        }
        Ok(first)
    }
}
