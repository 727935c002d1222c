//! GET and LIST: stored bytes, from memory, at one revision.

use api::{
    ApiError, Reason, Resource,
    field::{Cause, Path},
    k8s::apimachinery::pkg::apis::meta::v1::{ListMeta, Status},
    selector::Selector,
    status::About,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use store::{ListError, Listing};
use tokio::time::{Duration, timeout};

use crate::{
    answer::{self, Body},
    call::Call,
    query::Query,
    server::ApiServer,
};

/// How long a read waits for a revision that is yet to be written: upstream's 3 s.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Where a list goes on: upstream's token, base64 of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Version of the token's format.
    #[serde(rename = "v")]
    format: String,
    /// The revision of the snapshot; -1 goes on without one.
    rv: i64,
    /// The last key answered, within the collection.
    start: String,
}

const TOKEN_FORMAT: &str = "meta.k8s.io/v1";
const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list \
    result. You can start a new list without the continue parameter, or use the continue token in \
    this response to retrieve the remainder of the results. Continuing with the provided token \
    results in an inconsistent list - objects that were created, modified, or deleted between the \
    time the first chunk was returned and now may show up in the list.";

impl ApiServer {
    /// One object.
    pub(crate) async fn get(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
    ) -> Result<Response<Body>, ApiError> {
        if let Some(version) = version_of(&call.query)? {
            self.wait_for(version).await?;
        }
        let key = resource.key(&call.ask.namespace, &call.ask.name);
        let row = self.store().get(&key);
        let row = row.ok_or_else(|| ApiError::not_found(Call::about(resource), &call.ask.name))?;
        call.object(resource, StatusCode::OK, &row.value)
    }

    /// A collection, or a page of it.
    pub(crate) async fn list(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
    ) -> Result<Response<Body>, ApiError> {
        check_options(&call.query, false)?;
        let filter = selector(resource, &call.query)?;
        let prefix = collection(resource, &call.ask.namespace);
        let limit = read_limit(&call.query)?;
        let token = call.query.get("continue").map(read_token).transpose()?;
        let (listing, at) = self.listing(call, &prefix, token.as_ref(), limit, &filter).await?;
        let page = Page::cut(&filter, &listing, limit);
        let metadata = page.metadata(&prefix, at, &filter, &listing, limit);
        let metadata = serde_json::to_string(&metadata).map_err(ApiError::internal)?;
        let rows = page.rows.iter().map(|at| &listing.rows[*at].value);
        let bytes = call.render(resource)?.list(rows, &metadata)?;
        answer::document(StatusCode::OK, call.accept.format, bytes, &call.headers)
    }

    /// The rows to page through, and the revision they are of.
    async fn listing(
        &self,
        call: &Call,
        prefix: &str,
        token: Option<&Token>,
        limit: usize,
        filter: &Selector,
    ) -> Result<(Listing, u64), ApiError> {
        // One more than asked for tells whether anything remains; a filter needs all.
        let fetched = if limit == 0 || !filter.is_everything() { 0 } else { limit };
        let start = token.map(|token| format!("{prefix}{}", token.start));
        if let Some(token) = token {
            let Ok(revision) = u64::try_from(token.rv) else {
                let listing = self.store().list(prefix, start.as_deref(), fetched);
                let at = listing.revision;
                return Ok((listing, at));
            };
            let listing = self.store().list_at(prefix, start.as_deref(), fetched, revision);
            return match listing {
                Ok(listing) => Ok((listing, revision)),
                Err(ListError::Compacted { .. }) => Err(expired(&token.start)?),
                Err(ListError::Future { latest, .. }) => Err(too_large(revision, latest)),
            };
        }
        let version = version_of(&call.query)?;
        if let Some(version) = version {
            self.wait_for(version).await?;
        }
        let exact = call.query.get("resourceVersionMatch") == Some("Exact");
        if let (Some(revision), true) = (version, exact) {
            let listing = self.store().list_at(prefix, None, fetched, revision);
            let listing = listing.map_err(|_| too_old(revision, self.store().oldest()))?;
            return Ok((listing, revision));
        }
        let listing = self.store().list(prefix, None, fetched);
        let at = listing.revision;
        Ok((listing, at))
    }

    /// Waits until a revision is there.
    ///
    /// # Errors
    ///
    /// `Timeout: Too large resource version` when it does not come.
    pub(crate) async fn wait_for(&self, revision: u64) -> Result<(), ApiError> {
        let latest = self.store().revision();
        if revision <= latest {
            return Ok(());
        }
        match timeout(FUTURE_WAIT, self.store().reached(revision)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ApiError::new(Reason::ServiceUnavailable, error.to_string())),
            Err(_) => Err(too_large(revision, self.store().revision())),
        }
    }
}

/// The part of a listing that one page shows.
struct Page {
    rows: Vec<usize>,
    /// Something remains behind the last row.
    more: bool,
}

impl Page {
    fn cut(filter: &Selector, listing: &Listing, limit: usize) -> Self {
        let selected =
            |at: &usize| filter.is_everything() || filter.matches_index(&listing.rows[*at].index);
        let mut rows: Vec<usize> = (0..listing.rows.len()).filter(selected).collect();
        let more = limit > 0 && (rows.len() > limit || listing.remaining > 0);
        if limit > 0 {
            rows.truncate(limit);
        }
        Self { rows, more }
    }

    fn metadata(
        &self,
        prefix: &str,
        revision: u64,
        filter: &Selector,
        listing: &Listing,
        limit: usize,
    ) -> ListMeta {
        let mut metadata =
            ListMeta { resource_version: Some(revision.to_string()), ..ListMeta::default() };
        let last = self.rows.last().and_then(|at| listing.rows[*at].key.strip_prefix(prefix));
        if let (true, Some(last)) = (self.more, last) {
            let rv = i64::try_from(revision).unwrap_or(i64::MAX);
            metadata.continue_ = write_token(rv, last);
            if filter.is_everything() {
                let here = listing.rows.len().saturating_sub(limit) as u64;
                metadata.remaining_item_count = i64::try_from(listing.remaining + here).ok();
            }
        }
        metadata
    }
}

/// Where the rows of a collection are.
pub(crate) fn collection(resource: &'static dyn Resource, namespace: &str) -> String {
    let prefix = resource.prefix();
    if namespace.is_empty() || !resource.namespaced() {
        prefix
    } else {
        format!("{prefix}{namespace}/")
    }
}

/// Reads `labelSelector` and `fieldSelector`.
///
/// # Errors
///
/// 400 for what cannot be read, or a field that the kind does not know.
pub(crate) fn selector(
    resource: &'static dyn Resource,
    query: &Query,
) -> Result<Selector, ApiError> {
    let labels = query.get("labelSelector").unwrap_or_default();
    let fields = query.get("fieldSelector").unwrap_or_default();
    Selector::parse(labels, fields, resource.names())
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The query's `resourceVersion`; unset and 0 are none.
///
/// # Errors
///
/// 400 when it is no number.
pub(crate) fn version_of(query: &Query) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(ApiError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))),
    }
}

fn read_limit(query: &Query) -> Result<usize, ApiError> {
    let Some(text) = query.get("limit") else { return Ok(0) };
    let number: i64 = text.parse().map_err(|_| {
        ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    })?;
    Ok(usize::try_from(number).unwrap_or(0))
}

fn read_token(text: &str) -> Result<Token, ApiError> {
    let refused = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
    let trimmed = text.trim_end_matches('=');
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(trimmed)
        .or_else(|_| STANDARD_NO_PAD.decode(trimmed))
        .map_err(|error| refused(&error.to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|e| refused(&e.to_string()))?;
    if token.format != TOKEN_FORMAT {
        return Err(refused(&format!(
            "server does not recognize this encoded version {:?}",
            token.format
        )));
    }
    if token.start.is_empty() {
        return Err(refused("encoded start key empty"));
    }
    Ok(token)
}

fn write_token(rv: i64, start: &str) -> Option<String> {
    let token = Token { format: TOKEN_FORMAT.to_owned(), rv, start: start.to_owned() };
    let json = serde_json::to_vec(&token).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json))
}

fn expired(start: &str) -> Result<ApiError, ApiError> {
    let token = write_token(-1, start).ok_or_else(|| ApiError::internal("no token"))?;
    // The fresh token travels in `details.name` until the Status is written: see `with_continue`.
    let mut error = ApiError::new(Reason::Expired, EXPIRED);
    error.details.get_or_insert_default().uid = Some(token);
    Ok(error)
}

/// Moves the fresh token of an expired list to where clients look for it: `metadata.continue`.
pub(crate) fn with_continue(error: &ApiError) -> Status {
    let mut status = error.to_status();
    if error.message == EXPIRED {
        let token = status.details.take().and_then(|details| details.uid);
        status.metadata = ListMeta { continue_: token, ..ListMeta::default() };
    }
    status
}

/// 410 for a revision before the window.
pub(crate) fn too_old(asked: u64, oldest: u64) -> ApiError {
    ApiError::new(Reason::Expired, format!("too old resource version: {asked} ({oldest})"))
}

fn too_large(asked: u64, latest: u64) -> ApiError {
    let text = format!("Timeout: Too large resource version: {asked}, current: {latest}");
    ApiError::new(Reason::Timeout, text)
        .with_cause("ResourceVersionTooLarge", "Too large resource version", "")
        .retry_after_s(1)
}

/// What upstream refuses in the options of lists and watches.
///
/// # Errors
///
/// 422 naming the option.
pub(crate) fn check_options(query: &Query, watch: bool) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    let initial = query.switch("sendInitialEvents");
    let path = || Path::new("resourceVersionMatch");
    if initial.is_some() && !watch {
        let text = "sendInitialEvents is forbidden for list";
        causes.push(Cause::forbidden(Path::new("sendInitialEvents"), text));
    }
    if initial.is_some() && watch && matching != Some("NotOlderThan") {
        let text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(Cause::forbidden(path(), text));
    }
    if initial == Some(true) && watch && !query.flag("allowWatchBookmarks") {
        let text = "sendInitialEvents requires allowWatchBookmarks";
        causes.push(Cause::forbidden(Path::new("allowWatchBookmarks"), text));
    }
    if let Some(matching) = matching {
        if watch && initial.is_none() {
            let text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
                        provided";
            causes.push(Cause::forbidden(path(), text));
        }
        if !watch && version.is_none() {
            let text = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden(path(), text));
        }
        if query.get("continue").is_some() {
            let text = "resourceVersionMatch is forbidden when continue is provided";
            causes.push(Cause::forbidden(path(), text));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            causes.push(Cause::not_supported(path(), matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == Some("0") {
            let text = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(path(), text));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let about = About { group: "meta.k8s.io", resource: "ListOptions" };
    Err(ApiError::invalid(about, "", &causes))
}

/// Bytes of a list of objects that are no rows (deletecollection's answer).
pub(crate) fn of_values(
    call: &Call,
    resource: &'static dyn Resource,
    values: &[Bytes],
    revision: u64,
) -> Result<Response<Body>, ApiError> {
    let metadata = format!("{{\"resourceVersion\":\"{revision}\"}}");
    let bytes = call.render(resource)?.list(values.iter(), &metadata)?;
    answer::document(StatusCode::OK, call.accept.format, bytes, &call.headers)
}
