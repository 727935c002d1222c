//! Templates get names: ControllerRevisions, their hashes, and which one is wanted.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::{
        api::{
            apps::v1::{ControllerRevision, StatefulSet},
            core::v1::PodTemplateSpec,
        },
        apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
    },
    resource,
};
use serde_json::{Value, json};

use super::{
    adopt::selects,
    go_json,
    view::{View, controller_of, revision_of},
};
use crate::{Action, Target, Verb};

/// The label that carries a revision's hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The revisions one decision works with.
#[derive(Debug, Clone)]
pub(super) struct Revisions {
    /// The one that pods below the partition keep.
    pub(super) current: Arc<ControllerRevision>,
    /// The one that pods are moved to.
    pub(super) update: Arc<ControllerRevision>,
    /// Grows by one each time two templates had one hash.
    pub(super) collisions: i32,
    /// What makes them so in the API.
    pub(super) actions: Vec<Action>,
    /// All that belong to the set, oldest first, the update revision last.
    pub(super) all: Vec<Arc<ControllerRevision>>,
}

/// What a revision stores of a set: a strategic patch of nothing but the template (R1).
///
/// Source: kubernetes v1.36 `stateful_set_utils.go`, `getPatch`.
#[must_use]
pub fn data(set: &StatefulSet) -> Value {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Value::Object(fields) = &mut template {
        fields.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The hash of revision data (R3): FNV-32 over the bytes, then over the collision count's digits;
/// the decimal digits of the sum in an alphabet without vowels.
#[must_use]
pub fn hash(data: &Value, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut sum: u32 = 0x811c_9dc5;
    for byte in go_json::encode(data).bytes().chain(collisions.to_string().bytes()) {
        sum = sum.wrapping_mul(0x0100_0193) ^ u32::from(byte);
    }
    sum.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % 27])).collect()
}

/// A revision's name: the set's, cut at 223 bytes, and the hash.
pub(super) fn name(set: &str, hash: &str) -> String {
    let mut end = set.len().min(223);
    while !set.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", &set[..end])
}

/// Chooses the update and the current revision (R4 to R7).
pub(super) fn choose(view: &View) -> Revisions {
    let mut all = owned(view);
    all.sort_by(|a, b| order(a).cmp(&order(b)));
    let next = all.last().map_or(1, |newest| newest.revision + 1);
    let wanted = data(&view.set);
    let status = view.set.status.as_ref();
    let mut collisions = status.and_then(|status| status.collision_count).unwrap_or(0);
    let mut actions = Vec::new();

    let newest_equal = all.last().is_some_and(|newest| same(newest, &wanted));
    let older = all.iter().rposition(|revision| same(revision, &wanted));
    let update = match older {
        Some(index) if newest_equal => all[index].clone(),
        Some(index) => {
            let mut raised = (*all.remove(index)).clone();
            raised.revision = next;
            let why = "the template came back to an earlier revision";
            actions.push(Action::update(raised.clone(), None, why));
            all.push(Arc::new(raised));
            all[all.len() - 1].clone()
        }
        None => match all.last().filter(|newest| same_once_defaulted(view, newest, &wanted)) {
            Some(newest) => newest.clone(),
            None => {
                let (revision, count, known) = new_revision(view, &wanted, next, collisions);
                collisions = count;
                let revision = Arc::new(revision);
                if !known {
                    let verb = Verb::Create(Box::new((*revision).clone()));
                    actions.push(Action::new(verb, "the template is new"));
                }
                all.push(revision.clone());
                revision
            }
        },
    };
    let named = status.and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
    let current = all.iter().find(|revision| revision.metadata.name.as_deref() == Some(named));
    let current = current.cloned().unwrap_or_else(|| update.clone());
    Revisions { current, update, collisions, actions, all }
}

/// The template that a revision stores (R11).
pub(super) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    if let Value::Object(fields) = &mut template {
        fields.remove("$patch");
    }
    serde_json::from_value(template).ok()
}

/// Deletes what no pod uses and history does not keep (R9), oldest first.
pub(super) fn truncate(view: &View, revisions: &Revisions) -> Vec<Action> {
    let limit = view.spec().revision_history_limit.unwrap_or(10);
    let Ok(limit) = usize::try_from(limit) else { return Vec::new() };
    let live = |revision: &ControllerRevision| {
        let name = revision.metadata.name.as_deref().unwrap_or_default();
        [&revisions.current, &revisions.update]
            .iter()
            .any(|kept| kept.metadata.name.as_deref() == Some(name))
            // What a set may have to come back to.
            || view.last_completed() == Some(name)
            || view.pods.iter().any(|pod| {
                revision_of(pod) == name
                    && controller_of(&pod.metadata).is_some_and(|owner| owner.uid == view.uid())
            })
    };
    let mut history: Vec<_> = revisions.all.iter().filter(|revision| !live(revision)).collect();
    let surplus = history.len().saturating_sub(limit);
    history.truncate(surplus);
    let delete = |revision: &&Arc<ControllerRevision>| {
        let target = Target::of(&***revision);
        let mut action = Action::delete(target, "beyond revisionHistoryLimit");
        action.always = true;
        action
    };
    history.iter().map(delete).collect()
}

/// Those of the set, and ownerless ones that its selector takes in.
fn owned(view: &View) -> Vec<Arc<ControllerRevision>> {
    let mine = |revision: &&Arc<ControllerRevision>| match controller_of(&revision.metadata) {
        Some(owner) => owner.uid == view.uid(),
        None => selects(view, revision.metadata.labels.as_ref()),
    };
    view.revisions.iter().filter(mine).cloned().collect()
}

fn order(revision: &ControllerRevision) -> (i64, Option<jiff::Timestamp>, &str) {
    let meta = &revision.metadata;
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    (revision.revision, created, meta.name.as_deref().unwrap_or_default())
}

fn same(revision: &ControllerRevision, wanted: &Value) -> bool {
    revision.data.as_ref().is_some_and(|data| data.0 == *wanted)
}

/// Guards against a template that only another version's defaults make look different.
fn same_once_defaulted(view: &View, newest: &ControllerRevision, wanted: &Value) -> bool {
    let mut restored = (*view.set).clone();
    let (Some(spec), Some(template)) = (&mut restored.spec, template(newest)) else { return false };
    spec.template = template;
    resource::of::<StatefulSet>().apply_defaults(&mut restored);
    data(&restored) == *wanted
}

/// A revision under a name that no other data has (R6); `true` when it exists already.
fn new_revision(
    view: &View,
    wanted: &Value,
    number: i64,
    mut collisions: i32,
) -> (ControllerRevision, i32, bool) {
    let set = &view.set.metadata;
    let first = hash(wanted, collisions);
    let template = view.spec().template.metadata.as_ref();
    let mut labels: BTreeMap<String, String> =
        template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), first.clone());
    let mut tag = first;
    loop {
        let name = name(view.name(), &tag);
        let taken = view.revisions.iter().find(|r| r.metadata.name.as_deref() == Some(&*name));
        match taken {
            Some(twin) if same(twin, wanted) => return ((**twin).clone(), collisions, true),
            Some(_) => {
                collisions += 1;
                tag = hash(wanted, collisions);
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(name),
                    namespace: set.namespace.clone(),
                    labels: Some(labels),
                    annotations: set.annotations.clone(),
                    owner_references: Some(vec![view.controller_ref()]),
                    ..ObjectMeta::default()
                };
                let data = Some(RawExtension(wanted.clone()));
                let revision = ControllerRevision { metadata, data, revision: number };
                return (revision, collisions, false);
            }
        }
    }
}
