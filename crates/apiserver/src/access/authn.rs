//! Who calls: a client certificate, a service-account token, or nobody in particular.
//!
//! Source: kubernetes v1.36 `apiserver/pkg/authentication/request/{x509,bearertoken,websocket}`.

use api::{ApiError, Reason};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use client::Identity;
use http::{HeaderMap, header};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{AccessControl, tokens::Checked};

const AUTHENTICATED: &str = "system:authenticated";
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
/// How a browser's WebSocket, which cannot set headers, carries a token.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// What a request that says nothing about its sender is.
pub(super) fn anonymous() -> Identity {
    Identity {
        user: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..Identity::default()
    }
}

/// 401, which never says why.
pub(super) fn unauthorized() -> ApiError {
    ApiError::new(Reason::Unauthorized, "Unauthorized")
}

impl AccessControl {
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        certificates: &[CertificateDer<'static>],
    ) -> Result<Identity, ApiError> {
        if let Some(identity) = certificates.first().and_then(|leaf| of_certificate(leaf)) {
            return Ok(identity);
        }
        let Some(token) = bearer(headers).or_else(|| websocket_token(headers)) else {
            return Ok(anonymous());
        };
        let checked =
            self.tokens.check(&token, &self.audiences, &self.directory.facts(), self.ambient.now());
        match checked {
            Ok(checked) => Ok(of_token(&checked)),
            Err(error) => {
                tracing::debug!(%error, "a token was refused");
                Err(unauthorized())
            }
        }
    }
}

/// The user whom a verified certificate names: CN is the user, each O a group.
pub(super) fn of_certificate(der: &[u8]) -> Option<Identity> {
    let (_rest, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    if user.is_empty() {
        return None;
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    authenticated(&mut groups);
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Identity {
        user: user.to_owned(),
        groups,
        uid: String::new(),
        extra: vec![(CREDENTIAL.to_owned(), vec![format!("X509SHA256={hex}")])],
    })
}

fn authenticated(groups: &mut Vec<String>) {
    if !groups.iter().any(|group| group == AUTHENTICATED || group == "system:unauthenticated") {
        groups.push(AUTHENTICATED.to_owned());
    }
}

/// The user whom a token that counts names.
pub(super) fn of_token(checked: &Checked) -> Identity {
    let bound = &checked.bound;
    let (namespace, name) = (&bound.namespace, &bound.serviceaccount.name);
    let mut extra = Vec::new();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            extra.push((key.to_owned(), vec![value]));
        }
    };
    add(CREDENTIAL, format!("JTI={}", checked.id));
    if let Some(node) = &bound.node {
        add("authentication.kubernetes.io/node-name", node.name.clone());
        add("authentication.kubernetes.io/node-uid", node.uid.clone());
    }
    if let Some(pod) = &bound.pod {
        add("authentication.kubernetes.io/pod-name", pod.name.clone());
        add("authentication.kubernetes.io/pod-uid", pod.uid.clone());
    }
    Identity {
        user: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.to_owned(),
        ],
        uid: bound.serviceaccount.uid.clone(),
        extra,
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn websocket_token(headers: &HeaderMap) -> Option<String> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers =
        offers.filter_map(|offer| offer.to_str().ok()).flat_map(|text| text.split(','));
    let encoded = offers.find_map(|offer| offer.trim().strip_prefix(WEBSOCKET_TOKEN))?;
    let engines = [&URL_SAFE_NO_PAD, &STANDARD_NO_PAD, &STANDARD];
    let bytes = engines.into_iter().find_map(|engine| engine.decode(encoded).ok())?;
    String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
}
