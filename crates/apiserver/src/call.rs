//! One request on its way through the handlers.

use std::sync::Mutex;

use api::{ApiError, Resource, status::About};
use client::Identity;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::{
    answer::{self, Body},
    negotiate::{Accept, Form},
    path::Ask,
    query::Query,
    table::{Include, Render},
};

/// One request, its sender known and allowed.
#[derive(Debug)]
pub(crate) struct Call {
    /// What it asks.
    pub(crate) ask: Ask,
    /// Its query.
    pub(crate) query: Query,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Who asks.
    pub(crate) user: Identity,
    /// The form of the answer.
    pub(crate) accept: Accept,
    /// When it came.
    pub(crate) now: Timestamp,
    /// Sentences for `Warning` headers.
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Call {
    /// The kind as errors name it.
    pub(crate) fn about(resource: &'static dyn Resource) -> About<'static> {
        About { group: resource.names().group, resource: resource.names().plural }
    }

    /// The kind as `Invalid` names it.
    pub(crate) fn about_kind(resource: &'static dyn Resource) -> About<'static> {
        About { group: resource.names().group, resource: resource.names().kind }
    }

    /// Adds a sentence for a `Warning` header.
    pub(crate) fn warn(&self, texts: impl IntoIterator<Item = String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for text in texts {
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
    }

    /// How objects of this kind are shown to this client.
    pub(crate) fn render(&self, resource: &'static dyn Resource) -> Result<Render, ApiError> {
        let include = match self.accept.form {
            Form::Table(_) => Include::of(&self.query)?,
            _ => Include::Metadata,
        };
        Ok(Render { resource, form: self.accept.form, include, now: self.now })
    }

    /// Answers with one stored object.
    pub(crate) fn object(
        &self,
        resource: &'static dyn Resource,
        code: StatusCode,
        stored: &bytes::Bytes,
    ) -> Result<http::Response<Body>, ApiError> {
        let bytes = self.render(resource)?.object(stored, true)?;
        answer::document(code, self.accept.format, bytes, &self.headers)
    }

    /// `dryRun=All` is asked for in the query.
    ///
    /// # Errors
    ///
    /// 422 for any other word.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        let words: Vec<&str> = self.query.all("dryRun").filter(|word| !word.is_empty()).collect();
        check_dry_run(&words, self.options_kind())
    }

    /// The kind of the options that its query stands for.
    pub(crate) fn options_kind(&self) -> &'static str {
        match self.verb() {
            "create" => "CreateOptions",
            "patch" => "PatchOptions",
            "delete" | "deletecollection" => "DeleteOptions",
            _ => "UpdateOptions",
        }
    }

    /// The verb.
    pub(crate) fn verb(&self) -> &'static str {
        self.ask.verb
    }
}

/// Reads the words of `dryRun`.
///
/// # Errors
///
/// 422 for any but `All`.
pub(crate) fn check_dry_run(words: &[&str], kind: &str) -> Result<bool, ApiError> {
    use api::field::{Cause, Path};
    match words.iter().find(|word| **word != "All") {
        None => Ok(!words.is_empty()),
        Some(other) => {
            let about = About { group: "meta.k8s.io", resource: kind };
            let cause = Cause::not_supported(Path::new("dryRun"), other, &["All"]);
            Err(ApiError::invalid(about, "", &[cause]))
        }
    }
}
