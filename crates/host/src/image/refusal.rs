//! What a registry said, or why nobody answered, in the words in which containerd passes it on:
//! people and tools look for `connection refused` and `x509: certificate signed by unknown
//! authority`.
//!
//! Source: containerd v2 `core/remotes/docker`, Go `net`, `crypto/tls`.

use std::{error::Error, io, iter};

use http::StatusCode;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use rustls::{CertificateError, InvalidMessage};

use super::Name;
use crate::runtime::ImageError;

/// How containerd words a missing login.
const DENIED: &str = "pull access denied, repository does not exist or may require authorization: \
                      authorization failed: no basic auth credentials";

/// Which part of a pull was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// From name to manifest.
    Resolve,
    /// A blob.
    Copy,
}

/// What was asked, for the sentence about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The image.
    pub(super) name: &'a Name,
    /// Which part of the pull.
    pub(super) stage: Stage,
    /// Whether a login was shown.
    pub(super) with_login: bool,
}

impl Asked<'_> {
    fn before(self) -> String {
        match self.stage {
            Stage::Resolve => format!("failed to resolve reference {:?}: ", self.name.to_string()),
            Stage::Copy => "failed to copy: httpReadSeeker: failed open: ".to_owned(),
        }
    }

    fn method(self) -> &'static str {
        match self.stage {
            Stage::Resolve => "HEAD",
            Stage::Copy => "GET",
        }
    }

    /// Where the manifest is.
    fn url(self) -> String {
        let scheme = if self.name.is_loopback() { "http" } else { "https" };
        let tag = self.name.digest.as_deref().or(self.name.tag.as_deref()).unwrap_or("latest");
        format!("{scheme}://{}/v2/{}/manifests/{tag}", self.name.registry, self.name.repository)
    }

    /// The error as events quote it.
    pub(super) fn refusal(self, error: &OciDistributionError) -> ImageError {
        let reference = self.name.to_string();
        let absent = || format!("{reference}: not found");
        let why = match error {
            OciDistributionError::RequestError(request) => {
                let url = match (self.stage, request.url()) {
                    (Stage::Copy, Some(url)) => url.to_string(),
                    _ => self.url(),
                };
                return self.unreachable(&url, error);
            }
            OciDistributionError::IoError(_) => return self.unreachable(&self.url(), error),
            OciDistributionError::ImageManifestNotFoundError(_) => absent(),
            OciDistributionError::RegistryError { envelope, url } => {
                let is = |codes: &[OciErrorCode]| {
                    envelope.errors.iter().any(|error| codes.contains(&error.code))
                };
                if is(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                ]) {
                    absent()
                } else if is(&[OciErrorCode::Unauthorized]) {
                    self.denied(401, url)
                } else if is(&[OciErrorCode::Denied]) {
                    self.denied(403, url)
                } else {
                    error.to_string()
                }
            }
            OciDistributionError::ServerError { code: 404, .. } => absent(),
            OciDistributionError::ServerError { code: code @ (401 | 403), url, .. } => {
                self.denied(*code, url)
            }
            OciDistributionError::UnauthorizedError { url } => self.denied(401, url),
            OciDistributionError::AuthenticationFailure(_) => self.denied(401, &self.url()),
            OciDistributionError::ServerError { code, url, .. } => self.unexpected(*code, url),
            other => chain(other),
        };
        ImageError::Refused { reference, why: self.before() + &why }
    }

    fn denied(self, code: u16, url: &str) -> String {
        if self.with_login { self.unexpected(code, url) } else { DENIED.to_owned() }
    }

    fn unexpected(self, code: u16, url: &str) -> String {
        let words = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
        let url = if self.stage == Stage::Resolve { self.url() } else { url.to_owned() };
        let (method, words) = (self.method(), words.unwrap_or_default());
        format!("unexpected status from {method} request to {url}: {code} {words}")
    }

    fn unreachable(self, url: &str, error: &OciDistributionError) -> ImageError {
        let method = match self.stage {
            Stage::Resolve => "Head",
            Stage::Copy => "Get",
        };
        let cause = cause(error, &self.name.registry).unwrap_or_else(|| chain(error));
        let before = self.before();
        let why = format!("{before}failed to do request: {method} {url:?}: {cause}");
        ImageError::Unreachable { reference: self.name.to_string(), why }
    }
}

/// Whether another login may be taken where this one was not.
pub(super) fn is_about_login(error: &ImageError) -> bool {
    let ImageError::Refused { why, .. } = error else { return false };
    [DENIED, ": 401 Unauthorized", ": 403 Forbidden"].iter().any(|end| why.ends_with(end))
}

/// The cause in Go's words, where it is one that people know.
fn cause(error: &OciDistributionError, registry: &str) -> Option<String> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (registry, "443"),
    };
    let causes = || iter::successors(error.source(), |error| (*error).source());
    if let Some(text) =
        causes().map(ToString::to_string).find(|text| text.starts_with("failed to lookup address"))
    {
        let why = text.rsplit(": ").next().unwrap_or_default();
        let why = if why.contains("not known") { "no such host" } else { why };
        return Some(format!("dial tcp: lookup {host}: {why}"));
    }
    causes().find_map(|cause| {
        let error = cause.downcast_ref::<io::Error>()?;
        if let Some(tls) = tls_within(error) {
            return Some(of_tls(tls));
        }
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused",
            io::ErrorKind::NetworkUnreachable => "connect: network is unreachable",
            io::ErrorKind::HostUnreachable => "connect: no route to host",
            io::ErrorKind::TimedOut => "i/o timeout",
            _ => return None,
        };
        Some(format!("dial tcp {host}:{port}: {why}"))
    })
}

/// Layers of the client each wrap it once more.
fn tls_within(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_within(inner.downcast_ref()?))
}

fn of_tls(error: &rustls::Error) -> String {
    let x509 = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            x509("certificate signed by unknown authority")
        }
        rustls::Error::InvalidCertificate(why) => x509(&why.to_string()),
        other => format!("tls: {other}"),
    }
}

/// An error with its causes, for one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |error| (*error).source()) {
        let next = cause.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
    }
    text
}
