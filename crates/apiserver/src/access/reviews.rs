//! Questions about access that are API objects: who am I, may I, is this token good.
//!
//! Source: kubernetes v1.36 `pkg/registry/{authentication,authorization}`, `pkg/apis/authorization/validation`.

use api::{
    ApiError, Object, Resource,
    field::{Cause, Path},
    status::About,
};
use client::Identity;
use k8s_openapi::api::{
    authentication::v1::{
        SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
    },
    authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes,
        ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        SubjectAccessReviewSpec, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
    },
};
use serde_json::Value;

use super::{AccessControl, authn::of_token, node::node_name, rbac::grants};
use crate::contract::{Attributes, Decision, Subject};

impl AccessControl {
    pub(super) fn answer_review(
        &self,
        user: &Identity,
        resource: &dyn Resource,
        namespace: &str,
        mut object: Box<dyn Object>,
    ) -> Result<Box<dyn Object>, ApiError> {
        let any = object.as_any_mut();
        if let Some(review) = any.downcast_mut::<TokenReview>() {
            self.token_review(review)?;
        } else if let Some(review) = any.downcast_mut::<SelfSubjectReview>() {
            let user_info = Some(user_info(user));
            review.status = Some(SelfSubjectReviewStatus { user_info });
        } else if let Some(review) = any.downcast_mut::<SelfSubjectAccessReview>() {
            let spec = &review.spec;
            let asked = SubjectAccessReviewSpec {
                resource_attributes: spec.resource_attributes.clone(),
                non_resource_attributes: spec.non_resource_attributes.clone(),
                ..SubjectAccessReviewSpec::default()
            };
            invalid(resource, one_subject_matter(&asked))?;
            review.status = Some(self.judge(user, &asked));
        } else if let Some(review) = any.downcast_mut::<SubjectAccessReview>() {
            let mut causes = one_subject_matter(&review.spec);
            causes.extend(somebody(&review.spec));
            invalid(resource, causes)?;
            review.status = Some(self.judge(&asked_user(&review.spec), &review.spec));
        } else if let Some(review) = any.downcast_mut::<LocalSubjectAccessReview>() {
            let mut causes = one_subject_matter(&review.spec);
            causes.extend(somebody(&review.spec));
            causes.extend(local(&review.spec, namespace));
            invalid(resource, causes)?;
            review.status = Some(self.judge(&asked_user(&review.spec), &review.spec));
        } else if let Some(review) = any.downcast_mut::<SelfSubjectRulesReview>() {
            let asked = review.spec.namespace.as_deref().unwrap_or_default();
            if asked.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            review.status = Some(self.rules_of(user, asked));
        } else {
            let names = resource.names();
            let about = About { group: names.group, resource: names.plural };
            return Err(ApiError::not_found(about, ""));
        }
        Ok(object)
    }

    fn token_review(&self, review: &mut TokenReview) -> Result<(), ApiError> {
        if review.spec.token.is_empty() {
            let why = "token is required for TokenReview in authentication";
            return Err(ApiError::bad_request(why));
        }
        let asked = review.spec.audiences.clone().unwrap_or_default();
        let wanted = if asked.is_empty() { &self.audiences } else { &asked };
        let facts = self.directory.facts();
        let checked = self.tokens.check(&review.spec.token, wanted, &facts, self.ambient.now());
        review.status = Some(match checked {
            Ok(checked) => TokenReviewStatus {
                authenticated: Some(true),
                user: Some(user_info(&of_token(&checked))),
                audiences: Some(checked.audiences),
                error: None,
            },
            Err(error) => TokenReviewStatus {
                error: Some(error.to_string()),
                user: Some(UserInfo::default()),
                ..TokenReviewStatus::default()
            },
        });
        Ok(())
    }

    fn judge(&self, user: &Identity, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
        let (decision, reason) = match (&spec.resource_attributes, &spec.non_resource_attributes) {
            (Some(asked), _) => self.decide(&resource_attributes(user, asked)),
            (None, asked) => self.decide(&path_attributes(user, asked.as_ref())),
        };
        SubjectAccessReviewStatus {
            allowed: decision == Decision::Allow,
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            denied: None,
            evaluation_error: None,
        }
    }

    fn rules_of(&self, user: &Identity, namespace: &str) -> SubjectRulesReviewStatus {
        let facts = self.directory.facts();
        let grants = grants(&facts, user, namespace);
        let is_node = node_name(user).is_some();
        let node = "node authorizer does not support user rule resolution".to_owned();
        let mut faults = grants.broken.clone();
        faults.extend(is_node.then_some(node));
        let resource_rules = grants.rules().filter(|rule| rule.resources.is_some());
        let path_rules = grants.rules().filter(|rule| rule.non_resource_urls.is_some());
        SubjectRulesReviewStatus {
            resource_rules: resource_rules
                .map(|rule| ResourceRule {
                    verbs: rule.verbs.clone(),
                    api_groups: rule.api_groups.clone(),
                    resources: rule.resources.clone(),
                    resource_names: rule.resource_names.clone(),
                })
                .collect(),
            non_resource_rules: path_rules
                .map(|rule| NonResourceRule {
                    verbs: rule.verbs.clone(),
                    non_resource_urls: rule.non_resource_urls.clone(),
                })
                .collect(),
            incomplete: !faults.is_empty(),
            evaluation_error: (!faults.is_empty()).then(|| faults.join(", ")),
        }
    }
}

fn user_info(user: &Identity) -> UserInfo {
    let extra = user.extra.iter().cloned().collect();
    UserInfo {
        username: Some(user.user.clone()),
        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups.clone()).filter(|groups| !groups.is_empty()),
        extra: Some(extra).filter(|extra: &std::collections::BTreeMap<_, _>| !extra.is_empty()),
    }
}

fn asked_user(spec: &SubjectAccessReviewSpec) -> Identity {
    Identity {
        user: spec.user.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default().into_iter().collect(),
    }
}

fn resource_attributes<'a>(user: &'a Identity, asked: &'a ResourceAttributes) -> Attributes<'a> {
    let word = |word: &'a Option<String>| word.as_deref().unwrap_or_default();
    Attributes {
        user,
        verb: word(&asked.verb),
        target: Subject::Resource {
            group: word(&asked.group),
            version: word(&asked.version),
            resource: word(&asked.resource),
            subresource: word(&asked.subresource),
            namespace: word(&asked.namespace),
            name: word(&asked.name),
        },
    }
}

fn path_attributes<'a>(
    user: &'a Identity,
    asked: Option<&'a NonResourceAttributes>,
) -> Attributes<'a> {
    let (verb, path) = asked.map_or(("", ""), |asked| {
        (asked.verb.as_deref().unwrap_or_default(), asked.path.as_deref().unwrap_or_default())
    });
    Attributes { user, verb, target: Subject::Path(path) }
}

fn spec_path(field: &str) -> Path {
    Path::new("spec").child(field)
}

fn one_subject_matter(spec: &SubjectAccessReviewSpec) -> Vec<Cause> {
    match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(_), Some(asked)) => {
            let value = serde_json::to_value(asked).unwrap_or(Value::Null);
            let why = "cannot be specified in combination with resourceAttributes";
            vec![Cause::invalid(spec_path("nonResourceAttributes"), value, why)]
        }
        (None, None) => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Cause::invalid(spec_path("resourceAttributes"), Value::Null, why)]
        }
        _ => Vec::new(),
    }
}

fn somebody(spec: &SubjectAccessReviewSpec) -> Option<Cause> {
    let nobody = spec.user.as_deref().unwrap_or_default().is_empty()
        && spec.groups.as_deref().unwrap_or_default().is_empty();
    let why = "at least one of user or group must be specified";
    nobody.then(|| Cause::invalid(spec_path("user"), "", why))
}

fn local(spec: &SubjectAccessReviewSpec, namespace: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(asked) = &spec.resource_attributes {
        let found = asked.namespace.as_deref().unwrap_or_default();
        if found != namespace {
            let path = spec_path("resourceAttributes").child("namespace");
            causes.push(Cause::invalid(path, found, "must match metadata.namespace"));
        }
    }
    if let Some(asked) = &spec.non_resource_attributes {
        let value = serde_json::to_value(asked).unwrap_or(Value::Null);
        let why = "disallowed on this kind of request";
        causes.push(Cause::invalid(spec_path("nonResourceAttributes"), value, why));
    }
    causes
}

fn invalid(resource: &dyn Resource, causes: Vec<Cause>) -> Result<(), ApiError> {
    if causes.is_empty() {
        return Ok(());
    }
    let names = resource.names();
    Err(ApiError::invalid(About { group: names.group, resource: names.kind }, "", &causes))
}
