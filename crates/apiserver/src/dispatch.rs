//! From verb and subresource to the handler.

use api::{ApiError, Part, Resource};
use http::Response;

use crate::{
    answer::Body,
    call::Call,
    server::{ApiServer, not_allowed},
};

impl ApiServer {
    /// Answers a request about a known resource.
    pub(crate) async fn dispatch(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let verb = call.verb();
        let subresource = call.ask.subresource.as_str();
        check_verb(call, resource)?;
        match (verb, subresource) {
            ("get", "" | "status") => self.get(call, resource).await,
            ("list", "") => self.list(call, resource).await,
            ("watch", "") => self.watch(call, resource).await,
            ("create", "") => self.create(call, resource, bytes).await,
            ("update", "") => self.update(call, resource, Part::Main, bytes).await,
            ("update", "status") => self.update(call, resource, Part::Status, bytes).await,
            ("patch", "") => self.patch(call, resource, Part::Main, bytes).await,
            ("patch", "status") => self.patch(call, resource, Part::Status, bytes).await,
            ("patch", "scale") => self.patch_scale(call, resource, bytes).await,
            ("delete", "") => self.delete(call, resource, bytes).await,
            ("deletecollection", "") => self.delete_collection(call, resource, bytes).await,
            ("get", "scale") => self.get_scale(call, resource),
            ("update", "scale") => self.update_scale(call, resource, bytes).await,
            ("create", "binding") => self.bind(call, resource, bytes).await,
            ("create", "eviction") => self.evict(call, resource, bytes).await,
            ("create", "token") => self.token(call, resource, bytes),
            ("update", "finalize") => self.finalize(call, resource, bytes).await,
            _ => Err(not_allowed()),
        }
    }
}

/// 405 unless the entry offers this verb at this path.
fn check_verb(call: &Call, resource: &'static dyn Resource) -> Result<(), ApiError> {
    let (verb, ask) = (call.verb(), &call.ask);
    let offered = match resource.subresource(&ask.subresource) {
        Some(subresource) => subresource.verbs,
        None => resource.verbs(),
    };
    let everywhere = resource.namespaced() && ask.namespace.is_empty();
    let wrong_place = match verb {
        "create" => ask.subresource.is_empty() != ask.name.is_empty(),
        "list" | "watch" => false,
        "deletecollection" => everywhere,
        _ => everywhere || ask.name.is_empty(),
    };
    if !offered.contains(&verb) || wrong_place || (everywhere && verb == "create") {
        return Err(not_allowed());
    }
    Ok(())
}
