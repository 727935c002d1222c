//! The simulation itself: it begins, it replays.

use std::sync::Arc;

use crate::{Ground, MUTANTS, Outcome, Script, ground, simulate};

fn simulated(script: &Script, ground: &Arc<Ground>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    simulate(script, ground, &folder.path().join("run")).unwrap()
}

#[test]
fn a_set_of_three_becomes_ready_in_calm_weather() {
    let script = Script { storm_s: 0, sets: Some(vec![(3, false, true)]), ..Script::of(1) };
    let outcome = simulated(&script, &ground().unwrap());
    assert_eq!(outcome.violations, []);
    assert!(outcome.converged_after_s.is_some());
}

#[test]
fn a_seed_replays() {
    let ground = ground().unwrap();
    let script = Script { storm_s: 60, ..Script::of(7) };
    let (one, two) = (simulated(&script, &ground), simulated(&script, &ground));
    assert!(one.commits > 50, "{} commits", one.commits);
    assert_eq!(one.trace.len(), two.trace.len());
    let differs = one.trace.lines().zip(two.trace.lines()).find(|(one, two)| one != two);
    assert_eq!(differs, None);
}

#[test]
fn sets_that_say_more_keep_the_invariants() {
    let ground = ground().unwrap();
    let mut policies = false;
    for seed in 1..=3 {
        let outcome = simulated(&Script { more: true, ..Script::of(seed) }, &ground);
        assert_eq!(outcome.violations, [], "seed {seed}");
        policies |= outcome.trace.contains("statefulsetpolicies");
    }
    assert!(policies, "no set has a policy");
}

#[test]
fn a_wrong_planner_is_caught_by_its_invariant() {
    // The first row; `sim --mutants`, which ci runs optimized, takes all of them.
    let mutant = MUTANTS[0];
    let script = mutant.script(1);
    let violations = simulated(&Script { storm_s: 20, ..script }, &ground().unwrap()).violations;
    let first = violations.first().map(|violation| violation.invariant);
    assert_eq!(first, Some(mutant.caught_by), "{}", mutant.name);
}
