//! What is wrong with ConfigMaps and Secrets.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};

use crate::{
    field::Cause,
    names,
    resource::Part,
    validation::report::{At, Report, entries, text},
};

/// All values of one object together: 1 MiB.
const DATA_MAX_BYTES: usize = 1024 * 1024;

const FROZEN: &str = "field is immutable when `immutable` is set";

pub(crate) fn config_map(map: &ConfigMap, old: Option<&ConfigMap>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    if let Some(old) = old.filter(|old| old.immutable == Some(true)) {
        frozen("immutable", map.immutable == Some(true), &mut out);
        frozen("data", map.data == old.data, &mut out);
        frozen("binaryData", map.binary_data == old.binary_data, &mut out);
    }
    let mut bytes = 0;
    for (key, value) in entries(&map.data) {
        let data = At::new("data");
        let at = data.key(key);
        out.faults(at, key, names::config_key(key));
        if map.binary_data.as_ref().is_some_and(|other| other.contains_key(key)) {
            out.invalid(at, key, "duplicate of key present in binaryData");
        }
        bytes += value.len();
    }
    for (key, value) in entries(&map.binary_data) {
        out.faults(At::new("binaryData").key(key), key, names::config_key(key));
        bytes += value.0.len();
    }
    if bytes > DATA_MAX_BYTES {
        out.too_long(At::new("[]"), DATA_MAX_BYTES);
    }
    out.into_causes()
}

fn frozen(field: &str, same: bool, out: &mut Report) {
    if !same {
        out.forbidden(At::new(field), FROZEN);
    }
}

pub(crate) fn secret(secret: &Secret, old: Option<&Secret>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    if let Some(old) = old {
        out.immutable(At::new("type"), &text(&secret.type_), &text(&old.type_));
        if old.immutable == Some(true) {
            frozen("immutable", secret.immutable == Some(true), &mut out);
            frozen("data", secret.data == old.data, &mut out);
        }
    }
    let data = At::new("data");
    let mut bytes = 0;
    for (key, value) in entries(&secret.data) {
        out.faults(data.key(key), key, names::config_key(key));
        bytes += value.0.len();
    }
    if bytes > DATA_MAX_BYTES {
        out.too_long(data, DATA_MAX_BYTES);
    }
    secret_type(secret, data, &mut out);
    out.into_causes()
}

/// Types of Secrets promise certain keys.
fn secret_type(secret: &Secret, data: At<'_>, out: &mut Report) {
    let none = BTreeMap::new();
    let keys: &BTreeMap<String, ByteString> = secret.data.as_ref().unwrap_or(&none);
    let mut need = |wanted: &[&str]| {
        for key in wanted.iter().filter(|key| !keys.contains_key(**key)) {
            out.required(data.key(key), "");
        }
    };
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let annotations = secret.metadata.annotations.as_ref();
            let account = annotations.and_then(|annotations| annotations.get(key));
            if account.is_none_or(String::is_empty) {
                let metadata = At::new("metadata");
                out.required(metadata.field("annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(keys, ".dockercfg", data, out),
        "kubernetes.io/dockerconfigjson" => json_key(keys, ".dockerconfigjson", data, out),
        "kubernetes.io/basic-auth"
            if !keys.contains_key("username") && !keys.contains_key("password") =>
        {
            need(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth"
            if keys.get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) =>
        {
            out.required(data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

fn json_key(keys: &BTreeMap<String, ByteString>, key: &str, data: At<'_>, out: &mut Report) {
    let Some(value) = keys.get(key) else {
        out.required(data.key(key), "");
        return;
    };
    type Object = serde_json::Map<String, serde_json::Value>;
    if let Err(error) = serde_json::from_slice::<Object>(&value.0) {
        out.invalid(data.key(key), "<secret contents redacted>", &error.to_string());
    }
}
