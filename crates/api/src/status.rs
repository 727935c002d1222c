//! Answers that are not objects: the `Status` of an error, in upstream's words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use thiserror::Error;

use crate::field::Cause;

/// Why a request was refused. One variant per `reason` a client can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 406
    NotAcceptable,
    /// 409, create of what exists
    AlreadyExists,
    /// 409, the version differs
    Conflict,
    /// 410, the version is gone for good
    Gone,
    /// 410, the version was compacted
    Expired,
    /// 413
    RequestEntityTooLarge,
    /// 415
    UnsupportedMediaType,
    /// 422
    Invalid,
    /// 429
    TooManyRequests,
    /// 500
    InternalError,
    /// 500, the server cannot do it now
    ServerTimeout,
    /// 503
    ServiceUnavailable,
    /// 504
    Timeout,
}

impl Reason {
    /// The HTTP status code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::NotAcceptable => 406,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Gone | Reason::Expired => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::InternalError | Reason::ServerTimeout => 500,
            Reason::ServiceUnavailable => 503,
            Reason::Timeout => 504,
        }
    }
}

/// A refusal, complete: what is answered, logged and matched by clients.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{message}")]
pub struct ApiError {
    /// The class.
    pub reason: Reason,
    /// The sentence a person reads.
    pub message: String,
    /// Group, kind (the plural for NotFound and the like), name, uid and causes.
    pub details: Option<Box<StatusDetails>>,
}

/// What an error is about, as messages name it: `statefulsets.apps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural resource name; for `invalid` the kind.
    pub resource: &'a str,
}

impl About<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    fn details(&self, name: &str) -> StatusDetails {
        StatusDetails {
            group: Some(self.group.to_owned()).filter(|group| !group.is_empty()),
            kind: Some(self.resource.to_owned()).filter(|kind| !kind.is_empty()),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            ..StatusDetails::default()
        }
    }
}

impl ApiError {
    /// An error of this reason about nothing in particular.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    /// `pods "x" not found`
    #[must_use]
    pub fn not_found(about: About<'_>, name: &str) -> Self {
        let message = format!("{} {name:?} not found", about.qualified());
        Self::about(Reason::NotFound, message, about, name)
    }

    /// `pods "x" already exists`
    #[must_use]
    pub fn already_exists(about: About<'_>, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", about.qualified());
        Self::about(Reason::AlreadyExists, message, about, name)
    }

    /// `Operation cannot be fulfilled on pods "x": why`
    #[must_use]
    pub fn conflict(about: About<'_>, name: &str, why: &str) -> Self {
        let target = about.qualified();
        let message = format!("Operation cannot be fulfilled on {target} {name:?}: {why}");
        Self::about(Reason::Conflict, message, about, name)
    }

    /// The conflict of a write that carries an old resourceVersion.
    #[must_use]
    pub fn modified(about: About<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest \
                   version and try again";
        Self::conflict(about, name, why)
    }

    /// `pods "x" is forbidden: why`
    #[must_use]
    pub fn forbidden(about: About<'_>, name: &str, why: &str) -> Self {
        let message = match (about.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{} is forbidden: {why}", about.qualified()),
            (false, false) => format!("{} {name:?} is forbidden: {why}", about.qualified()),
        };
        Self::about(Reason::Forbidden, message, about, name)
    }

    /// `Pod "x" is invalid: field: fault`; several causes stand in brackets.
    ///
    /// `about.resource` is the kind here, as upstream has it.
    #[must_use]
    pub fn invalid(about: About<'_>, name: &str, causes: &[Cause]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for text in causes.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {list}", about.qualified());
        let mut error = Self::about(Reason::Invalid, message, about, name);
        if let Some(details) = &mut error.details {
            details.causes = Some(causes.iter().map(status_cause).collect());
        }
        error
    }

    /// 400 with this sentence.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 500: `Internal error occurred: why`
    #[must_use]
    pub fn internal(why: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {why}"))
    }

    /// Seconds after which the client may ask again.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: i32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    /// With details, be they empty: clients tell by them whether a server of Kubernetes speaks, and
    /// kubectl reads them without looking whether they are there.
    #[must_use]
    pub fn with_details(mut self) -> Self {
        self.details.get_or_insert_default();
        self
    }

    /// Adds a cause that is no field fault, as `NamespaceTerminating`.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let cause = StatusCause {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()).filter(|text| !text.is_empty()),
            field: Some(field.to_owned()).filter(|text| !text.is_empty()),
        };
        self.details.get_or_insert_default().causes.get_or_insert_default().push(cause);
        self
    }

    /// The object that goes over the wire.
    #[must_use]
    pub fn to_status(&self) -> Status {
        Status {
            status: Some("Failure".to_owned()),
            code: Some(i32::from(self.reason.code())),
            reason: Some(format!("{:?}", self.reason)),
            message: Some(self.message.clone()),
            details: self.details.as_deref().cloned(),
            ..Status::default()
        }
    }

    fn about(reason: Reason, message: String, about: About<'_>, name: &str) -> Self {
        Self { reason, message, details: Some(Box::new(about.details(name))) }
    }
}

fn status_cause(cause: &Cause) -> StatusCause {
    StatusCause {
        reason: Some(cause.fault.reason().to_owned()),
        message: Some(cause.message.clone()),
        field: Some(cause.field.to_string()),
    }
}
