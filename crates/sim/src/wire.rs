//! The way from one caller to the API server, on which everything may go wrong.
//!
//! ```text
//!   kube::Client ─▶ Wire: draw a fault ─▶ ApiServer ─▶ answer noted ─▶ (fault) ─▶ caller
//!                                                    └ watch: each event may meet its fate
//! ```

use std::{
    future::Future,
    io::{Error, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apiserver::BoxError;
use bytes::Bytes;
use client::kube::client::Body;
use futures::stream;
use http::{Request, Response, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use serde::Deserialize;
use store::Fault;
use tokio::{sync::futures::OwnedNotified, time::sleep};

use crate::{
    faults::{Act, Fate, WATCHED, WRONGS, Wrong},
    trace::{Answer, What},
    world::{Life, Line, Unit, World},
};

/// The body of an answer on the wire.
type Answered = UnsyncBoxBody<Bytes, BoxError>;

/// A late request is no later than this, milliseconds.
pub(crate) const LATE_MAX_MS: u64 = 5_000;
/// A stalled watch shows nothing for this long at the most, milliseconds.
pub(crate) const STALL_MAX_MS: u64 = 20_000;
/// Events after which a watch's fate comes at the latest.
const FATE_AFTER_MAX: u64 = 12;

/// One caller's way to the API server.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) world: Arc<World>,
    /// The caller, as the trace names it.
    pub(crate) who: Arc<str>,
    /// With whom it dies.
    pub(crate) unit: Unit,
    pub(crate) life: Life,
    pub(crate) line: Line,
}

/// As much of an answer as is noted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    metadata: ToldMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ToldMeta {
    resource_version: String,
}

/// A request taken apart: kind, name and part of what it asks for.
struct Asked<'a> {
    plural: &'a str,
    named: bool,
    part: &'a str,
    watches: bool,
    /// For the latest state, not for one that was.
    latest: bool,
}

impl tower::Service<Request<Body>> for Wire {
    type Response = Response<Answered>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answered>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move { wire.pass(request).await })
    }
}

impl Wire {
    async fn pass(self, request: Request<Body>) -> Result<Response<Answered>, BoxError> {
        self.life.go_on().await;
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let asked = Asked::of(&parts);
        if !self.line.is_whole() {
            self.rest(1_000).await;
            return Err(lost("the network is unreachable"));
        }
        let chance = &self.world.chance;
        if chance.percent(25) {
            self.rest(chance.between(1, 3)).await;
        }
        if asked.watches {
            let kind = WATCHED.iter().find(|kind| **kind == asked.plural).copied();
            return self.watch(parts, kind).await;
        }
        let act = act(&parts, &asked, &self.who);
        match self.draw(act) {
            None => self.carry(parts, bytes).await,
            Some(wrong) => {
                self.world.tally.request(wrong, act);
                self.world.trace.say(format!("{wrong:?} for {act:?} of {}", self.who));
                self.meet(wrong, parts, bytes).await
            }
        }
    }

    /// What goes wrong with this request, if something does.
    fn draw(&self, act: Act) -> Option<Wrong> {
        if !self.world.storms() || self.unit == Unit::Person || act == Act::Other {
            return None;
        }
        let rate = match act {
            Act::Event | Act::Lease => 3,
            Act::Slice | Act::PodStatus | Act::SetStatus => 6,
            _ => 14,
        };
        let chance = &self.world.chance;
        if !chance.percent(rate) {
            return None;
        }
        let (wrong, _) = chance.pick(&WRONGS)?;
        let kills =
            matches!(wrong, Wrong::CallerDiesBefore | Wrong::CallerDiesAfter | Wrong::ServerDies);
        (!kills || chance.percent(50)).then_some(*wrong)
    }

    async fn meet(
        self,
        wrong: Wrong,
        parts: Parts,
        bytes: Bytes,
    ) -> Result<Response<Answered>, BoxError> {
        let chance = &self.world.chance;
        match wrong {
            Wrong::Lost => {
                self.rest(chance.between(1, 2_000)).await;
                Err(lost("the connection was reset before the request arrived"))
            }
            Wrong::AnswerLost => {
                drop(self.carry(parts, bytes).await);
                Err(lost("the connection was reset before the answer arrived"))
            }
            Wrong::Late => {
                self.rest(chance.between(10, LATE_MAX_MS)).await;
                self.carry(parts, bytes).await
            }
            Wrong::Twice => {
                let first = self.carry(parts.clone(), bytes.clone()).await;
                self.rest(chance.between(0, 50)).await;
                let second = self.carry(parts, bytes).await;
                if chance.percent(50) { first } else { second }
            }
            Wrong::DiskFull | Wrong::DiskFails => {
                let fault = if wrong == Wrong::DiskFull { Fault::Full } else { Fault::Io };
                let _bad = self.world.bad_disk(fault);
                self.rest(chance.between(0, 200)).await;
                self.carry(parts, bytes).await
            }
            Wrong::CallerDiesBefore => self.die(self.unit.clone()).await,
            Wrong::CallerDiesAfter => {
                drop(self.carry(parts, bytes).await);
                self.die(self.unit.clone()).await
            }
            Wrong::ServerDies => {
                drop(self.carry(parts, bytes).await);
                self.world.kill(Unit::Server);
                self.rest(1).await;
                Err(lost("the connection was reset by the server's end"))
            }
        }
    }

    async fn die(&self, unit: Unit) -> Result<Response<Answered>, BoxError> {
        self.life.end();
        self.world.kill(unit);
        std::future::pending().await
    }

    /// Time passes; the dead do not come back from it.
    async fn rest(&self, ms: u64) {
        if ms > 0 {
            sleep(Duration::from_millis(ms)).await;
        }
        self.life.go_on().await;
    }

    /// Has the request carried out and notes the answer.
    async fn carry(&self, parts: Parts, bytes: Bytes) -> Result<Response<Answered>, BoxError> {
        let Some(server) = self.world.server() else {
            self.rest(1).await;
            return Err(lost("connection refused"));
        };
        let known = self.world.told();
        let asked = Asked::of(&parts);
        let lists = parts.method == http::Method::GET && !asked.named && asked.latest;
        let (method, path) = (parts.method.to_string(), parts.uri.to_string());
        let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        let answer = server.answer(Request::from_parts(parts, body)).await;
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let version = serde_json::from_slice::<Told>(&bytes).unwrap_or_default();
        let revision = version.metadata.resource_version.parse::<u64>().ok();
        let code = head.status.as_u16();
        if let (200..300, Some(revision)) = (code, revision) {
            self.world.tell(revision);
        }
        self.world.trace.note(What::Answer(Answer {
            who: Arc::clone(&self.who),
            method,
            path,
            code,
            revision,
            lists,
            known,
        }));
        self.life.go_on().await;
        let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::from_parts(head, body))
    }

    async fn watch(
        self,
        parts: Parts,
        kind: Option<&'static str>,
    ) -> Result<Response<Answered>, BoxError> {
        let Some(server) = self.world.server() else {
            self.rest(1).await;
            return Err(lost("connection refused"));
        };
        let epoch = Box::pin(self.world.end_of_server());
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let answer = server.answer(Request::from_parts(parts, body)).await;
        let (head, body) = answer.into_parts();
        let mut watched = Watched { wire: self, kind, epoch, body, fate: None, over: false };
        watched.draw();
        let events = stream::unfold(watched, |mut watched| async move {
            let event = watched.next().await?;
            Some((event.map(Frame::data), watched))
        });
        Ok(Response::from_parts(head, StreamBody::new(events).boxed_unsync()))
    }
}

/// A watch under way.
struct Watched {
    wire: Wire,
    kind: Option<&'static str>,
    /// Ends with the server.
    epoch: Pin<Box<OwnedNotified>>,
    body: apiserver::Body,
    /// After so many events, this.
    fate: Option<(u64, Fate)>,
    over: bool,
}

impl Watched {
    fn draw(&mut self) {
        let chance = &self.wire.world.chance;
        let fates = [Fate::Cut, Fate::Expired, Fate::Stalled, Fate::Stalled, Fate::Twice];
        self.fate = (self.wire.unit != Unit::Person && chance.percent(40))
            .then(|| chance.pick(&fates).map(|fate| (chance.below(FATE_AFTER_MAX), *fate)))
            .flatten();
    }

    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if self.over {
            return None;
        }
        self.wire.life.go_on().await;
        let frame = tokio::select! {
            biased;
            () = self.epoch.as_mut() => return self.end("the server is gone"),
            () = self.wire.line.becomes(false) => None,
            frame = self.body.frame() => Some(frame),
        };
        let Some(frame) = frame else {
            // A cut line is silent; only when it works again is it known that it did not.
            self.wire.line.becomes(true).await;
            return self.end("the connection is gone");
        };
        let bytes = match frame {
            None => return None,
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        self.wire.life.go_on().await;
        match self.fate {
            Some((0, fate)) if self.wire.world.storms() => self.meet(fate, bytes).await,
            Some((after, fate)) => {
                self.fate = Some((after.saturating_sub(1), fate));
                Some(Ok(bytes))
            }
            None => Some(Ok(bytes)),
        }
    }

    fn end(&mut self, why: &str) -> Option<Result<Bytes, BoxError>> {
        self.over = true;
        Some(Err(lost(why)))
    }

    async fn meet(&mut self, fate: Fate, bytes: Bytes) -> Option<Result<Bytes, BoxError>> {
        let world = Arc::clone(&self.wire.world);
        if let Some(kind) = self.kind {
            world.tally.watch(fate, kind);
        }
        world.trace.say(format!("{fate:?} for a watch on {:?} of {}", self.kind, self.wire.who));
        self.draw();
        match fate {
            Fate::Cut => {
                self.over = true;
                // A torn line, as a reset leaves it, ends what is read of this answer.
                Some(Err(lost("the connection was reset")))
            }
            Fate::Expired => {
                self.over = true;
                Some(Ok(Bytes::from_static(
                    b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n",
                )))
            }
            Fate::Stalled => {
                sleep(Duration::from_millis(world.chance.between(100, STALL_MAX_MS))).await;
                self.wire.life.go_on().await;
                Some(Ok(bytes))
            }
            Fate::Twice => Some(Ok(Bytes::from([&bytes[..], &bytes[..]].concat()))),
        }
    }
}

impl<'a> Asked<'a> {
    fn of(parts: &'a Parts) -> Self {
        let mut segments = parts.uri.path().trim_start_matches('/').split('/');
        let group = segments.next() == Some("apis");
        let mut rest: Vec<&str> = segments.skip(if group { 2 } else { 1 }).collect();
        if rest.first() == Some(&"namespaces") && rest.len() >= 3 {
            rest.drain(..2);
        }
        let query = parts.uri.query().unwrap_or_default();
        let at = |index: usize| rest.get(index).copied().unwrap_or_default();
        Self {
            plural: at(0),
            named: !at(1).is_empty(),
            part: at(2),
            watches: query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1"),
            latest: !query.contains("resourceVersion="),
        }
    }
}

/// What a request is for.
fn act(parts: &Parts, asked: &Asked<'_>, who: &str) -> Act {
    match (parts.method.as_str(), asked.plural, asked.part) {
        ("POST", "pods", "") => Act::CreatePod,
        ("DELETE", "pods", "") if who.starts_with("node-") => Act::EndPod,
        ("DELETE", "pods", "") => Act::DeletePod,
        ("POST", "persistentvolumeclaims", "") => Act::CreateClaim,
        ("POST", "controllerrevisions", "") => Act::CreateRevision,
        ("PUT" | "PATCH", "statefulsets", "status") => Act::SetStatus,
        ("POST", "pods", "binding") => Act::Bind,
        ("POST" | "PUT" | "PATCH", "persistentvolumeclaims" | "persistentvolumes", _) => {
            Act::BindClaim
        }
        ("PUT" | "PATCH", "pods", "status") => Act::PodStatus,
        ("POST" | "PUT" | "PATCH", "endpointslices", _) => Act::Slice,
        (_, "leases", _) => Act::Lease,
        (_, "events", _) => Act::Event,
        ("GET", _, "") if !asked.named => Act::List,
        _ => Act::Other,
    }
}

fn lost(why: &str) -> BoxError {
    Box::new(Error::new(ErrorKind::ConnectionReset, why.to_owned()))
}
