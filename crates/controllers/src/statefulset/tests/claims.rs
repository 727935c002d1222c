//! Rows of claims: K1 to K11.

use api::k8s::api::core::v1::PersistentVolumeClaim;

use super::{
    super::{claim_name, reconcile},
    case::{check, view},
};
use crate::Verb;

#[test]
fn k1_claims_are_named_labelled_and_unowned() {
    assert_eq!(claim_name("data", "web", 3), "data-web-3");
    let mut seen = view("1@a data |");
    let set = std::sync::Arc::make_mut(&mut seen.set);
    let template = &mut set.spec.as_mut().unwrap().volume_claim_templates.as_mut().unwrap()[0];
    template.metadata.labels =
        Some([("app", "template"), ("tier", "x")].map(|(k, v)| (k.into(), v.into())).into());
    template.metadata.annotations = Some([("note".to_owned(), "kept".to_owned())].into());
    let plan = reconcile(&seen);
    let claim = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Create(object) => object.as_any().downcast_ref::<PersistentVolumeClaim>(),
        _ => None,
    });
    let claim = claim.unwrap();
    assert_eq!(claim.metadata.name.as_deref(), Some("data-web-0"));
    assert_eq!(claim.metadata.namespace.as_deref(), Some("default"));
    let labels = claim.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["app"], "web", "matchLabels win");
    assert_eq!(labels["tier"], "x");
    assert_eq!(claim.metadata.annotations.as_ref().unwrap()["note"], "kept");
    assert_eq!(claim.metadata.owner_references, None);
    let wants = claim.spec.as_ref().unwrap().resources.as_ref().unwrap().requests.as_ref();
    assert_eq!(wants.unwrap()["storage"].0, "1Gi");
}

#[test]
fn k2_claims_come_before_their_pod() {
    check(
        "
        1@a data | |                  => create data-web-0; create 0@a; until 0 is healthy
        1@a data | | 0:plain          => create 0@a; until 0 is healthy
        1@a data | | 0:going          => say FailedCreate; until claim data-web-0 is gone
        2@a data parallel | | 0:going => say FailedCreate; create data-web-1; create 1@a; until claim data-web-0 is gone
        ",
    );
    let groups = |case: &str| -> Vec<u32> {
        reconcile(&view(case)).actions.iter().map(|action| action.group).collect()
    };
    let groups = groups("1@a data counts=0/0/0/0/0 |");
    assert!(groups[0] < groups[1], "the pod waits for its claim");
    // And for no claim of another: where a quota ends half-way, what has its claims is made.
    let groups = |case: &str| -> Vec<(String, u32)> {
        let plan = reconcile(&view(case));
        let creates = plan.actions.iter().filter(|one| matches!(one.verb, Verb::Create(_)));
        creates.map(|one| (one.to_string(), one.group)).collect()
    };
    let made = groups("2@a parallel data | | 0:plain");
    let of = |name: &str| made.iter().find(|(text, _)| text.ends_with(name)).unwrap().1;
    assert!(of("Pod web-0") == of("data-web-1") && of("data-web-1") < of("Pod web-1"), "{made:?}");
}

#[test]
fn l3_k3_a_pending_pod_gets_back_what_was_lost() {
    check(
        "
        1@a data | 0:pending@a |              => create data-web-0; until 0 is healthy
        1@a data parallel | 0:pending@a |     => create data-web-0; until 0 is healthy
        1@a data | 0:pending-term@a |         => create data-web-0; until 0 is gone
        1@a data | 0:ok@a |                   => nothing
        1@a data | 0:unready@a |              => until 0 is healthy
        // Its name stays free for a second, so that whoever waits for its end sees that.
        1@a data | 0:pending@a | 0:gone=0           => until 0 is healthy; look again in 1s
        1@a data parallel | 0:pending@a | 0:gone=9  => until 0 is healthy; look again in 0s
        1@a data | 0:pending@a | 0:gone=10          => create data-web-0; until 0 is healthy
        // Who makes a pod makes its claim with it.
        1@a data | | 0:gone=0                       => create data-web-0; create 0@a; until 0 is healthy
        ",
    );
}

#[test]
fn k3_fix_a_pod_and_its_claim_do_not_wait_for_each_other() {
    check(
        "
        1@a data | 0:placed@a | 0:going          => delete 0; until 0 is gone
        1@a data parallel | 0:placed@a | 0:going => delete 0; until 0 is gone
        2@a data | 0:ok@a 1:placed@a | 0:plain 1:going => delete 1; until 1 is gone
        3@a data parallel | 0:placed@a 1:ok@a 2:placed@a | 0:going 1:going 2:going => delete 0; delete 2; until 2 is gone
        1@a data | 0:placed-term@a | 0:going     => until 0 is gone
        // Its data is lost by nobody but who deleted the claim: what may start, or has, stays.
        1@a data | 0:placed@a | 0:plain          => until 0 is healthy
        1@a data | 0:placed-mounted@a | 0:going  => until 0 is healthy
        1@a data | 0:placed-begun@a | 0:going    => until 0 is healthy
        1@a data | 0:unready@a | 0:going         => until 0 is healthy
        1@a data | 0:ok@a | 0:going              => nothing
        // Without a node it does not hold its claim.
        1@a data | 0:pending@a | 0:going         => until 0 is healthy
        // A claim that is not the set's, or not this pod's, is another's business.
        1@a | 0:placed@a | 0:going               => until 0 is healthy
        2@a data | 0:placed@a | 0:plain 1:going  => until 0 is healthy
        // In order, and two that are not wanted do not hold each other.
        2@a data | 0:unready@a 1:placed@a | 0:plain 1:going => until 0 is healthy
        0@a data | 0:placed@a 1:placed@a | 0:going 1:going  => delete 1; until 1 is gone
        // A rollout that is paused, or kept back, does not keep it.
        1@b from=a data partition=1 | 0:placed@a | 0:going  => delete 0; until 0 is gone
        1@b from=a data ondelete | 0:placed@a | 0:going     => delete 0; until 0 is gone
        1@b from=a data | 0:placed@a | 0:going | paused     => delete 0; until 0 is gone
        ",
    );
    let plan = reconcile(&view("1@a data | 0:placed@a | 0:going"));
    let versions: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.verb {
            Verb::Delete { resource_version, .. } => Some(resource_version.as_deref()),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [Some("1")], "what has changed meanwhile is decided anew");
}

#[test]
fn k5_owners_follow_the_policy() {
    check(
        "
        // whenScaled, whenDeleted; a pod in range and one that is not
        1@a data                               | 0:ok@a 1:ok@a | 0:set   1:pod   => own data-web-0: nobody; own data-web-1: nobody; delete 1; until 1 is gone
        1@a data deleted=Delete                | 0:ok@a 1:ok@a | 0:plain 1:plain => own data-web-0: set; own data-web-1: set; delete 1; until 1 is gone
        1@a data scaled=Delete                 | 0:ok@a 1:ok@a | 0:plain 1:plain => own data-web-1: pod-1; delete 1; until 1 is gone
        1@a data scaled=Delete deleted=Delete  | 0:ok@a 1:ok@a | 0:plain 1:set   => own data-web-0: set; own data-web-1: pod-1; delete 1; until 1 is gone
        // What is right already stays untouched.
        1@a data scaled=Delete deleted=Delete  | 0:ok@a 1:ok@a | 0:set   1:pod   => delete 1; until 1 is gone
        1@a data deleted=Delete                | 0:ok@a | 0:set                  => nothing
        // A pod that is wanted again takes its claim back.
        1@a data scaled=Delete                 | 0:ok@a | 0:pod                  => own data-web-0: nobody
        1@a data scaled=Delete deleted=Delete  | 0:ok@a | 0:pod                  => own data-web-0: set
        // An unknown policy is Retain (K7).
        1@a data scaled=What deleted=What      | 0:ok@a | 0:set                  => own data-web-0: nobody
        ",
    );
}

#[test]
fn k6_when_owners_are_set() {
    check(
        "
        1@a data deleted=Delete | | 0:plain             => own data-web-0: set; create 0@a; until 0 is healthy
        1@a data deleted=Delete | 0:pending@a | 0:plain => own data-web-0: set; until 0 is healthy
        1@a data deleted=Delete | 0:unready@a | 0:plain => until 0 is healthy
        1@a data deleted=Delete parallel | 0:unready@a | 0:plain => own data-web-0: set; until 0 is healthy
        1@a data deleted=Delete parallel | 0:pending@a | 0:plain => own data-web-0: set; until 0 is healthy
        // All condemned pods' claims before any condemned pod goes.
        0@a data scaled=Delete | 0:ok@a 1:ok@a | 0:plain 1:plain => own data-web-0: pod-0; own data-web-1: pod-1; delete 1; until 1 is gone
        ",
    );
}

/// Section 18, K6: upstream also sends an update of the pod that changes nothing, with an event.
#[test]
fn k6_fix_no_update_of_the_pod() {
    check("1@a data deleted=Delete | 0:ok@a | 0:plain => own data-web-0: set");
}

#[test]
fn k7_what_is_left_alone() {
    check(
        "
        // (a) a namesake that is gone: the garbage collector's business
        1@a data deleted=Delete | 0:ok@a | 0:oldset      => nothing
        1@a data deleted=Delete | 0:ok@a | 0:oldpod      => nothing
        1@a data                | 0:ok@a | 0:oldset+boss => nothing
        // (b) another controller: ours are scrubbed, none is added
        1@a data deleted=Delete | 0:ok@a | 0:boss        => say ConflictingController
        1@a data deleted=Delete | 0:ok@a | 0:boss+~set   => say ConflictingController; own data-web-0: boss
        1@a data                | 0:ok@a | 0:boss        => nothing
        1@a data                | 0:ok@a | 0:boss+~set   => own data-web-0: boss
        // (c) listed, but not as controller
        1@a data deleted=Delete | 0:ok@a | 0:~set        => own data-web-0: set
        // (d) owners that do not control are kept
        1@a data deleted=Delete | 0:ok@a | 0:~friend     => own data-web-0: ~friend+set
        1@a data                | 0:ok@a | 0:~friend+set => own data-web-0: ~friend
        ",
    );
}

/// K8, and K9 of section 18: upstream waits in silence, and nothing wakes it when the claim is gone;
/// ours says what it waits for, and watches claims.
#[test]
fn k8_k9_fix_a_claim_of_an_earlier_pod_is_waited_for() {
    check(
        "
        2@a data scaled=Delete | 0:ok@a | 0:plain 1:oldpod       => until claim data-web-1 is gone
        2@a data scaled=Delete | 0:ok@a | 0:plain 1:oldpod+going => until claim data-web-1 is gone
        2@a data scaled=Delete parallel | | 0:oldpod             => create data-web-1; create 1@a; until claim data-web-0 is gone
        // Without that policy the reference is only left alone.
        1@a data deleted=Delete | | 0:oldpod                     => create 0@a; until 0 is healthy
        ",
    );
}

/// Section 18, K10: upstream adds the owner only later, and leaks the claim of a set deleted between.
#[test]
fn k10_fix_the_owner_is_there_from_the_start() {
    for (policy, owners) in [("", 0), ("deleted=Delete", 1), ("scaled=Delete", 0)] {
        let plan = reconcile(&view(&format!("1@a data {policy} |")));
        let claim = plan.actions.iter().find_map(|action| match &action.verb {
            Verb::Create(object) => object.as_any().downcast_ref::<PersistentVolumeClaim>(),
            _ => None,
        });
        let found = claim.unwrap().metadata.owner_references.clone().unwrap_or_default();
        assert_eq!(found.len(), owners, "{policy}");
        assert!(found.iter().all(|owner| owner.uid == "set" && owner.controller == Some(true)));
    }
}

/// V13: two templates that bear one name are one claim, and the last one counts, as upstream.
#[test]
fn v13_two_templates_of_one_name_are_one_claim() {
    let mut seen = view("1@a data |");
    let set = std::sync::Arc::make_mut(&mut seen.set);
    let templates = set.spec.as_mut().unwrap().volume_claim_templates.as_mut().unwrap();
    let mut last = templates[0].clone();
    last.metadata.annotations = Some([("note".to_owned(), "last".to_owned())].into());
    templates.push(last);
    let plan = reconcile(&seen);
    assert_eq!(super::case::short(&plan), "create data-web-0; create 0@a; until 0 is healthy");
    let claim = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Create(object) => object.as_any().downcast_ref::<PersistentVolumeClaim>(),
        _ => None,
    });
    assert_eq!(claim.unwrap().metadata.annotations.as_ref().unwrap()["note"], "last");
}
