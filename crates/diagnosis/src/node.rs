//! The node of a pod: is it there, and does it answer?

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    snapshot::{Part, name_of},
};

impl Case<'_> {
    /// What is wrong with the node; `going`: the pod shall end there.
    pub(crate) fn node(&self, name: &str, pod: &str, going: bool) -> Option<Finding> {
        if name.is_empty() || !self.seen.knows(Part::Nodes) {
            return None;
        }
        let force = self.kubectl(&format!("delete pod {pod} --grace-period=0 --force"));
        let Some(node) = self.seen.node(name) else {
            let why =
                "there is no such node any more, so nobody can say whether the pod still runs";
            let cure = format!("once it is sure that it does not: {force}");
            return Some(Cause::new(Reason::NodeGone, why, cure).stuck());
        };
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let (why, since) = match ready {
            Some(ready) if ready.status == "True" => return None,
            Some(ready) => {
                let said = ready.message.as_deref().unwrap_or_default();
                let since = ready.last_transition_time.as_ref().map(|time| time.0);
                (format!("it is not ready: {said}"), since)
            }
            None => ("it has never said that it is ready".to_owned(), None),
        };
        let why =
            if going { format!("{why}; the pod ends only when its node says so") } else { why };
        let name = name_of(&node.metadata);
        let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
        let cure = format!(
            "bring {name} back (start its agent); if it is off and stays off: kubectl taint node \
             {name} {taint}, which lets its pods start elsewhere"
        );
        Some(Cause::new(Reason::NodeNotReady, why, cure).since(since).stuck())
    }
}
