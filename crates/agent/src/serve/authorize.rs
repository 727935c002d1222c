//! Who calls the kubelet API, and may they: each request by SubjectAccessReview.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::Method;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    answer::{Refusal, refuse},
    route::Route,
};

/// How long an answer of the API server is believed; upstream's default for a no. A yes is
/// believed no longer here, for a right that was taken away must end soon.
const BELIEVED: Duration = Duration::from_secs(10);
/// Answers that are remembered; the oldest half goes when there are more.
const REMEMBERED_MAX: usize = 1024;

/// The caller, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// The user that a verified certificate names: common name, and organizations as groups.
pub(crate) fn user(chain: Option<&[CertificateDer<'_>]>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(chain?.first()?).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some(User { name, groups })
}

/// Who, verb, subresource of `nodes`.
type Question = (User, &'static str, &'static str);

/// Asks the API server, and remembers its answers for a short while.
pub struct Authority {
    client: kube::Client,
    known: Mutex<BTreeMap<Question, (Instant, bool)>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Asks with this client, whose user may create SubjectAccessReviews.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    pub(crate) async fn allow(
        &self,
        user: &User,
        method: &Method,
        route: &Route,
        node: &str,
    ) -> Result<(), Refusal> {
        let verb = verb(method);
        let subresource = route.subresource();
        let key = (user.clone(), verb, subresource);
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&key).filter(|(at, _)| at.elapsed() < BELIEVED).map(|(_, allowed)| *allowed)
        };
        let allowed = match known {
            Some(allowed) => allowed,
            None => {
                let allowed = self.ask(user, verb, subresource, node).await?;
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= REMEMBERED_MAX {
                    known.retain(|_, (at, _)| at.elapsed() < BELIEVED);
                }
                known.insert(key, (Instant::now(), allowed));
                allowed
            }
        };
        if allowed {
            return Ok(());
        }
        let message = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])\n",
            user.name
        );
        Err(refuse(403, message))
    }

    async fn ask(
        &self,
        user: &User,
        verb: &str,
        subresource: &str,
        node: &str,
    ) -> Result<bool, Refusal> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.to_owned()),
                    version: Some("v1".to_owned()),
                    resource: Some("nodes".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    name: Some(node.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let answered = api.create(&PostParams::default(), &review).await;
        let answered =
            answered.map_err(|error| refuse(500, format!("Authorization error: {error}")))?;
        Ok(answered.status.is_some_and(|status| status.allowed))
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}
