//! `stead rollout status`: a line whenever something changed, until it is done.

use std::{pin::pin, time::Duration};

use anyhow::{Result, bail};
use client::kube::runtime::{WatchStreamExt as _, watcher};
use diagnosis::{Subject, SubjectKind};
use futures::TryStreamExt as _;
use jiff::Timestamp;

use super::{
    Place,
    report::{Report, report},
};
use crate::gather;

/// Follows the set until it is done, or the time is up.
pub(crate) async fn run(
    place: &Place,
    once: bool,
    timeout_s: u64,
    now: impl Fn() -> Timestamp,
    say: &mut (dyn FnMut(&str) -> Result<()> + Send),
) -> Result<()> {
    let first = report(&place.set().await?, place.policy().await?.as_ref());
    if once || matches!(first, Report::Done(_)) {
        return end(first, say);
    }
    let followed = async {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let mut changes = pin!(watcher(place.sets(), config).default_backoff().applied_objects());
        let mut last = None;
        while let Some(set) = changes.try_next().await? {
            let found = report(&set, place.policy().await?.as_ref());
            match &found {
                Report::Goes(text) if last.as_ref() != Some(&found) => say(text)?,
                Report::Goes(_) => (),
                Report::Done(_) | Report::Failed(_) => return end(found, say),
            }
            last = Some(found);
        }
        bail!("the watch of statefulset {:?} ended", place.name)
    };
    if timeout_s == 0 {
        return followed.await;
    }
    match tokio::time::timeout(Duration::from_secs(timeout_s), followed).await {
        Ok(ended) => ended,
        Err(_) => {
            let subject = Subject { kind: SubjectKind::Set, name: place.name.clone() };
            let why = gather::explain(&place.reached, &subject, now()).await?;
            let why = why.map(|why| format!("\n{why}")).unwrap_or_default();
            bail!("timed out waiting for the condition{why}")
        }
    }
}

fn end(found: Report, say: &mut (dyn FnMut(&str) -> Result<()> + Send)) -> Result<()> {
    match found {
        Report::Goes(text) | Report::Done(text) => say(&text),
        Report::Failed(text) => bail!(text),
    }
}
