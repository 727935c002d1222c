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

/// Ways to update; those with `max` have the gate on.
const ROLLOUTS: &[&str] =
    &["", "nil", "ondelete", "partition=1", "partition=2", "max=2", "max=2 partition=1", "max=50%"];

/// Every so many views are judged twice: the plans are equal.
const TWICE_STEP: usize = 251;

/// Every so many views are followed until the set rests; no multiple of the number of a pod's states.
const REST_STEP: usize = 257;

/// Every set of up to three pods, of each policy, way to update, start and patience, in every state
/// of three pods at two revisions: the promises hold without naming a scenario.
#[test]
fn promises_hold_for_every_small_view() {
    let pods: Vec<_> = (0..3).map(|ordinal| states(ordinal, STATES, &["a", "b"])).collect();
    let cases = every(&[
        &["0@b", "1@b", "2@b", "3@b"],
        &["from=a counts=3/2/2/2/1"],
        &["", "parallel"],
        ROLLOUTS,
        &["", "start=1"],
        &["", "min=10"],
    ]);
    assert_eq!(judge(&cases, &pods), 4 * 2 * 8 * 2 * 2 * 17 * 17 * 17);
}

/// Every wish of a StatefulSetPolicy, in every state of three pods.
#[test]
fn promises_hold_for_every_small_view_with_a_policy() {
    let known = ["ok", "unready", "pending", "crash", "failed", "term"];
    let pods: Vec<_> = (0..3).map(|ordinal| states(ordinal, &known, &["a", "b"])).collect();
    let wishes = [
        "| | | replace",
        "| | | max=2",
        "| | | max=2 batched replace",
        "| | | max=50% pace=50%",
        "| | | paused replace max=2",
        "| | | pace=2",
        "| | | reserve=1",
        "| | | reserve=0,2 max=2 drop",
        "| | | deadline=60 since=60 return completed=a",
        "| | | deadline=60 since=30 replace",
        "| | | deadline=60 return completed=b gone=a",
        "| | | replace twice",
    ];
    let cases = every(&[
        &["2@b", "3@b"],
        &["from=a counts=3/2/2/2/3"],
        &["", "parallel"],
        &["", "partition=1"],
        &wishes,
    ]);
    assert_eq!(judge(&cases, &pods), 2 * 2 * 2 * 12 * 13 * 13 * 13);
}

/// Four pods in fewer states: what a budget of two may do to the pods between.
#[test]
fn promises_hold_for_every_view_of_four_pods() {
    let pods: Vec<_> = (0..4).map(|o| states(o, &["ok", "crash", "term"], &["a", "b"])).collect();
    let cases = every(&[
        &["2@b", "3@b", "4@b"],
        &["from=a counts=4/3/3/2/2"],
        &["", "parallel"],
        ROLLOUTS,
        &["", "start=2"],
    ]);
    assert_eq!(judge(&cases, &pods), 3 * 2 * 8 * 2 * 7 * 7 * 7 * 7);
}

/// A template after a template that was not rolled out to the end: pods of three revisions.
#[test]
fn promises_hold_for_every_view_of_three_revisions() {
    let states_known = ["ok", "unready", "crash", "failed", "term"];
    let pods: Vec<_> = (0..3).map(|o| states(o, &states_known, &["a", "b", "c"])).collect();
    let cases = every(&[
        &["2@c", "3@c"],
        &["from=a had=a,b,c counts=3/2/2/1/1", "from=b had=a,b,c counts=3/2/2/1/1"],
        &["", "parallel"],
        ROLLOUTS,
    ]);
    assert_eq!(judge(&cases, &pods), 2 * 2 * 2 * 8 * 16 * 16 * 16);
}

/// Every policy, owner and end of the claims of two pods in every state.
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
    let known: Vec<&str> = STATES.iter().copied().chain(["placed"]).collect();
    let pods: Vec<_> = (0..2).map(|ordinal| states(ordinal, &known, &["a", "b"])).collect();
    let cases = every(&[
        &["0@b", "1@b", "2@b"],
        &["from=a data"],
        &["", "parallel"],
        &["", "scaled=Delete", "deleted=Delete", "scaled=Delete deleted=Delete"],
    ]);
    let judged = in_parallel(&cases, |case| {
        let mut view = view(case);
        let revisions = revision::choose(&view);
        let mut judged = 0;
        for (one, two) in pairs(&claims) {
            let named = [("data-web-0", one), ("data-web-1", two)].into_iter();
            view.claims =
                named.filter_map(|(name, claim)| Some((name.to_owned(), claim?))).collect();
            for (one, two) in pairs(&pods) {
                view.pods.clear();
                view.pods.extend([one, two].into_iter().flatten());
                decide(&view, revisions.clone()); // It judges itself.
                judged += 1;
            }
        }
        judged
    });
    assert_eq!(judged, 3 * 2 * 4 * 100 * 19 * 19);
}

/// A plan never waits for what cannot happen: from a sample of all small views, once pods that are
/// not ready become so and pods that go are gone, the set has what it wants, and rests.
#[test]
fn every_small_view_comes_to_rest() {
    let pods: Vec<_> = (0..3).map(|ordinal| states(ordinal, STATES, &["a", "b"])).collect();
    let cases = every(&[
        &["0@b", "1@b", "3@b"],
        &["from=a"],
        &["", "parallel", "data", "parallel data scaled=Delete deleted=Delete"],
        ROLLOUTS,
        &["", "start=1"],
    ]);
    let count = pods[0].len();
    let judged = in_parallel(&cases, |case| {
        let first = case.bytes().map(usize::from).sum::<usize>() % REST_STEP;
        let sample = (first..count.pow(3)).step_by(REST_STEP);
        for code in sample.clone() {
            let mut start = view(case);
            start.pods = picked(&pods, code);
            let mut world = super::world::World::of(start);
            world.heal();
            let plan = reconcile(&world.view);
            assert_eq!(plan.to_string(), "nothing to do", "{case} {}", world.pods());
            let status = world.status();
            let wanted = world.view.set.spec.as_ref().unwrap().replicas;
            assert_eq!(status.available_replicas, wanted, "{case} {}", world.pods());
            assert_eq!(Some(status.replicas), wanted, "{case} {}", world.pods());
        }
        sample.len()
    });
    assert!(judged > 2000, "{judged}");
}

/// The second judge reads views and plans, and nothing that decides.
#[test]
fn the_second_judge_imports_view_types_only() {
    let sources = [
        include_str!("../judge/mod.rs"),
        include_str!("../judge/case.rs"),
        include_str!("../judge/law.rs"),
        include_str!("../judge/policies.rs"),
    ];
    for source in sources {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let imports = code.filter(|line| line.contains("super::") || line.contains("crate::"));
        let own = ["use super::View;", "use super::super::View;", "use super::MOVES_MAX;"];
        let judges = |line: &str| {
            line.starts_with("use super::case::") || line.starts_with("use super::law::")
        };
        for line in imports.filter(|line| !own.contains(line) && !judges(line)) {
            let words = line.strip_prefix("use crate::").expect("it imports the plan's types only");
            for word in words.trim_end_matches(';').trim_matches(['{', '}']).split(", ") {
                assert!(["Plan", "Target", "Verb", "Wait"].contains(&word), "{line}");
            }
        }
    }
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

/// Every choice of one word of each list.
fn every(lists: &[&[&str]]) -> Vec<String> {
    let chosen = lists.iter().fold(vec![String::new()], |chosen, words| {
        let with =
            |start: &String| words.iter().map(|w| format!("{start}{w} ")).collect::<Vec<_>>();
        chosen.iter().flat_map(with).collect()
    });
    chosen.into_iter().map(|words| words + "|").collect()
}

/// Judges every case with every choice of a state for each pod; how many views that were.
fn judge(cases: &[String], pods: &[Vec<Option<Arc<Pod>>>]) -> usize {
    in_parallel(cases, |case| {
        let mut view = view(case);
        let revisions = revision::choose(&view);
        let codes = 0..pods.iter().map(Vec::len).product();
        for code in codes.clone() {
            view.pods = picked(pods, code);
            let plan = decide(&view, revisions.clone()); // It judges itself.
            if code % TWICE_STEP == 0 {
                let again = decide(&view, revisions.clone());
                assert_eq!(format!("{plan:?}"), format!("{again:?}"), "equal view, equal plan");
            }
        }
        codes.len()
    })
}

/// One state of each pod, by the digits of a number.
fn picked(pods: &[Vec<Option<Arc<Pod>>>], code: usize) -> Vec<Arc<Pod>> {
    let mut rest = code;
    let digit = |states: &Vec<Option<Arc<Pod>>>| {
        let state = states[rest % states.len()].clone();
        rest /= states.len();
        state
    };
    pods.iter().filter_map(digit).collect()
}

/// Absent, or one of the states at one of the revisions.
fn states(ordinal: i64, words: &[&str], tags: &[&str]) -> Vec<Option<Arc<Pod>>> {
    let at = |tag: &&str| {
        let made = words.iter().map(|state| Some(Arc::new(pod(ordinal, state, tag))));
        made.collect::<Vec<_>>()
    };
    std::iter::once(None).chain(tags.iter().flat_map(at)).collect()
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
