//! What a `Warning` header says about an object. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

use super::pod::{claim_spec, template};
use crate::field::Path;

pub(crate) fn controller_revision(
    _: &ControllerRevision,
    _: Option<&ControllerRevision>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn stateful_set(set: &StatefulSet, old: Option<&StatefulSet>) -> Vec<String> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let mut out = Vec::new();
    let at = Path::new("spec");
    let before = old.and_then(|old| old.spec.as_ref());
    if before.is_none_or(|before| before.template != spec.template) {
        out.extend(template(&spec.template, &at.child("template")));
    }
    for (index, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        // Upstream writes `.Spec` between, but only when updating.
        let item = at.child("volumeClaimTemplates").index(index);
        let item = if old.is_some() { item.child("Spec") } else { item };
        if let Some(claim) = &claim.spec {
            claim_spec(claim, &item, &mut out);
        }
    }
    // Beyond upstream, which accepts two templates of one name and quietly uses the last.
    let names = spec.volume_claim_templates.iter().flatten();
    let names: Vec<_> = names.filter_map(|claim| claim.metadata.name.as_deref()).collect();
    for (index, name) in
        names.iter().enumerate().filter(|(index, name)| names[..*index].contains(name))
    {
        let at = at.child("volumeClaimTemplates").index(index).child("metadata").child("name");
        out.push(format!("{at}: duplicate name \"{name}\": the last template of a name is used"));
    }
    if spec.revision_history_limit.is_some_and(|limit| limit < 0) {
        let why = "a negative value retains all historical revisions; a value >= 0 is recommended";
        out.push(format!("{}: {why}", at.child("revisionHistoryLimit")));
    }
    out
}
