//! Service-account tokens: made, checked, and the documents by which others check them.
//!
//! A token is a JWT (ES256) that names its account and, bound to one, its pod, secret or node. It
//! counts until it expires, and not longer than what it names lives.
//!
//! Source: kubernetes v1.36 `pkg/serviceaccount/claims.go`, `openidmetadata.go`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use super::directory::{Facts, Living};
use crate::contract::Ambient;

/// Who issues tokens, as upstream's clusters have it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What is deleted counts a little longer, as clocks differ. Seconds.
const LEEWAY_S: i64 = 60;

/// The key is not an ECDSA key on P-256 in PKCS#8.
#[derive(Debug, Error)]
#[error("the key of service-account tokens cannot be used")]
pub struct TokenKeyError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Makes and checks tokens.
pub(super) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    key_id: String,
    point: Vec<u8>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// An object by name and uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
}

/// What a token says beyond the standard's claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) namespace: String,
    pub(super) serviceaccount: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Named>,
    /// When its holder should have a new one; seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) warnafter: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    Many(Vec<String>),
    One(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    aud: Audience,
    exp: i64,
    iat: i64,
    iss: String,
    #[serde(default)]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
    nbf: i64,
    sub: String,
}

/// A token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) bound: Bound,
    pub(super) audiences: Vec<String>,
    pub(super) id: String,
}

/// Why a token does not count, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TokenError {
    #[error("invalid bearer token")]
    Foreign,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("service account token has been invalidated")]
    Invalidated,
    #[error("{0}")]
    Account(String),
    #[error("token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience { found: Vec<String>, wanted: Vec<String> },
}

impl Tokens {
    pub(super) fn new(key_pem: &str) -> Result<Self, TokenKeyError> {
        let pair = KeyPair::from_pem(key_pem).map_err(|error| TokenKeyError(error.into()))?;
        let signing = EncodingKey::from_ec_pem(key_pem.as_bytes())
            .map_err(|error| TokenKeyError(error.into()))?;
        let point = pair.public_key_raw().to_vec();
        if point.len() != 65 {
            return Err(TokenKeyError("it is not a key on P-256".into()));
        }
        let info = pair.subject_public_key_info();
        let digest = ring::digest::digest(&ring::digest::SHA256, &info);
        Ok(Self {
            signing,
            checking: DecodingKey::from_ec_der(&point),
            key_id: URL_SAFE_NO_PAD.encode(digest),
            point,
        })
    }

    /// A token from now on for so many seconds; answers it and when it expires.
    pub(super) fn issue(
        &self,
        bound: Bound,
        audiences: Vec<String>,
        seconds: i64,
        ambient: &dyn Ambient,
    ) -> Result<(String, Timestamp), jsonwebtoken::errors::Error> {
        let now = ambient.now().as_second();
        let exp = now.saturating_add(seconds);
        let (namespace, name) = (&bound.namespace, &bound.serviceaccount.name);
        let claims = Claims {
            aud: Audience::Many(audiences),
            exp,
            iat: now,
            iss: ISSUER.to_owned(),
            jti: random_uuid(ambient),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            nbf: now,
            bound,
        };
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.key_id.clone());
        let token = encode(&header, &claims, &self.signing)?;
        let expires = Timestamp::from_second(exp).unwrap_or(Timestamp::MAX);
        Ok((token, expires))
    }

    /// Checks signature, times, audiences, and that all it names still lives.
    pub(super) fn check(
        &self,
        token: &str,
        wanted: &[String],
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Checked, TokenError> {
        let header = decode_header(token).map_err(|_malformed| TokenError::Foreign)?;
        if header.alg != Algorithm::ES256 || header.kid.is_some_and(|kid| kid != self.key_id) {
            return Err(TokenError::Foreign);
        }
        // Times are checked below, against our own clock.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &self.checking, &validation)
            .map_err(|_malformed| TokenError::Foreign)?
            .claims;
        if claims.iss != ISSUER {
            return Err(TokenError::Foreign);
        }
        let audiences = match claims.aud {
            Audience::Many(many) => many,
            Audience::One(one) => vec![one],
        };
        let shared: Vec<String> =
            audiences.iter().filter(|one| wanted.contains(one)).cloned().collect();
        if shared.is_empty() {
            return Err(TokenError::Audience { found: audiences, wanted: wanted.to_vec() });
        }
        if now.as_second() > claims.exp {
            return Err(TokenError::Expired);
        }
        if now.as_second() + LEEWAY_S < claims.nbf {
            return Err(TokenError::NotYet);
        }
        still_bound(&claims.bound, facts, now)?;
        Ok(Checked { bound: claims.bound, audiences: shared, id: claims.jti })
    }

    /// `/openid/v1/jwks`
    pub(super) fn key_set(&self) -> Bytes {
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&self.point[range]);
        let key = json!({
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": part(1..33), "y": part(33..65),
        });
        json!({ "keys": [key] }).to_string().into()
    }

    /// `/.well-known/openid-configuration`
    pub(super) fn configuration(&self, server: &str) -> Bytes {
        let document = json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{}/openid/v1/jwks", server.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        document.to_string().into()
    }
}

/// Whether it has been going away for longer than clocks may differ.
fn is_gone(living: &Living, now: Timestamp) -> bool {
    living.deleted.is_some_and(|at| at.as_second() < now.as_second() - LEEWAY_S)
}

fn still_bound(bound: &Bound, facts: &Facts, now: Timestamp) -> Result<(), TokenError> {
    let place = |name: &str| (bound.namespace.clone(), name.to_owned());
    let (namespace, account) = (&bound.namespace, &bound.serviceaccount);
    let Some(living) = facts.accounts.get(&place(&account.name)) else {
        let why = format!("serviceaccounts {:?} not found", account.name);
        return Err(TokenError::Account(why));
    };
    if is_gone(living, now) {
        let why = format!("service account {namespace}/{} has been deleted", account.name);
        return Err(TokenError::Account(why));
    }
    if living.uid != account.uid {
        let why =
            format!("service account UID ({}) does not match claim ({})", living.uid, account.uid);
        return Err(TokenError::Account(why));
    }
    let pod = |name: &str| facts.pods.get(&place(name)).map(|pod| &pod.living);
    let secret = |name: &str| facts.secrets.get(&place(name));
    check_object("pod", bound.pod.as_ref(), pod, now)?;
    check_object("secret", bound.secret.as_ref(), secret, now)?;
    // A pod's token outlives its node object, as upstream has it; a node's own does not.
    if bound.pod.is_none() {
        check_object("node", bound.node.as_ref(), |name| facts.nodes.get(name), now)?;
    }
    Ok(())
}

fn check_object<'a>(
    kind: &str,
    named: Option<&Named>,
    find: impl Fn(&str) -> Option<&'a Living>,
    now: Timestamp,
) -> Result<(), TokenError> {
    let Some(named) = named else {
        return Ok(());
    };
    let living = find(&named.name).filter(|living| !is_gone(living, now));
    let living = living.ok_or(TokenError::Invalidated)?;
    if living.uid == named.uid {
        return Ok(());
    }
    Err(TokenError::Account(format!(
        "{kind} UID ({}) does not match service account {kind} ref claim ({})",
        living.uid, named.uid
    )))
}

/// A random (version 4) uuid.
fn random_uuid(ambient: &dyn Ambient) -> String {
    let mut bytes = [0; 16];
    ambient.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
