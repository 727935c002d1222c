//! `kubectl --as`: the caller speaks as someone else, if it may.

use api::ApiError;
use client::Identity;
use http::{HeaderMap, request::Parts};

use crate::{
    contract::{Attributes, Subject},
    query::decode_percent,
    server::ApiServer,
};

const EXTRA: &str = "impersonate-extra-";

impl ApiServer {
    /// The user that the request asks to be, once every part of it is allowed.
    ///
    /// # Errors
    ///
    /// 403 where the caller may not, 400 for groups or extras without a user.
    pub(crate) fn impersonate(&self, user: Identity, parts: &Parts) -> Result<Identity, ApiError> {
        let headers = &parts.headers;
        let name = word(headers, "impersonate-user");
        let groups = words(headers, "impersonate-group");
        let uid = word(headers, "impersonate-uid");
        let extra = extra(headers);
        if name.is_empty() {
            if groups.is_empty() && uid.is_empty() && extra.is_empty() {
                return Ok(user);
            }
            let text = "requested [] without impersonating a user";
            return Err(ApiError::internal(text));
        }
        self.check_user(&user, &name)?;
        for group in &groups {
            self.check_part(&user, ("", "groups", ""), "", group)?;
        }
        if !uid.is_empty() {
            self.check_part(&user, ("authentication.k8s.io", "uids", ""), "", &uid)?;
        }
        for (key, values) in &extra {
            for value in values {
                self.check_part(&user, ("authentication.k8s.io", "userextras", key), "", value)?;
            }
        }
        Ok(Identity { groups: with_usual(&name, groups), user: name, uid, extra })
    }

    fn check_user(&self, user: &Identity, name: &str) -> Result<(), ApiError> {
        let account = name.strip_prefix("system:serviceaccount:");
        match account.and_then(|account| account.split_once(':')) {
            Some((namespace, name)) => {
                self.check_part(user, ("", "serviceaccounts", ""), namespace, name)
            }
            None => self.check_part(user, ("", "users", ""), "", name),
        }
    }

    fn check_part(
        &self,
        user: &Identity,
        (group, resource, subresource): (&str, &str, &str),
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let version = if group.is_empty() { "" } else { "v1" };
        let target = Subject::Resource { group, version, resource, subresource, namespace, name };
        self.allow(&Attributes { user, verb: "impersonate", target })
    }
}

/// The groups that authentication would have added.
fn with_usual(name: &str, mut groups: Vec<String>) -> Vec<String> {
    if groups.is_empty()
        && let Some(account) = name.strip_prefix("system:serviceaccount:")
    {
        groups.push("system:serviceaccounts".to_owned());
        if let Some((namespace, _)) = account.split_once(':') {
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
    }
    let usual =
        if name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !groups.iter().any(|group| group == usual) {
        groups.push(usual.to_owned());
    }
    groups
}

fn word(headers: &HeaderMap, name: &str) -> String {
    words(headers, name).into_iter().next().unwrap_or_default()
}

fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.filter(|value| !value.is_empty()).map(ToOwned::to_owned).collect()
}

fn extra(headers: &HeaderMap) -> Vec<(String, Vec<String>)> {
    let keys = headers.keys().filter_map(|name| name.as_str().strip_prefix(EXTRA));
    keys.map(|key| (decode_percent(key), words(headers, &format!("{EXTRA}{key}")))).collect()
}
