//! Leader election: of all processes that ask for one Lease, one holds it and works.
//!
//! ```text
//!   acquire ─(nobody holds it, or nobody renewed it for its duration)─▶ hold ─▶ release
//!      ▲            time is measured here, from the moment a change was seen     │
//!      └──────────── another process ◀── lost: not renewed before the deadline ──┘
//! ```
//!
//! The times in the Lease are for people: clocks of different machines are never compared. Who could
//! not renew for the deadline must have ended before others may take over, so the deadline is
//! shorter than the duration.
//!
//! Source: client-go v1.36 `tools/leaderelection`.

use std::{sync::Arc, time::Duration};

use client::kube::{self, Api, api::PostParams};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

/// Between two attempts to acquire lies the retry period and up to so many tenths of it more.
const JITTER_TENTHS: u64 = 12;

/// Which Lease, who asks for it, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who asks; no two processes may have the same.
    pub identity: String,
    /// How long others wait after the last renewal that they saw. Upstream's default is 15 s.
    pub lease: Duration,
    /// How long the holder tries to renew before it gives up; shorter than `lease`. 10 s upstream.
    pub renew_deadline: Duration,
    /// Between two attempts. 2 s upstream.
    pub retry: Duration,
}

impl Election {
    /// Upstream's times.
    #[must_use]
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    /// Upstream's conditions on the times.
    ///
    /// # Errors
    ///
    /// The sentence that says which one does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.lease <= self.renew_deadline {
            return Err("leaseDuration must be greater than renewDeadline");
        }
        if self.renew_deadline.as_millis() * 10
            <= self.retry.as_millis() * u128::from(JITTER_TENTHS)
        {
            return Err("renewDeadline must be greater than retryPeriod*JitterFactor");
        }
        if self.lease < Duration::from_secs(1) {
            return Err("leaseDuration must be greater than zero");
        }
        if self.retry.is_zero() {
            return Err("retryPeriod must be greater than zero");
        }
        Ok(())
    }
}

/// The Lease could not be renewed before the deadline: someone else may hold it soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("leaderelection lost")]
pub struct Lost;

/// One process's part in an election.
pub struct Elector {
    api: Api<Lease>,
    election: Election,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    random: u64,
    seen: Option<Seen>,
}

/// The Lease as last seen, and when it was first seen so.
struct Seen {
    lease: Lease,
    at: Instant,
}

impl std::fmt::Debug for Elector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elector").field("election", &self.election).finish_non_exhaustive()
    }
}

impl Elector {
    /// Asks through `client`; `now` is what the Lease shows to people, `seed` spreads the attempts.
    #[must_use]
    pub fn new(
        client: kube::Client,
        election: Election,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        seed: u64,
    ) -> Self {
        let api = Api::namespaced(client, &election.namespace);
        Self { api, election, now, random: seed, seen: None }
    }

    /// Returns once this process holds the Lease.
    pub async fn acquire(&mut self) {
        let mut told = String::new();
        loop {
            match timeout(self.election.renew_deadline, self.attempt()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {
                    let holder = self.holder().to_owned();
                    if holder != told {
                        tracing::info!(holder, "another process leads; waiting");
                        told = holder;
                    }
                }
                Ok(Err(error)) => self.complain(&error),
                Err(_) => tracing::warn!(lease = self.election.name, "the API does not answer"),
            }
            let wait = self.jittered();
            sleep(wait).await;
        }
    }

    /// Renews the Lease for as long as it is polled; returns when it could not before the deadline.
    pub async fn hold(&mut self) -> Lost {
        loop {
            sleep(self.election.retry).await;
            let deadline = Instant::now() + self.election.renew_deadline;
            loop {
                match tokio::time::timeout_at(deadline, self.attempt()).await {
                    Ok(Ok(true)) => break,
                    Ok(Ok(false)) => {
                        tracing::error!(holder = self.holder(), "another process took the lease");
                        return Lost;
                    }
                    Ok(Err(error)) => self.complain(&error),
                    Err(_) => return Lost,
                }
                if Instant::now() + self.election.retry >= deadline {
                    tokio::time::sleep_until(deadline).await;
                    return Lost;
                }
                sleep(self.election.retry).await;
            }
        }
    }

    /// Gives the Lease back, so that others need not wait; does nothing when it is not held.
    ///
    /// # Errors
    ///
    /// kube's; the Lease then runs out by itself.
    pub async fn release(&mut self) -> Result<(), kube::Error> {
        if !self.holds() {
            return Ok(());
        }
        let Some(seen) = &self.seen else { return Ok(()) };
        let mut lease = seen.lease.clone();
        let now = Some(MicroTime((self.now)()));
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time.clone_from(&now);
        spec.acquire_time = now;
        self.replace(lease).await
    }

    /// Whether the Lease names this process, as far as it was seen.
    fn holds(&self) -> bool {
        self.holder() == self.election.identity
    }

    fn holder(&self) -> &str {
        let spec = self.seen.as_ref().and_then(|seen| seen.lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
    }

    /// Whether whoever holds the Lease, as last seen, must be taken to be alive.
    fn is_valid(&self) -> bool {
        let Some(seen) = &self.seen else { return false };
        let own = seen.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let own = own.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        seen.at.elapsed() < own.unwrap_or(self.election.lease)
    }

    /// Acquires or renews: whether this process holds the Lease now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        if self.holds() && self.is_valid() {
            let renewed = self.renewed();
            match self.replace(renewed).await {
                Ok(()) => return Ok(true),
                // It may have changed meanwhile, or be gone: look.
                Err(error) => tracing::debug!(%error, "the lease was not renewed at once"),
            }
        }
        match self.api.get_opt(&self.election.name).await? {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.election.name.clone()),
                        namespace: Some(self.election.namespace.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(self.spec(None)),
                };
                let made = self.api.create(&PostParams::default(), &lease).await?;
                self.see(made);
            }
            Some(found) => {
                self.see(found);
                if !self.holder().is_empty() && !self.holds() && self.is_valid() {
                    return Ok(false);
                }
                let renewed = self.renewed();
                self.replace(renewed).await?;
            }
        }
        Ok(true)
    }

    /// The Lease as last seen, taken or renewed by this process.
    fn renewed(&self) -> Lease {
        let mut lease = self.seen.as_ref().map(|seen| seen.lease.clone()).unwrap_or_default();
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        lease
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime((self.now)()));
        let kept = before.filter(|spec| {
            spec.holder_identity.as_deref() == Some(self.election.identity.as_str())
        });
        let transitions = before.map_or(0, |spec| spec.lease_transitions.unwrap_or(0));
        let seconds = i32::try_from(self.election.lease.as_secs()).unwrap_or(i32::MAX);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: kept.map_or_else(|| now.clone(), |spec| spec.acquire_time.clone()),
            renew_time: now,
            lease_transitions: Some(match (before, kept) {
                (Some(_), None) => transitions.saturating_add(1),
                _ => transitions,
            }),
            ..LeaseSpec::default()
        }
    }

    /// Writes the Lease if it is still in the version that was seen.
    async fn replace(&mut self, lease: Lease) -> Result<(), kube::Error> {
        let new = self.api.replace(&self.election.name, &PostParams::default(), &lease).await?;
        self.see(new);
        Ok(())
    }

    fn see(&mut self, mut lease: Lease) {
        lease.metadata.managed_fields = None;
        match &mut self.seen {
            Some(seen) if seen.lease.spec == lease.spec => seen.lease = lease,
            seen => *seen = Some(Seen { lease, at: Instant::now() }),
        }
    }

    fn complain(&self, error: &kube::Error) {
        let (namespace, name) = (&self.election.namespace, &self.election.name);
        match error {
            // Someone was faster, or there are several beginners: the next look tells.
            kube::Error::Api(status) if status.code == 409 => {
                tracing::debug!(%error, "another process was faster");
            }
            _ => {
                tracing::warn!(%error, lease = %format!("{namespace}/{name}"), "the lease could not be held")
            }
        }
    }

    fn jittered(&mut self) -> Duration {
        // A linear congruential step (Knuth's MMIX) is enough to spread attempts.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let retry = u64::try_from(self.election.retry.as_millis()).unwrap_or(u64::MAX);
        let more = retry.saturating_mul(JITTER_TENTHS) / 10;
        let more = if more == 0 { 0 } else { (self.random >> 33) % more };
        Duration::from_millis(retry.saturating_add(more))
    }
}
