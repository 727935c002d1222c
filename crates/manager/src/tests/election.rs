//! Elections against a small API server, on paused time.

use std::{sync::Arc, time::Duration};

use client::{Identity, in_process};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::fake::Fake;
use crate::{Election, Elector, Lost};

fn elector(fake: &Fake, identity: &str) -> Elector {
    let client = in_process(fake.service(), Identity::component(identity));
    let election = Election::new("kube-system", "stead", identity);
    let started = Instant::now();
    let now = move || Timestamp::UNIX_EPOCH + started.elapsed();
    Elector::new(client, election, Arc::new(now), 7)
}

fn lease(fake: &Fake) -> Value {
    fake.get("leases", "kube-system", "stead").unwrap()["spec"].take()
}

fn holder(fake: &Fake) -> String {
    lease(fake)["holderIdentity"].as_str().unwrap().to_owned()
}

#[test]
fn times_that_cannot_work_are_refused() {
    let election = Election::new("", "", "");
    assert_eq!(election.check(), Ok(()));
    let with = |lease, renew, retry| {
        let [lease, renew_deadline, retry] = [lease, renew, retry].map(Duration::from_secs);
        Election { lease, renew_deadline, retry, ..election.clone() }.check()
    };
    assert_eq!(with(10, 10, 2), Err("leaseDuration must be greater than renewDeadline"));
    assert_eq!(
        with(15, 12, 10),
        Err("renewDeadline must be greater than retryPeriod*JitterFactor")
    );
    assert_eq!(with(15, 10, 0), Err("retryPeriod must be greater than zero"));
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_waits() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    assert_eq!(
        lease(&fake),
        json!({"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "1970-01-01T00:00:00.000000Z", "renewTime": "1970-01-01T00:00:00.000000Z"})
    );
    let mut two = elector(&fake, "two");
    let both = async {
        tokio::select! { lost = one.hold() => panic!("{lost}"), () = two.acquire() => panic!("two") }
    };
    assert!(timeout(Duration::from_secs(600), both).await.is_err());
    assert_eq!(holder(&fake), "one");
    assert_eq!(lease(&fake)["acquireTime"], "1970-01-01T00:00:00.000000Z");
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_its_lease_not_before() {
    let fake = Fake::default();
    elector(&fake, "one").acquire().await;
    sleep(Duration::from_secs(3600)).await;
    // Two comes late: what it has not seen change may still be alive, whatever the clocks say.
    let started = Instant::now();
    elector(&fake, "two").acquire().await;
    let waited = started.elapsed();
    assert!((15..20).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!((holder(&fake).as_str(), &lease(&fake)["leaseTransitions"]), ("two", &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    one.release().await.unwrap();
    assert_eq!((holder(&fake).as_str(), &lease(&fake)["leaseDurationSeconds"]), ("", &json!(1)));
    one.release().await.unwrap();
    let started = Instant::now();
    elector(&fake, "two").acquire().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(lease(&fake)["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_ends_before_others_may_begin() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    fake.fail("leases", Some(500));
    let started = Instant::now();
    assert_eq!(one.hold().await, Lost);
    let held = started.elapsed();
    assert!((10..15).contains(&held.as_secs()), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_fault_is_survived() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    fake.fail("leases", Some(500));
    let healed = async {
        sleep(Duration::from_secs(7)).await;
        fake.fail("leases", None);
        sleep(Duration::from_secs(60)).await;
    };
    tokio::select! { lost = one.hold() => panic!("{lost}"), () = healed => () }
    assert_eq!(holder(&fake), "one");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_lost_at_once() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    let mut taken = fake.get("leases", "kube-system", "stead").unwrap();
    taken["spec"]["holderIdentity"] = json!("two");
    fake.put("leases", taken);
    let started = Instant::now();
    assert_eq!(one.hold().await, Lost);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(holder(&fake), "two");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_gone_is_made_again() {
    let fake = Fake::default();
    let mut one = elector(&fake, "one");
    one.acquire().await;
    fake.remove("leases", "kube-system", "stead");
    let look = async {
        sleep(Duration::from_secs(5)).await;
        assert_eq!(holder(&fake), "one");
    };
    tokio::select! { lost = one.hold() => panic!("{lost}"), () = look => () }
}
