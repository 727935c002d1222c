//! What `kubectl get` shows: tables and bare metadata, made from stored bytes.

use api::{ApiError, Resource};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{codec, negotiate::Form, query::Query};

/// How much of each object a table's row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    ///
    /// # Errors
    ///
    /// 400 for a word that it is not.
    pub(crate) fn of(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::None),
            Some("Object") => Ok(Include::Object),
            Some(other) => {
                Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}")))
            }
        }
    }
}

/// What an answer is rendered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Render {
    /// The kind.
    pub(crate) resource: &'static dyn Resource,
    /// What is made of its objects.
    pub(crate) form: Form,
    /// For tables.
    pub(crate) include: Include,
    /// For ages.
    pub(crate) now: Timestamp,
}

impl Render {
    /// One object. `head` adds the column definitions to a table.
    pub(crate) fn object(&self, stored: &Bytes, head: bool) -> Result<Bytes, ApiError> {
        match self.form {
            Form::Whole | Form::Discovery => codec::shown(self.resource, stored),
            Form::Metadata => self.partial(stored).map(Into::into),
            Form::Table(version) => {
                let version_of = resource_version(stored)?;
                let mut out = self.table_head(version, head);
                out.extend_from_slice(b",\"metadata\":{\"resourceVersion\":\"");
                out.extend_from_slice(version_of.as_bytes());
                out.extend_from_slice(b"\"},\"rows\":[");
                out.extend_from_slice(&self.table_row(stored)?);
                out.extend_from_slice(b"]}");
                Ok(out.into())
            }
        }
    }

    /// A list of objects; `metadata` is the JSON of the list's own metadata.
    pub(crate) fn list<'a>(
        &self,
        rows: impl Iterator<Item = &'a Bytes> + Clone,
        metadata: &str,
    ) -> Result<Bytes, ApiError> {
        let names = self.resource.names();
        let (head, tail) = match self.form {
            Form::Whole | Form::Discovery => {
                let head = format!("{{\"apiVersion\":\"{}\",\"items\":[", names.api_version());
                (head, format!("],\"kind\":\"{}List\",\"metadata\":{metadata}}}", names.kind))
            }
            Form::Metadata => (
                "{\"apiVersion\":\"meta.k8s.io/v1\",\"items\":[".to_owned(),
                format!("],\"kind\":\"PartialObjectMetadataList\",\"metadata\":{metadata}}}"),
            ),
            Form::Table(version) => {
                let head = self.table_head(version, true);
                let head = String::from_utf8(head).map_err(ApiError::internal)?;
                (format!("{head},\"metadata\":{metadata},\"rows\":["), "]}".to_owned())
            }
        };
        let length: usize = rows.clone().map(|row| row.len() + 1).sum();
        let mut out = Vec::with_capacity(head.len() + length + tail.len());
        out.extend_from_slice(head.as_bytes());
        for (at, stored) in rows.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match self.form {
                Form::Whole | Form::Discovery => {
                    out.extend_from_slice(&codec::shown(self.resource, stored)?);
                }
                Form::Metadata => out.extend_from_slice(&self.partial(stored)?),
                Form::Table(_) => out.extend_from_slice(&self.table_row(stored)?),
            }
        }
        out.extend_from_slice(tail.as_bytes());
        Ok(out.into())
    }

    fn partial(&self, stored: &[u8]) -> Result<Vec<u8>, ApiError> {
        let metadata = codec::metadata(stored)?.get();
        let text = format!(
            "{{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\
             \"metadata\":{metadata}}}"
        );
        Ok(text.into_bytes())
    }

    /// The beginning of a table, its closing brace still open.
    fn table_head(&self, version: &str, columns: bool) -> Vec<u8> {
        let columns: Vec<Value> = if columns {
            let columns = self.resource.columns().iter();
            columns
                .map(|column| {
                    json!({
                        "name": column.name, "type": column.kind, "format": column.format,
                        "description": column.description, "priority": column.priority,
                    })
                })
                .collect()
        } else {
            Vec::new()
        };
        let columns = Value::Array(columns);
        format!(
            "{{\"apiVersion\":\"meta.k8s.io/{version}\",\"columnDefinitions\":{columns},\
             \"kind\":\"Table\""
        )
        .into_bytes()
    }

    fn table_row(&self, stored: &Bytes) -> Result<Vec<u8>, ApiError> {
        let object = codec::decode(self.resource, stored)?;
        let cells = Value::Array(self.resource.row(&*object, self.now));
        let mut out = format!("{{\"cells\":{cells}").into_bytes();
        match self.include {
            Include::None => {}
            Include::Metadata => {
                out.extend_from_slice(b",\"object\":");
                out.extend_from_slice(&self.partial(stored)?);
            }
            Include::Object => {
                out.extend_from_slice(b",\"object\":");
                out.extend_from_slice(&codec::shown(self.resource, stored)?);
            }
        }
        out.push(b'}');
        Ok(out)
    }
}

fn resource_version(stored: &[u8]) -> Result<String, ApiError> {
    let metadata: Value =
        serde_json::from_str(codec::metadata(stored)?.get()).map_err(ApiError::internal)?;
    let version = metadata.get("resourceVersion").and_then(Value::as_str);
    Ok(version.unwrap_or_default().to_owned())
}
