//! WATCH: a cursor into the store's log, written as lines of JSON.
//!
//! ```text
//! synthetic ADDED… ▶ (initial-events-end) ▶ events as they come, bookmarks ▶ last bookmark
//!                                            └─ too far behind: ERROR 410
//! ```

use std::{collections::VecDeque, sync::Arc};

use api::{ApiError, Resource, selector::Selector};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, header};
use store::{Event, Row, Watch, WatchError};
use tokio::time::{Duration, Instant, sleep_until};

use crate::{
    answer::Body,
    call::Call,
    codec,
    list::{check_options, collection, selector, too_old, version_of},
    negotiate::{Accept, Form, Format},
    query::Query,
    server::ApiServer,
    table::Render,
};

/// Upstream sends a bookmark about once a minute.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// And one this long before the watch times out.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// How long a watch runs whose client says nothing; upstream: 30 to 60 minutes.
const TIMEOUT_MIN_S: u64 = 1800;
/// About how many bytes of events are written at once.
const FRAME_BYTES: usize = 32 * 1024;
/// How many events are taken from the log at once.
const BATCH: usize = 256;

impl ApiServer {
    /// A watch on a collection.
    pub(crate) async fn watch(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
    ) -> Result<Response<Body>, ApiError> {
        check_options(&call.query, true)?;
        let mut query = call.query.clone();
        if !call.ask.name.is_empty() && query.selected_name().is_none() {
            // The old path `/watch/…/NAME` pins the name.
            query.select_name(&call.ask.name);
        }
        let filter = selector(resource, &query)?;
        let from = version_of(&call.query)?;
        if let Some(version) = from {
            self.wait_for(version).await?;
        }
        let prefix = collection(resource, &call.ask.namespace);
        let render = call.render(resource)?;
        let now = Instant::now();
        let mut state = State {
            server: self.clone(),
            filter,
            render,
            initial: VecDeque::new(),
            end_of_initial: None,
            cursor: None,
            bookmarks: query.flag("allowWatchBookmarks"),
            head_sent: false,
            next_bookmark: now + BOOKMARK_EVERY,
            ends: now + self.watch_timeout(&query),
            last_bookmark_sent: false,
            error: None,
        };
        state.begin(&prefix, from, &query);
        let stream = stream::unfold(state, |mut state| async move {
            let bytes = state.next().await?;
            Some((bytes, state))
        });
        let mut response = Response::new(Body::Stream(Box::pin(stream)));
        let content_type = content_type(call.accept);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(response)
    }

    fn watch_timeout(&self, query: &Query) -> Duration {
        let asked = query.get("timeoutSeconds").and_then(|text| text.parse::<u64>().ok());
        match asked {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => {
                let mut jitter = [0_u8; 2];
                self.ambient().fill(&mut jitter);
                let jitter_s = u64::from(u16::from_le_bytes(jitter)) % TIMEOUT_MIN_S;
                Duration::from_secs(TIMEOUT_MIN_S + jitter_s)
            }
        }
    }
}

fn content_type(accept: Accept) -> &'static str {
    match accept.format {
        Format::Json | Format::Yaml => "application/json",
    }
}

struct State {
    server: ApiServer,
    filter: Selector,
    render: Render,
    /// Rows to show as ADDED first.
    initial: VecDeque<Arc<Row>>,
    /// The revision of the bookmark that ends them, if one is asked for.
    end_of_initial: Option<u64>,
    cursor: Option<Watch>,
    bookmarks: bool,
    /// The columns of a table have been sent.
    head_sent: bool,
    next_bookmark: Instant,
    ends: Instant,
    last_bookmark_sent: bool,
    error: Option<ApiError>,
}

impl State {
    fn begin(&mut self, prefix: &str, from: Option<u64>, query: &Query) {
        let initial = query.switch("sendInitialEvents");
        let store = self.server.store();
        let after = match (from, initial) {
            (Some(from), None | Some(false)) => from,
            (None, Some(false)) => store.revision(),
            (_, Some(true)) | (None, None) => {
                let listing = store.list(prefix, None, 0);
                self.initial = listing.rows.into();
                if initial == Some(true) {
                    self.end_of_initial = Some(listing.revision);
                }
                listing.revision
            }
        };
        match self.server.store().watch(prefix, after) {
            Ok(cursor) => self.cursor = Some(cursor),
            Err(error) => self.error = Some(refusal(error)),
        }
    }

    /// The next lines; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if self.error.is_none() {
            match self.write_initial(&mut out) {
                Ok(()) if !out.is_empty() => return Some(out.into()),
                Ok(()) => {}
                Err(error) => self.error = Some(error),
            }
        }
        if self.error.is_none()
            && let Err(error) = self.write_live(&mut out).await
        {
            self.error = Some(error);
        }
        if out.is_empty() {
            let error = self.error.take()?;
            // The cursor is gone: the next call ends the stream.
            self.cursor = None;
            let status = serde_json::to_vec(&error.to_status()).unwrap_or_default();
            line(&mut out, "ERROR", &status);
        }
        Some(out.into())
    }

    fn write_initial(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        while let Some(row) = self.initial.pop_front() {
            if self.filter.matches_index(&row.index) {
                self.write_event(out, "ADDED", &row.value)?;
            }
            if out.len() >= FRAME_BYTES {
                return Ok(());
            }
        }
        if let Some(revision) = self.end_of_initial.take() {
            self.write_bookmark(out, revision, true);
        }
        Ok(())
    }

    /// Waits for events, a bookmark's time or the end; writes nothing at the end.
    async fn write_live(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        while out.is_empty() {
            let Some(mut cursor) = self.cursor.take() else { return Ok(()) };
            let wakes = self.wakes_at();
            let taken = tokio::select! {
                biased;
                events = cursor.next_batch(BATCH) => Some(events),
                () = sleep_until(wakes) => None,
            };
            match taken {
                Some(Ok(events)) => {
                    for event in &events {
                        self.write_change(out, event)?;
                    }
                    self.cursor = Some(cursor);
                }
                Some(Err(WatchError::Closed)) => return Ok(()),
                Some(Err(error)) => return Err(refusal(error)),
                None => {
                    // An idle cursor has not been told of what others wrote.
                    for event in &cursor.take(BATCH).map_err(refusal)? {
                        self.write_change(out, event)?;
                    }
                    if !self.write_timed(out, cursor.seen()) {
                        return Ok(());
                    }
                    self.cursor = Some(cursor);
                }
            }
        }
        Ok(())
    }

    fn wakes_at(&self) -> Instant {
        if !self.bookmarks {
            return self.ends;
        }
        if self.last_bookmark_sent {
            return self.ends;
        }
        self.next_bookmark.min(self.ends - BOOKMARK_BEFORE_END.min(self.ends - Instant::now()))
    }

    /// A bookmark that is due; false at the end of the watch.
    fn write_timed(&mut self, out: &mut Vec<u8>, seen: u64) -> bool {
        let now = Instant::now();
        if now >= self.ends && (self.last_bookmark_sent || !self.bookmarks) {
            return false;
        }
        self.last_bookmark_sent = now + BOOKMARK_BEFORE_END >= self.ends;
        self.next_bookmark = now + BOOKMARK_EVERY;
        self.write_bookmark(out, seen, false);
        true
    }

    fn write_change(&mut self, out: &mut Vec<u8>, event: &Event) -> Result<(), ApiError> {
        let filter = &self.filter;
        let was = event.before.as_ref().is_some_and(|row| filter.matches_index(&row.index));
        let is = !event.deleted && filter.matches_index(&event.after.index);
        let kind = match (was, is) {
            (false, false) => return Ok(()),
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        match &event.before {
            // It lives on, but not for this watcher, who sees what it last knew of.
            Some(before) if kind == "DELETED" && !event.deleted => {
                let last = codec::at_revision(&before.value, event.revision)?;
                self.write_event(out, kind, &last)
            }
            _ => self.write_event(out, kind, &event.after.value),
        }
    }

    fn write_event(
        &mut self,
        out: &mut Vec<u8>,
        kind: &str,
        value: &Bytes,
    ) -> Result<(), ApiError> {
        if self.render.form == Form::Whole && self.render.resource.alias().is_none() {
            line(out, kind, value);
            return Ok(());
        }
        let bytes = self.render.object(value, !self.head_sent)?;
        self.head_sent = true;
        line(out, kind, &bytes);
        Ok(())
    }

    fn write_bookmark(&self, out: &mut Vec<u8>, revision: u64, initial: bool) {
        let annotations =
            if initial { "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}," } else { "" };
        let metadata = format!(
            "{{{annotations}\"creationTimestamp\":null,\"resourceVersion\":\"{revision}\"}}"
        );
        let names = self.render.resource.names();
        let object = match self.render.form {
            Form::Whole | Form::Discovery => format!(
                "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",\"metadata\":{metadata}}}",
                names.api_version(),
                names.kind
            ),
            Form::Metadata => format!(
                "{{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\
                 \"metadata\":{metadata}}}"
            ),
            Form::Table(version) => format!(
                "{{\"apiVersion\":\"meta.k8s.io/{version}\",\"columnDefinitions\":[],\
                 \"kind\":\"Table\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\
                 \"rows\":[{{\"cells\":[],\"object\":{{\"apiVersion\":\"meta.k8s.io/v1\",\
                 \"kind\":\"PartialObjectMetadata\",\"metadata\":{metadata}}}}}]}}"
            ),
        };
        line(out, "BOOKMARK", object.as_bytes());
    }
}

fn refusal(error: WatchError) -> ApiError {
    match error {
        WatchError::Compacted { asked, oldest } => too_old(asked, oldest),
        WatchError::Closed => {
            ApiError::new(api::Reason::ServiceUnavailable, "the server is shutting down")
        }
    }
}

fn line(out: &mut Vec<u8>, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}
