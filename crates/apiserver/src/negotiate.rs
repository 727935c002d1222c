//! Which form of an answer the client can read, and which form its body has.

use api::{ApiError, Reason, decode};
use http::{HeaderMap, header};

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// What is made of the objects in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    Whole,
    /// A table of this version of `meta.k8s.io`.
    Table(&'static str),
    /// Their metadata only.
    Metadata,
    /// Discovery of all groups in one document.
    Discovery,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    /// How it is written.
    pub(crate) format: Format,
    /// What is written.
    pub(crate) form: Form,
}

/// What a request body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`, also where nothing is said.
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/json-patch+json`
    JsonPatch,
    /// `application/merge-patch+json`
    MergePatch,
    /// `application/strategic-merge-patch+json`
    StrategicPatch,
    /// `application/apply-patch+yaml`
    Apply,
}

impl Accept {
    /// Picks the first alternative of `Accept` that this server can write, by `q`.
    ///
    /// # Errors
    ///
    /// 406 when there is none.
    pub(crate) fn choose(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut offers: Vec<(u16, Accept)> = Vec::new();
        let mut asked = false;
        for value in headers.get_all(header::ACCEPT) {
            let text = value.to_str().unwrap_or_default();
            for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
                asked = true;
                offers.extend(read_clause(clause));
            }
        }
        if !asked {
            return Ok(Self { format: Format::Json, form: Form::Whole });
        }
        // Stable: equal weights keep the client's order.
        offers.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        offers.first().map(|(_, accept)| *accept).ok_or_else(|| {
            let text = "only the following media types are accepted: application/json, \
                        application/yaml, application/json;stream=watch";
            ApiError::new(Reason::NotAcceptable, text)
        })
    }
}

fn read_clause(clause: &str) -> Option<(u16, Accept)> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Format::Json,
        "application/yaml" | "application/x-yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut weight, mut kind, mut version, mut group) = (1000, None, None, None);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "q" => weight = read_weight(value),
            "as" => kind = Some(value),
            "v" => version = Some(value),
            "g" => group = Some(value),
            _ => {}
        }
    }
    let form = match (kind, group, version) {
        (None, ..) => Form::Whole,
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Form::Table("v1"),
        (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => Form::Table("v1beta1"),
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            Some("v1"),
        ) => Form::Metadata,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Form::Discovery,
        _ => return None,
    };
    Some((weight, Accept { format, form }))
}

/// Thousandths; a weight that is no number counts as 1.
fn read_weight(text: &str) -> u16 {
    let weight: f32 = text.parse().unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
    thousandths
}

impl Media {
    /// How a body of this type is written.
    pub(crate) fn format(self) -> decode::Format {
        match self {
            Media::Yaml | Media::Apply => decode::Format::Yaml,
            _ => decode::Format::Json,
        }
    }

    /// The type of a request body.
    ///
    /// # Errors
    ///
    /// 415 when it is none of those that make sense here.
    pub(crate) fn of(headers: &HeaderMap, patch: bool) -> Result<Self, ApiError> {
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = text.unwrap_or_default().split(';').next().unwrap_or_default();
        match (essence.trim().to_ascii_lowercase().as_str(), patch) {
            ("" | "application/json" | "*/*", false) => Ok(Media::Json),
            ("application/yaml" | "application/x-yaml" | "text/yaml", false) => Ok(Media::Yaml),
            ("application/json-patch+json", true) => Ok(Media::JsonPatch),
            ("application/merge-patch+json", true) => Ok(Media::MergePatch),
            ("application/strategic-merge-patch+json", true) => Ok(Media::StrategicPatch),
            ("application/apply-patch+yaml", true) => Ok(Media::Apply),
            (_, patch) => Err(unsupported(patch)),
        }
    }
}

fn unsupported(patch: bool) -> ApiError {
    let known = if patch {
        "application/json-patch+json, application/merge-patch+json, \
         application/strategic-merge-patch+json, application/apply-patch+yaml"
    } else {
        "application/json, application/yaml"
    };
    let text = format!(
        "the body of the request was in an unknown format - accepted media types include: {known}"
    );
    ApiError::new(Reason::UnsupportedMediaType, text)
}
