//! Subresources that are neither the object nor its status: scale, binding, eviction, token,
//! finalize.

use api::{
    ApiError, Object, Part, Reason, Resource,
    k8s::{
        api::{
            authentication::v1::TokenRequest,
            autoscaling::v1::{Scale, ScaleSpec, ScaleStatus},
            core::v1::{Binding, Namespace, Pod, PodCondition, ServiceAccount},
            policy::v1::Eviction,
        },
        apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time},
    },
    selector::Labels,
    status::About,
    validation,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{Target, meta::whole_second, read};
use crate::{
    answer::{self, Body},
    call::{Call, check_dry_run},
    codec::Stored,
    server::{ApiServer, success},
};

impl ApiServer {
    /// What this call changes.
    pub(crate) fn target<'a>(
        call: &'a Call,
        resource: &'static dyn Resource,
        part: Part,
        own: bool,
    ) -> Result<Target<'a>, ApiError> {
        Ok(Target {
            resource,
            subresource: &call.ask.subresource,
            namespace: &call.ask.namespace,
            name: &call.ask.name,
            part,
            dry_run: call.dry_run()?,
            own,
            applied: false,
        })
    }

    /// The stored object that this call names.
    pub(crate) fn stored(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
    ) -> Result<Stored, ApiError> {
        let (namespace, name) = (&call.ask.namespace, &call.ask.name);
        let row = self.store().get(&resource.key(namespace, name));
        let row = row.ok_or_else(|| ApiError::not_found(Call::about(resource), name))?;
        Stored::read(resource, row)
    }

    /// GET of `scale`.
    pub(crate) fn get_scale(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
    ) -> Result<Response<Body>, ApiError> {
        let stored = self.stored(call, resource)?;
        answer_typed(call, StatusCode::OK, &scale_of(&*stored.object)?)
    }

    /// PUT of `scale`.
    pub(crate) async fn update_scale(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let scale: Scale = read::other(call, "Scale", bytes)?;
        self.set_scale(call, resource, &mut |_| Ok(scale.clone())).await
    }

    /// Sets `spec.replicas` as the Scale says that is made of the stored one.
    pub(crate) async fn set_scale(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        make: &mut (dyn FnMut(&Scale) -> Result<Scale, ApiError> + Send),
    ) -> Result<Response<Body>, ApiError> {
        let target = Self::target(call, resource, Part::Main, false)?;
        let mut replace = |stored: &Stored| {
            let scale = make(&scale_of(&*stored.object)?)?;
            scaled(call, resource, stored, scale)
        };
        let bytes = self.replace(call, target, &mut replace).await?;
        let object = crate::codec::decode(resource, &bytes)?;
        answer_typed(call, StatusCode::OK, &scale_of(&*object)?)
    }

    /// POST of `pods/binding`: gives a pod its node.
    pub(crate) async fn bind(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let binding: Binding = read::other(call, "Binding", bytes)?;
        let node = binding.target.name.clone().unwrap_or_default();
        check_binding(call, &binding)?;
        let target = Self::target(call, resource, Part::Main, true)?;
        let mut bind = |stored: &Stored| bound(call, stored, &binding, &node);
        self.replace(call, target, &mut bind).await?;
        Ok(success(StatusCode::CREATED))
    }

    /// POST of `pods/eviction`: a deletion that budgets may refuse.
    pub(crate) async fn evict(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let eviction: Eviction = read::other(call, "Eviction", bytes)?;
        let name = &call.ask.name;
        if let Some(given) = eviction.metadata.name.as_deref().filter(|given| given != name) {
            return Err(ApiError::bad_request(format!(
                "name in URL does not match name in Eviction object: {name:?} vs {given:?}"
            )));
        }
        let mut options = eviction.delete_options.unwrap_or_default();
        let words: Vec<&str> = options.dry_run.iter().flatten().map(String::as_str).collect();
        let dry_run = check_dry_run(&words, "DeleteOptions")? || call.dry_run()?;
        options.dry_run = dry_run.then(|| vec!["All".to_owned()]);
        self.delete_object(call, resource, &call.ask.namespace, name, &options).await?;
        Ok(success(StatusCode::CREATED))
    }

    /// POST of `serviceaccounts/token`.
    pub(crate) fn token(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let request: TokenRequest = read::other(call, "TokenRequest", bytes)?;
        let stored = self.stored(call, resource)?;
        let account = stored.object.as_any().downcast_ref::<ServiceAccount>();
        let account = account.ok_or_else(|| ApiError::internal("not a service account"))?;
        let issued = self.options().access.token(&call.user, account, request)?;
        answer_typed(call, StatusCode::CREATED, &issued)
    }

    /// PUT of `namespaces/finalize`: only `spec.finalizers` is heard.
    pub(crate) async fn finalize(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let object = read::object(call, resource, bytes)?;
        let wanted = object.as_any().downcast_ref::<Namespace>().cloned();
        let wanted = wanted.ok_or_else(super::super::server::not_allowed)?;
        let target = Self::target(call, resource, Part::Main, true)?;
        let mut finalize = |stored: &Stored| {
            let mut next = stored.object.boxed();
            let meta = next.meta_mut();
            meta.resource_version.clone_from(&wanted.metadata.resource_version);
            if let Some(namespace) = next.as_any_mut().downcast_mut::<Namespace>() {
                namespace.spec.clone_from(&wanted.spec);
            }
            Ok(next)
        };
        let bytes = self.replace(call, target, &mut finalize).await?;
        call.object(resource, StatusCode::OK, &bytes)
    }
}

/// Answers with an object that is no entry of the table.
pub(crate) fn answer_typed<T: Serialize>(
    call: &Call,
    code: StatusCode,
    object: &T,
) -> Result<Response<Body>, ApiError> {
    let bytes = serde_json::to_vec(object).map_err(ApiError::internal)?;
    answer::document(code, call.accept.format, Bytes::from(bytes), &call.headers)
}

/// The Scale of any object with `spec.replicas`, `spec.selector` and `status.replicas`.
fn scale_of(object: &dyn Object) -> Result<Scale, ApiError> {
    let value = object.to_value();
    let number = |path: &str| {
        let number = value.pointer(path).and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(number).unwrap_or(0)
    };
    let selector = value.pointer("/spec/selector").cloned();
    let selector: Option<LabelSelector> =
        selector.map(serde_json::from_value).transpose().map_err(ApiError::internal)?;
    let selector = Labels::from_object(selector.as_ref()).map_err(ApiError::internal)?;
    let meta = object.meta();
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas: Some(number("/spec/replicas")) }),
        status: Some(ScaleStatus {
            replicas: number("/status/replicas"),
            selector: Some(selector.to_string()).filter(|text| !text.is_empty()),
        }),
    })
}

/// The object with the replicas of this Scale.
fn scaled(
    call: &Call,
    resource: &'static dyn Resource,
    stored: &Stored,
    scale: Scale,
) -> Result<Box<dyn Object>, ApiError> {
    let name = call.ask.name.as_str();
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    if let Some(given) = scale.metadata.name.as_deref().filter(|given| *given != name) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let causes = validation::scale(&scale);
    if !causes.is_empty() {
        let about = About { group: "autoscaling", resource: "Scale" };
        return Err(ApiError::invalid(about, name, &causes));
    }
    let mut value = stored.object.to_value();
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    let mut next = read::typed(resource, value)?;
    let meta = next.meta_mut();
    meta.resource_version = scale.metadata.resource_version;
    meta.uid = scale.metadata.uid.or_else(|| stored.object.meta().uid.clone());
    Ok(next)
}

fn check_binding(call: &Call, binding: &Binding) -> Result<(), ApiError> {
    let name = call.ask.name.as_str();
    if let Some(given) = binding.metadata.name.as_deref().filter(|given| *given != name) {
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in Binding object: {name:?} vs {given:?}"
        )));
    }
    let causes = validation::binding(binding);
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(About { group: "", resource: "Binding" }, name, &causes))
}

/// The pod on its node.
fn bound(
    call: &Call,
    stored: &Stored,
    binding: &Binding,
    node: &str,
) -> Result<Box<dyn Object>, ApiError> {
    let name = call.ask.name.as_str();
    let refuse =
        |why: String| ApiError::conflict(About { group: "", resource: "pods/binding" }, name, &why);
    let mut next = stored.object.boxed();
    let Some(pod) = next.as_any_mut().downcast_mut::<Pod>() else {
        return Err(ApiError::new(Reason::MethodNotAllowed, "only pods are bound"));
    };
    if pod.metadata.deletion_timestamp.is_some() {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(refuse(why));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(taken) = spec.node_name.as_deref().filter(|taken| !taken.is_empty()) {
        return Err(refuse(format!("pod {name} is already assigned to node {taken:?}")));
    }
    if let Some(gates) = spec.scheduling_gates.as_ref().filter(|gates| !gates.is_empty()) {
        let count = gates.len();
        return Err(refuse(format!("pod {name} has non-empty .spec.schedulingGates ({count})")));
    }
    spec.node_name = Some(node.to_owned());
    if let Some(annotations) = &binding.metadata.annotations {
        let kept = pod.metadata.annotations.get_or_insert_default();
        kept.extend(annotations.clone());
    }
    if let Some(uid) = &binding.metadata.uid {
        pod.metadata.uid = Some(uid.clone());
    }
    pod.metadata.resource_version.clone_from(&binding.metadata.resource_version);
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(whole_second(call.now))),
        observed_generation: generation,
        ..PodCondition::default()
    });
    Ok(next)
}
