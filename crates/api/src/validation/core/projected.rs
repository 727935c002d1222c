//! What is wrong with files made from objects: projected volumes, and what they share with others.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};

use super::{
    container::{field_ref, resource_field_ref},
    volume::descending_path,
};
use crate::validation::report::{At, Report, items};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

pub(super) fn projected(source: &ProjectedVolumeSource, at: At<'_>, out: &mut Report) {
    mode(source.default_mode, at.field("defaultMode"), out);
    let mut paths = BTreeSet::new();
    for (index, part) in items(&source.sources).iter().enumerate() {
        projection(part, &mut paths, at.field("sources").index(index), at, out);
    }
}

fn projection<'a>(
    part: &'a VolumeProjection,
    paths: &mut BTreeSet<&'a str>,
    at: At<'_>,
    at_volume: At<'_>,
    out: &mut Report,
) {
    let mut count = 0;
    let named = [
        ("secret", part.secret.as_ref().map(|source| (&source.name, items(&source.items)))),
        ("configMap", part.config_map.as_ref().map(|source| (&source.name, items(&source.items)))),
    ];
    for (field, (name, list)) in named.into_iter().filter_map(|(f, source)| Some((f, source?))) {
        count += 1;
        let at = at.field(field);
        if name.is_empty() {
            out.required(at.field("name"), "");
        }
        key_paths(list, at, out);
        for key in list.iter().filter(|key| !key.path.is_empty()) {
            if !paths.insert(&key.path) {
                out.invalid(at_volume, &**name, "conflicting duplicate paths");
            }
        }
    }
    if let Some(source) = &part.downward_api {
        count += 1;
        for file in items(&source.items) {
            downward_file(file, at.field("downwardAPI"), out);
            if !file.path.is_empty() && !paths.insert(&file.path) {
                out.invalid(at_volume, &*file.path, "conflicting duplicate paths");
            }
        }
    }
    if let Some(source) = &part.service_account_token {
        count += 1;
        token(source, at.field("serviceAccountToken"), at_volume, out);
    }
    if let Some(source) = &part.cluster_trust_bundle {
        count += 1;
        if !paths.insert(&source.path) {
            out.invalid(at_volume, &*source.path, "conflicting duplicate paths");
        }
    }
    if count > 1 {
        out.forbidden(at, "may not specify more than 1 volume type per source");
    }
}

fn token(source: &ServiceAccountTokenProjection, at: At<'_>, at_volume: At<'_>, out: &mut Report) {
    let seconds = source.expiration_seconds.unwrap_or(0);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        out.invalid(at.field("expirationSeconds"), seconds, why);
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        out.invalid(at.field("expirationSeconds"), seconds, why);
    }
    if source.path.is_empty() {
        out.required(at_volume.field("path"), "");
    } else {
        local_path(&source.path, at_volume.field("path"), out);
    }
}

pub(super) fn downward_file(file: &DownwardAPIVolumeFile, at: At<'_>, out: &mut Report) {
    if file.path.is_empty() {
        out.required(at.field("path"), "");
    }
    local_path(&file.path, at.field("path"), out);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            field_ref(field, true, at.field("fieldRef"), out);
            if resource.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                out.invalid(at, "resource", why);
            }
        }
        (None, Some(resource)) => {
            resource_field_ref(resource, true, at.field("resourceFieldRef"), out);
        }
        (None, None) => out.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file.mode, at.field("mode"), out);
}

pub(super) fn key_paths(list: &[KeyToPath], at: At<'_>, out: &mut Report) {
    for (index, item) in list.iter().enumerate() {
        let list = at.field("items");
        let at = list.index(index);
        if item.key.is_empty() {
            out.required(at.field("key"), "");
        }
        if item.path.is_empty() {
            out.required(at.field("path"), "");
        }
        local_path(&item.path, at.field("path"), out);
        mode(item.mode, at.field("mode"), out);
    }
}

pub(super) fn mode(mode: Option<i32>, at: At<'_>, out: &mut Report) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        out.invalid(at, mode, MODE);
    }
}

fn local_path(path: &str, at: At<'_>, out: &mut Report) {
    descending_path(path, at, out);
    if path.starts_with("..") && !path.starts_with("../") {
        out.invalid(at, path, "must not start with '..'");
    }
}
