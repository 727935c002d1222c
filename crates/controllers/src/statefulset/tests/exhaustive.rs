//! The second judge over every small view.

use std::{sync::Arc, thread};

use api::k8s::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};

use super::{
    super::{plan::decide, reconcile, revision},
    case::{claim, pod, view},
};

/// What a pod may be; each at the old and at the new revision.
const STATES: &[&str] =
    &["ok", "new", "unready", "pending", "crash", "failed", "term", "pending-term"];

/// Every set of up to three pods, of each policy, strategy, start, number, in every state of
/// three pods: the promises hold without naming a scenario.
#[test]
fn promises_hold_for_every_small_view() {
    let pods: Vec<Vec<Option<Arc<Pod>>>> = (0..3).map(states).collect();
    let count = pods[0].len();
    let mut cases = Vec::new();
    for replicas in 0..=3 {
        for policy in ["", "parallel"] {
            for more in [
                "",
                "partition=1",
                "ondelete",
                "nil",
                "max=2",
                "max=2 partition=1",
                "start=1",
                "min=10",
            ] {
                cases.push(format!("{replicas}@b from=a counts=3/2/2/2/1 {policy} {more} |"));
            }
        }
    }
    let judged = in_parallel(&cases, |case| {
        let mut view = view(case);
        let revisions = revision::choose(&view);
        let codes = 0..count.pow(3);
        for code in codes.clone() {
            let picks = [code % count, code / count % count, code / count / count];
            view.pods.clear();
            view.pods
                .extend(picks.iter().zip(&pods).filter_map(|(pick, pods)| pods[*pick].clone()));
            decide(&view, revisions.clone()); // It judges itself.
        }
        codes.len()
    });
    assert_eq!(judged, 4 * 2 * 8 * 17 * 17 * 17);
}

/// Every policy, owner and end of the claims of two pods.
#[test]
fn promises_hold_for_every_small_view_with_claims() {
    let words =
        ["", "plain", "going", "set", "pod", "oldpod", "oldset", "boss", "~friend+set", "~set+pod"];
    let claims: Vec<Vec<Option<Arc<PersistentVolumeClaim>>>> = (0..2)
        .map(|ordinal| {
            let claim = |word: &&str| (!word.is_empty()).then(|| Arc::new(claim(ordinal, word)));
            words.iter().map(claim).collect()
        })
        .collect();
    let pods: Vec<Vec<Option<Arc<Pod>>>> = (0..2).map(states).collect();
    let mut cases = Vec::new();
    for replicas in 0..=2 {
        for policy in ["", "parallel"] {
            for retention in ["", "scaled=Delete", "deleted=Delete", "scaled=Delete deleted=Delete"]
            {
                cases.push(format!("{replicas}@b from=a data {policy} {retention} |"));
            }
        }
    }
    let judged = in_parallel(&cases, |case| {
        let mut view = view(case);
        let revisions = revision::choose(&view);
        let mut judged = 0;
        for (one, two) in pairs(&claims) {
            let named = [("data-web-0", one), ("data-web-1", two)].into_iter();
            view.claims =
                named.filter_map(|(name, claim)| Some((name.to_owned(), claim?))).collect();
            // Every fifth of the pairs of pods: all states meet all claims over the pairs of claims.
            for (one, two) in pairs(&pods).step_by(5) {
                view.pods.clear();
                view.pods.extend([one, two].into_iter().flatten());
                decide(&view, revisions.clone()); // It judges itself.
                judged += 1;
            }
        }
        judged
    });
    assert_eq!(judged, 24 * 100 * 58);
}

/// Sets that are going, pods that are not the set's, odd labels: nothing is assumed of a view.
#[test]
fn promises_hold_for_odd_views() {
    let odd = [
        "orphan",
        "foreign",
        "stray",
        "orphan-stray",
        "nameless",
        "indexless",
        "foreign-term",
        "orphan-term",
        "ok",
        "failed",
        "stuck",
        "ahead",
        "undated",
    ];
    let pods: Vec<Vec<Option<Arc<Pod>>>> = (0..2)
        .map(|ordinal| odd.iter().map(|word| Some(Arc::new(pod(ordinal, word, "a")))).collect())
        .collect();
    let mut cases = Vec::new();
    for set in ["1@a", "2@a", "2@b from=a", "2@b from=a had=b", "2@a unrevised", "2@a deleting"] {
        for policy in ["", "parallel", "parallel deleting data", "data"] {
            cases.push(format!("{set} {policy} |"));
        }
    }
    in_parallel(&cases, |case| {
        let mut view = view(case);
        for (one, two) in pairs(&pods) {
            view.pods = [one, two].into_iter().flatten().collect();
            let plan = reconcile(&view);
            assert_eq!(
                format!("{plan:?}"),
                format!("{:?}", reconcile(&view)),
                "equal view, equal plan"
            );
        }
        1
    });
}

/// A set that has come to rest and has told so: the plan is empty.
#[test]
fn a_converged_set_yields_an_empty_plan() {
    for policy in
        ["", "parallel", "ondelete", "nil", "partition=1", "max=2", "min=10", "data deleted=Delete"]
    {
        for replicas in 0..4 {
            let mut world = super::world::World::new(&format!("{replicas}@a {policy} unrevised |"));
            world.live();
            assert_eq!(reconcile(&world.view).to_string(), "nothing to do", "{policy}");
            let bare: &mut StatefulSet = Arc::make_mut(&mut world.view.set);
            // Another server leaves zeros out.
            let status = bare.status.as_mut().unwrap();
            status.ready_replicas = status.ready_replicas.filter(|count| *count > 0);
            status.collision_count = None;
            assert_eq!(reconcile(&world.view).to_string(), "nothing to do", "{policy}");
        }
    }
}

/// Absent, or one of the states at one of the revisions.
fn states(ordinal: i64) -> Vec<Option<Arc<Pod>>> {
    let at = |tag: &'static str| {
        STATES.iter().map(move |state| Some(Arc::new(pod(ordinal, state, tag))))
    };
    std::iter::once(None).chain(at("a")).chain(at("b")).collect()
}

fn pairs<T: Clone>(lists: &[Vec<Option<T>>]) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    lists[0].iter().flat_map(|one| lists[1].iter().map(|two| (one.clone(), two.clone())))
}

/// Runs all cases on all cores; gives the sum of what they return.
fn in_parallel(cases: &[String], run: impl Fn(&str) -> usize + Sync) -> usize {
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let share =
        |core: usize| cases.iter().skip(core).step_by(cores).map(|case| run(case)).sum::<usize>();
    thread::scope(|scope| {
        let share = &share;
        let runs: Vec<_> = (0..cores).map(|core| scope.spawn(move || share(core))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    })
}
