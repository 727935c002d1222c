//! Namespaces that stay.

use api::ApiError;

use crate::{Operation, Request};

/// Refuses the deletion of the namespaces that a cluster needs (`NamespaceLifecycle`).
pub(crate) fn keep(request: &Request<'_>) -> Result<(), ApiError> {
    const KEPT: &[&str] = &["default", "kube-system", "kube-public"];
    let names = request.resource.names();
    let deletes = request.operation == Operation::Delete && request.subresource.is_empty();
    if deletes && names.plural == "namespaces" && KEPT.contains(&request.name) {
        return Err(request.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}
