//! What a cluster has from its first moment: namespaces, `default/kubernetes`, priority classes, and
//! what access adds (roles). One commit.

use std::{collections::BTreeMap, net::SocketAddr};

use api::{
    ApiError, Object, Part,
    k8s::{
        api::{
            core::v1::{
                EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service,
                ServicePort, ServiceSpec,
            },
            discovery::v1::{
                Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
            },
            scheduling::v1::PriorityClass,
        },
        apimachinery::pkg::{
            apis::meta::v1::{ObjectMeta, Time},
            util::intstr::IntOrString,
        },
    },
    resource,
};
use store::{Expect, Op, WatchError};

use crate::{
    access::{Reconciled, reconcile},
    ambient::uid,
    codec::{self, Stored},
    server::ApiServer,
    write::{failed, put, remove, stamp, whole_second},
};

/// What the server must be told to make its first objects.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Where pods and nodes reach this server.
    pub advertise: SocketAddr,
    /// More objects that must be there: roles and bindings. They are made where they are absent,
    /// and given what they lack where a newer stead has more.
    pub objects: Vec<Box<dyn Object>>,
}

impl ApiServer {
    /// Makes what is missing of a cluster's first objects, in one commit; then `/readyz` says so.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn bootstrap(&self, wanted: Bootstrap) -> Result<(), ApiError> {
        let mut objects: Vec<Box<dyn Object>> = Vec::new();
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            objects.push(Box::new(namespace(name)));
        }
        objects.extend(priority_classes());
        let mut ops = self.own_service(wanted.advertise)?;
        for object in objects {
            ops.extend(self.make_absent(object)?);
        }
        let mut anew = Vec::new();
        for object in wanted.objects {
            ops.extend(self.make_current(object, &mut anew)?);
        }
        self.commit(ops).await.map_err(|error| failed(&error))?;
        let ops = anew.into_iter().map(|object| self.make_absent(object));
        let ops = ops.collect::<Result<Vec<_>, _>>()?.concat();
        if !ops.is_empty() {
            self.commit(ops).await.map_err(|error| failed(&error))?;
        }
        self.set_bootstrapped(wanted.advertise);
        Ok(())
    }

    /// The ops that make the Service `kubernetes` where it is absent, and its addresses right.
    fn own_service(&self, advertise: SocketAddr) -> Result<Vec<Op>, ApiError> {
        let mut ops = self.make_absent(Box::new(self.service()))?;
        ops.extend(self.make_equal(Box::new(endpoints(advertise)))?);
        ops.extend(self.make_equal(Box::new(slice(advertise)))?);
        Ok(ops)
    }

    /// Makes the Service `kubernetes` and its addresses again when someone deletes or changes
    /// them; ends with the store.
    pub(crate) async fn guard_own_service(&self) {
        let key = |resource: &'static dyn api::Resource| resource.key("default", "kubernetes");
        tokio::join!(
            self.guard(key(resource::of::<Service>())),
            self.guard(key(resource::of::<Endpoints>())),
            self.guard(key(resource::of::<EndpointSlice>())),
        );
    }

    async fn guard(&self, key: String) {
        loop {
            let Ok(mut cursor) = self.store().watch(&key, self.store().revision()) else {
                continue;
            };
            loop {
                self.mend_own_service().await;
                match cursor.next().await {
                    Ok(_) => {}
                    Err(WatchError::Compacted { .. }) => break,
                    Err(WatchError::Closed) => return,
                }
            }
        }
    }

    async fn mend_own_service(&self) {
        let Some(advertise) = self.advertise() else { return };
        let done = match self.own_service(advertise) {
            Ok(ops) if ops.is_empty() => return,
            Ok(ops) => self.commit(ops).await.map_err(|error| failed(&error)),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // Another guard was faster, or the disk is full; the next change looks again.
            tracing::debug!(%error, "the Service kubernetes was not mended");
        }
    }

    /// The ops that make this object where it is absent.
    fn make_absent(&self, mut object: Box<dyn Object>) -> Result<Vec<Op>, ApiError> {
        let resource = entry(&*object)?;
        let meta = object.meta_mut();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        let key = resource.key(&namespace, &name);
        if self.store().get(&key).is_some() {
            return Ok(Vec::new());
        }
        meta.uid = Some(uid(self.ambient()));
        meta.creation_timestamp = Some(Time(whole_second(self.ambient().now())));
        resource.apply_defaults(&mut *object);
        resource.prepare(&mut *object, None, Part::Main);
        let mut ops = self.allocate(None, &mut *object)?;
        let value = stamp(resource, &*object, None)?;
        ops.push(put(resource, key, Expect::Absent, &*object, value));
        Ok(ops)
    }

    /// As `make_absent`; a role or binding that is there is given what it lacks. One that must be
    /// made anew is removed, and joins `anew`.
    fn make_current(
        &self,
        mut object: Box<dyn Object>,
        anew: &mut Vec<Box<dyn Object>>,
    ) -> Result<Vec<Op>, ApiError> {
        let resource = entry(&*object)?;
        let meta = object.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let key = resource.key(&namespace, meta.name.as_deref().unwrap_or_default());
        let Some(row) = self.store().get(&key) else { return self.make_absent(object) };
        let stored = Stored::read(resource, row)?;
        resource.apply_defaults(&mut *object);
        let at = Expect::At(stored.row.revision);
        match reconcile(&*stored.object, &*object) {
            Reconciled::Same => Ok(Vec::new()),
            Reconciled::Update(new) => {
                tracing::info!(key, "a role or binding is given what it lacks");
                let value = stamp(resource, &*new, stored.managed)?;
                Ok(vec![put(resource, key, at, &*new, value)])
            }
            Reconciled::Anew => {
                tracing::info!(key, "a binding is made anew: it gave another role");
                let value = codec::stamp_of(&stored.row.value)?;
                anew.push(object);
                Ok(vec![remove(key, at, value)])
            }
        }
    }

    /// As `make_absent`; an object that differs is made equal, keeping its metadata.
    fn make_equal(&self, mut object: Box<dyn Object>) -> Result<Vec<Op>, ApiError> {
        let resource = entry(&*object)?;
        let meta = object.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let key = resource.key(&namespace, meta.name.as_deref().unwrap_or_default());
        let Some(row) = self.store().get(&key) else { return self.make_absent(object) };
        let stored = Stored::read(resource, row)?;
        *object.meta_mut() = stored.object.meta().clone();
        resource.apply_defaults(&mut *object);
        let value = stamp(resource, &*object, stored.managed)?;
        if codec::unchanged(&stored.row, &value) {
            return Ok(Vec::new());
        }
        Ok(vec![put(resource, key, Expect::At(stored.row.revision), &*object, value)])
    }

    fn service(&self) -> Service {
        let first = self.options().ranges.first().to_string();
        Service {
            metadata: ObjectMeta {
                labels: Some(words([("component", "apiserver"), ("provider", "kubernetes")])),
                ..kubernetes()
            },
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                cluster_ip: Some(first),
                session_affinity: Some("None".to_owned()),
                ports: Some(vec![ServicePort {
                    name: Some("https".to_owned()),
                    protocol: Some("TCP".to_owned()),
                    port: 443,
                    target_port: Some(IntOrString::Int(6443)),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }
}

fn entry(object: &dyn Object) -> Result<&'static dyn api::Resource, ApiError> {
    let version = object.api_version();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    resource::by_kind(group, object.kind())
        .ok_or_else(|| ApiError::internal(format!("{} has no entry", object.kind())))
}

fn kubernetes() -> ObjectMeta {
    ObjectMeta {
        name: Some("kubernetes".to_owned()),
        namespace: Some("default".to_owned()),
        ..ObjectMeta::default()
    }
}

fn words<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(words([("kubernetes.io/metadata.name", name)])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

fn priority_classes() -> [Box<dyn Object>; 2] {
    let class = |name: &str, value: i32, description: &str| -> Box<dyn Object> {
        Box::new(PriorityClass {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            value: Some(value),
            description: Some(description.to_owned()),
            ..PriorityClass::default()
        })
    };
    [
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to \
             another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

fn endpoints(advertise: SocketAddr) -> Endpoints {
    let label = [("endpointslice.kubernetes.io/skip-mirror", "true")];
    Endpoints {
        metadata: ObjectMeta { labels: Some(words(label)), ..kubernetes() },
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: advertise.ip().to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("https".to_owned()),
                port: i32::from(advertise.port()),
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn slice(advertise: SocketAddr) -> EndpointSlice {
    let family = if advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    EndpointSlice {
        metadata: ObjectMeta {
            labels: Some(words([("kubernetes.io/service-name", "kubernetes")])),
            ..kubernetes()
        },
        address_type: family.to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![advertise.ip().to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![SlicePort {
            name: Some("https".to_owned()),
            port: Some(i32::from(advertise.port())),
            protocol: Some("TCP".to_owned()),
            ..SlicePort::default()
        }]),
    }
}
