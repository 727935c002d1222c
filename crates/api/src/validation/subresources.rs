//! What is wrong with the bodies of subresources and of deletions, which no entry of the table speaks.

use k8s_openapi::{
    api::{authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use super::report::{At, Report, items, text};
use crate::field::Cause;

/// The body of `scale`.
#[must_use]
pub fn scale(scale: &Scale) -> Vec<Cause> {
    let mut out = Report::default();
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    out.not_negative(At::new("spec").field("replicas"), i64::from(replicas));
    out.into_causes()
}

/// The body of `serviceaccounts/token`, defaulted.
#[must_use]
pub fn token_request(request: &TokenRequest) -> Vec<Cause> {
    let mut out = Report::default();
    let seconds = request.spec.as_ref().and_then(|spec| spec.expiration_seconds).unwrap_or(0);
    let spec = At::new("spec");
    let at = spec.field("expirationSeconds");
    if seconds < 600 {
        out.invalid(at, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        out.invalid(at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    out.into_causes()
}

/// The body of `pods/binding`.
#[must_use]
pub fn binding(binding: &Binding) -> Vec<Cause> {
    let mut out = Report::default();
    let at = At::new("target");
    let kind = text(&binding.target.kind);
    if !["", "Node"].contains(&kind) {
        out.not_supported(at.field("kind"), kind, &["Node", "<empty>"]);
    }
    if text(&binding.target.name).is_empty() {
        out.required(at.field("name"), "");
    }
    out.into_causes()
}

/// The options of a deletion.
#[must_use]
pub fn delete_options(options: &DeleteOptions) -> Vec<Cause> {
    let mut out = Report::default();
    let at = At::new("propagationPolicy");
    if let Some(policy) = &options.propagation_policy {
        if options.orphan_dependents.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            out.invalid(at, &**policy, why);
        }
        out.known(at, policy, &["Foreground", "Background", "Orphan", "nil"]);
    }
    for wanted in items(&options.dry_run) {
        out.known(At::new("dryRun"), wanted, &["All"]);
    }
    out.into_causes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(causes: &[Cause]) -> String {
        causes.iter().map(|cause| format!("{cause}\n")).collect()
    }

    #[test]
    fn bodies() {
        let scaled: Scale =
            serde_json::from_value(json!({"metadata": {}, "spec": {"replicas": -1}})).unwrap();
        let wanted = "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n";
        assert_eq!(said(&scale(&scaled)), wanted);
        let mut request = TokenRequest::default();
        crate::defaults::token_request(&mut request);
        assert_eq!(said(&token_request(&request)), "");
        request.spec.get_or_insert_default().expiration_seconds = Some(5);
        let wanted = "spec.expirationSeconds: Invalid value: 5: may not specify a duration less \
                      than 10 minutes\n";
        assert_eq!(said(&token_request(&request)), wanted);
        assert_eq!(said(&binding(&Binding::default())), "target.name: Required value\n");
        let options = json!({"propagationPolicy": "Later", "dryRun": ["Some"]});
        let options: DeleteOptions = serde_json::from_value(options).unwrap();
        let wanted = "propagationPolicy: Unsupported value: \"Later\": supported values: \
                      \"Foreground\", \"Background\", \"Orphan\", \"nil\"\n\
                      dryRun: Unsupported value: \"Some\": supported values: \"All\"\n";
        assert_eq!(said(&delete_options(&options)), wanted);
    }
}
