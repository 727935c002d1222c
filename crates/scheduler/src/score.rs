//! Which of the nodes that will do is best.

use api::{requests::Amounts, selector::nodes};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    affinity::Company,
    cluster::{Cluster, NodeState, controller},
    requests, selector,
    spread::Spread,
};

/// The best score of a single judge.
const BEST: i64 = 100;
/// Weights as in upstream's default profile.
const TAINTS: i64 = 3;
const NODE_AFFINITY: i64 = 2;
const SPREAD: i64 = 2;
const COMPANY: i64 = 2;

/// The best of these nodes: the highest score, then the fewest pods, then the first by name.
pub(crate) fn best<'a>(
    pod: &Pod,
    cluster: &'a Cluster,
    company: &Company,
    fitting: &[&'a str],
) -> Option<&'a str> {
    let nodes: Vec<(&str, &NodeState, &Node)> = fitting
        .iter()
        .filter_map(|name| {
            let state = cluster.nodes.get(*name)?;
            Some((*name, state, state.node.as_deref()?))
        })
        .collect();
    if let [(only, ..)] = nodes.as_slice() {
        return Some(only);
    }
    let spread = Spread::preferred(pod, cluster);
    let each = |judge: &dyn Fn(&NodeState, &Node) -> i64| -> Vec<i64> {
        nodes.iter().map(|(_, state, node)| judge(state, node)).collect()
    };
    let mut total = each(&|state, _| room(pod, state));
    let taints = each(&|_, node| intolerable(pod, node));
    let wishes = each(&|_, node| wishes(pod, node));
    let crowds = each(&|state, node| spread.crowd(node).unwrap_or_else(|| siblings(pod, state)));
    let company = each(&|_, node| company.worth(node));
    add(&mut total, &reversed(&to_best(&taints)), TAINTS);
    add(&mut total, &to_best(&wishes), NODE_AFFINITY);
    add(&mut total, &reversed(&between(&crowds)), SPREAD);
    add(&mut total, &between(&company), COMPANY);
    let ranked = nodes
        .iter()
        .zip(total)
        .map(|((name, state, _), score)| ((-score, state.pods.len(), *name), *name));
    ranked.min_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, name)| name)
}

/// Free room after the pod, and how evenly cpu and memory are used: two judges of weight 1.
fn room(pod: &Pod, state: &NodeState) -> i64 {
    let asked = requests::of_pod_at_least(pod);
    let of = |list: &Amounts, name: &str| list.get(name).copied().unwrap_or(0);
    let mut free = Vec::new();
    for name in ["cpu", "memory"] {
        let total = of(&state.allocatable, name);
        let used = of(&state.requested_at_least, name).saturating_add(of(&asked, name));
        if total > 0 {
            let left = total.saturating_sub(used).max(0);
            free.push(i64::try_from(i128::from(left) * 100 / i128::from(total)).unwrap_or(BEST));
        }
    }
    let least_used = free.iter().sum::<i64>() / i64::try_from(free.len().max(1)).unwrap_or(1);
    let balance = match free.as_slice() {
        [cpu, memory] => BEST - (cpu - memory).abs() / 2,
        _ => BEST,
    };
    least_used + balance
}

fn intolerable(pod: &Pod, node: &Node) -> i64 {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let soft = taints.filter(|taint| {
        taint.effect == "PreferNoSchedule"
            && !selector::tolerated(taint, tolerations.unwrap_or_default())
    });
    i64::try_from(soft.count()).unwrap_or(i64::MAX)
}

fn wishes(pod: &Pod, node: &Node) -> i64 {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let wishes = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let terms = wishes
        .iter()
        .flat_map(|a| a.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    terms
        .filter(|term| nodes::node_term_fits(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum()
}

/// Pods of the same controller on the node: without constraints of its own, a set spreads.
fn siblings(pod: &Pod, state: &NodeState) -> i64 {
    let count = controller(pod).and_then(|owner| state.controllers.get(owner));
    i64::try_from(count.copied().unwrap_or(0)).unwrap_or(i64::MAX)
}

/// Scaled so that the highest is [`BEST`]; all zero stays zero.
fn to_best(scores: &[i64]) -> Vec<i64> {
    let most = scores.iter().copied().max().unwrap_or(0);
    scores.iter().map(|score| if most == 0 { 0 } else { score * BEST / most }).collect()
}

/// Scaled so that the lowest is 0 and the highest [`BEST`]; equal ones are all 0.
fn between(scores: &[i64]) -> Vec<i64> {
    let least = scores.iter().copied().min().unwrap_or(0);
    let range = scores.iter().copied().max().unwrap_or(0) - least;
    scores.iter().map(|score| if range == 0 { 0 } else { (score - least) * BEST / range }).collect()
}

fn reversed(scores: &[i64]) -> Vec<i64> {
    scores.iter().map(|score| BEST - score).collect()
}

fn add(total: &mut [i64], scores: &[i64], weight: i64) {
    for (sum, score) in total.iter_mut().zip(scores) {
        *sum += score * weight;
    }
}
