//! What field selectors can ask of an object, and what they call it.
//!
//! The functions of the kinds give every field they know for any object, with upstream's zero
//! values (`false`, an empty string) where it is unset.
//!
//! Source: kubernetes v1.36 `pkg/apis/core/v1/conversion.go`,
//! `pkg/apis/events/v1/conversion.go`; apimachinery `runtime/conversion.go`.

use crate::resource::Names;

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
pub(crate) mod rbac;
pub(crate) mod scheduling;
pub(crate) mod stead;
pub(crate) mod storage;

/// The fields of kinds that allow more than name and namespace: what clients call them, and
/// what the index calls them.
struct Known {
    group: &'static str,
    kind: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

const NAME: (&str, &str) = ("metadata.name", "metadata.name");
const NAMESPACE: (&str, &str) = ("metadata.namespace", "metadata.namespace");

static KNOWN: &[Known] = &[
    Known {
        group: "",
        kind: "Pod",
        fields: &[
            NAME,
            NAMESPACE,
            ("spec.nodeName", "spec.nodeName"),
            ("spec.host", "spec.nodeName"),
            ("spec.restartPolicy", "spec.restartPolicy"),
            ("spec.schedulerName", "spec.schedulerName"),
            ("spec.serviceAccountName", "spec.serviceAccountName"),
            ("spec.hostNetwork", "spec.hostNetwork"),
            ("status.phase", "status.phase"),
            ("status.podIP", "status.podIP"),
            ("status.podIPs", "status.podIP"),
            ("status.nominatedNodeName", "status.nominatedNodeName"),
        ],
    },
    Known {
        group: "",
        kind: "Event",
        fields: &[
            NAME,
            NAMESPACE,
            ("involvedObject.kind", "involvedObject.kind"),
            ("involvedObject.namespace", "involvedObject.namespace"),
            ("involvedObject.name", "involvedObject.name"),
            ("involvedObject.uid", "involvedObject.uid"),
            ("involvedObject.apiVersion", "involvedObject.apiVersion"),
            ("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
            ("involvedObject.fieldPath", "involvedObject.fieldPath"),
            ("reason", "reason"),
            ("reportingComponent", "reportingComponent"),
            ("source", "source"),
            ("type", "type"),
        ],
    },
    Known {
        group: "events.k8s.io",
        kind: "Event",
        fields: &[
            NAME,
            NAMESPACE,
            ("regarding.kind", "involvedObject.kind"),
            ("regarding.namespace", "involvedObject.namespace"),
            ("regarding.name", "involvedObject.name"),
            ("regarding.uid", "involvedObject.uid"),
            ("regarding.apiVersion", "involvedObject.apiVersion"),
            ("regarding.resourceVersion", "involvedObject.resourceVersion"),
            ("regarding.fieldPath", "involvedObject.fieldPath"),
            ("reason", "reason"),
            ("reportingController", "reportingComponent"),
            ("type", "type"),
        ],
    },
    Known {
        group: "",
        kind: "Node",
        fields: &[NAME, ("spec.unschedulable", "spec.unschedulable")],
    },
    Known { group: "", kind: "Namespace", fields: &[NAME, ("status.phase", "status.phase")] },
    Known { group: "", kind: "Secret", fields: &[NAME, NAMESPACE, ("type", "type")] },
    Known {
        group: "",
        kind: "Service",
        fields: &[
            NAME,
            NAMESPACE,
            ("spec.clusterIP", "spec.clusterIP"),
            ("spec.type", "spec.type"),
        ],
    },
];

/// What the index calls the field that a client asks for.
///
/// # Errors
///
/// The sentence of a 400, when the kind does not know it.
pub fn canonical(names: &Names, field: &str) -> Result<&'static str, String> {
    let known = KNOWN.iter().find(|known| known.group == names.group && known.kind == names.kind);
    let fields = known.map_or(&[NAME, NAMESPACE][..], |known| known.fields);
    if let Some((_, index)) = fields.iter().find(|(asked, _)| *asked == field) {
        return Ok(index);
    }
    Err(match known {
        Some(_) => format!("field label not supported: {field}"),
        None => format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ),
    })
}
