//! How many requests are answered at once, by class of user, so that one cannot starve the rest.

use std::sync::Arc;

use api::{ApiError, Reason};
use client::Identity;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

use crate::path::Ask;

/// Upstream's `--max-requests-inflight` (400) and `--max-mutating-requests-inflight` (200) as one.
const IN_FLIGHT_MAX: usize = 600;
/// How long a request waits for its turn before 429.
const WAIT: Duration = Duration::from_secs(5);

/// The places of both classes.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Nodes, service accounts of `kube-system`, components.
    system: Arc<Semaphore>,
    /// Everyone else.
    people: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let places = || Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        Self { system: places(), people: places() }
    }
}

impl Limits {
    /// Takes a place until the answer is made; watches and masters need none.
    ///
    /// # Errors
    ///
    /// 429 when none becomes free.
    pub(crate) async fn enter(
        &self,
        user: &Identity,
        ask: &Ask,
    ) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        let member = |group: &str| user.groups.iter().any(|found| found == group);
        let unlimited = !ask.about_resource || !ask.subresource.is_empty() || ask.verb == "watch";
        if unlimited || member("system:masters") {
            return Ok(None);
        }
        let system = member("system:nodes")
            || member("system:serviceaccounts:kube-system")
            || user.user.starts_with("system:kube-");
        let places = if system { &self.system } else { &self.people };
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        match timeout(WAIT, places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) | Err(_) => {
                let text = "Too many requests, please try again later.";
                Err(ApiError::new(Reason::TooManyRequests, text).retry_after_s(1))
            }
        }
    }
}
