//! The table of first roles and bindings, by upstream's names, and a few of our own.
//!
//! A rule is a line: `VERBS GROUPS RESOURCES [NAMES]`, or `VERBS url PATHS`; lists have commas, `core`
//! is the core group, `read` is get, list, watch, `write` is create, delete, deletecollection, patch,
//! update, and `events` alone is the right to tell events.
//!
//! Source: kubernetes v1.36 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`.

/// Name and rules.
pub(super) type Named = (&'static str, &'static [&'static str]);

/// Roles that are made of others: name, and the roles whose rules they start with.
pub(super) const AGGREGATES: &[Named] = &[
    (
        "admin",
        &["system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view"],
    ),
    ("edit", &["system:aggregate-to-edit", "system:aggregate-to-view"]),
    ("view", &["system:aggregate-to-view"]),
];

/// Cluster roles.
pub(super) const CLUSTER_ROLES: &[Named] = &[
    ("cluster-admin", &["* * *", "* url *"]),
    (
        "system:aggregate-to-admin",
        &[
            "create authorization.k8s.io localsubjectaccessreviews",
            "read,write rbac.authorization.k8s.io roles,rolebindings",
        ],
    ),
    (
        "system:aggregate-to-edit",
        &[
            "read core pods/attach,pods/proxy,pods/exec,pods/portforward,secrets,services/proxy",
            "impersonate core serviceaccounts",
            "write core pods,pods/attach,pods/proxy,pods/exec,pods/portforward",
            "create core pods/eviction",
            "write core replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/proxy,persistentvolumeclaims,configmaps,secrets,events",
            "create core serviceaccounts/token",
            "write apps statefulsets,statefulsets/scale,daemonsets,deployments,deployments/scale,deployments/rollback,replicasets,replicasets/scale",
            "write autoscaling horizontalpodautoscalers",
            "write batch jobs,cronjobs",
            "write extensions daemonsets,deployments,deployments/scale,deployments/rollback,ingresses,replicasets,replicasets/scale,replicationcontrollers/scale,networkpolicies",
            "write policy poddisruptionbudgets",
            "write networking.k8s.io networkpolicies,ingresses",
            "read,write coordination.k8s.io leases",
            "write stead.io statefulsetpolicies",
        ],
    ),
    (
        "system:aggregate-to-view",
        &[
            "read core pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,configmaps",
            "read core limitranges,resourcequotas,bindings,events,pods/status,resourcequotas/status,namespaces/status,replicationcontrollers/status,pods/log",
            "read core namespaces",
            "read discovery.k8s.io endpointslices",
            "read apps controllerrevisions,statefulsets,statefulsets/status,statefulsets/scale,daemonsets,daemonsets/status,deployments,deployments/status,deployments/scale,replicasets,replicasets/status,replicasets/scale",
            "read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status",
            "read batch jobs,cronjobs,cronjobs/status,jobs/status",
            "read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale,networkpolicies",
            "read policy poddisruptionbudgets,poddisruptionbudgets/status",
            "read networking.k8s.io networkpolicies,ingresses,ingresses/status",
            "read stead.io statefulsetpolicies,statefulsetpolicies/status",
        ],
    ),
    (
        "system:auth-delegator",
        &[
            "create authentication.k8s.io tokenreviews",
            "create authorization.k8s.io subjectaccessreviews",
        ],
    ),
    (
        "system:basic-user",
        &[
            "create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews",
            "create authentication.k8s.io selfsubjectreviews",
        ],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &["create certificates.k8s.io certificatesigningrequests/nodeclient"],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &["create certificates.k8s.io certificatesigningrequests/selfnodeclient"],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &["approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client"],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &["approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet"],
    ),
    (
        "system:certificates.k8s.io:kubelet-serving-approver",
        &["approve certificates.k8s.io signers kubernetes.io/kubelet-serving"],
    ),
    (
        "system:certificates.k8s.io:legacy-unknown-approver",
        &["approve certificates.k8s.io signers kubernetes.io/legacy-unknown"],
    ),
    (
        "system:discovery",
        &[
            "get url /livez,/readyz,/healthz,/version,/version/,/openapi,/openapi/*,/api,/api/*,/apis,/apis/*",
        ],
    ),
    ("system:heapster", &["read core events,pods,nodes,namespaces", "read extensions deployments"]),
    ("system:kube-aggregator", &["read core services,endpoints"]),
    (
        "system:kube-controller-manager",
        &[
            "events",
            "create coordination.k8s.io leases",
            "get,update coordination.k8s.io leases kube-controller-manager",
            "create core secrets,serviceaccounts",
            "delete core secrets",
            "get core configmaps,namespaces,secrets,serviceaccounts",
            "update core secrets,serviceaccounts",
            "create authentication.k8s.io tokenreviews",
            "create authorization.k8s.io subjectaccessreviews",
            "list,watch * *",
            "create core serviceaccounts/token",
        ],
    ),
    ("system:kube-dns", &["list,watch core endpoints,services"]),
    (
        "system:kube-scheduler",
        &[
            "events",
            "create coordination.k8s.io leases",
            "get,update coordination.k8s.io leases kube-scheduler",
            "read core nodes",
            "delete,get,list,watch core pods",
            "create core bindings,pods/binding",
            "patch,update core pods/status",
            "read core replicationcontrollers,services",
            "read apps,extensions replicasets",
            "read apps statefulsets",
            "read policy poddisruptionbudgets",
            "read core persistentvolumeclaims,persistentvolumes",
            "create authentication.k8s.io tokenreviews",
            "create authorization.k8s.io subjectaccessreviews",
            "read storage.k8s.io csinodes",
            "read core namespaces",
            "read storage.k8s.io csidrivers",
            "read storage.k8s.io csistoragecapacities",
            "read storage.k8s.io volumeattachments",
        ],
    ),
    (
        "system:kubelet-api-admin",
        &[
            "read core nodes",
            "proxy core nodes",
            "* core nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats",
        ],
    ),
    (
        "system:monitoring",
        &["get url /metrics,/metrics/slis,/livez,/readyz,/healthz,/livez/*,/readyz/*,/healthz/*"],
    ),
    (
        "system:node",
        &[
            "create authentication.k8s.io tokenreviews",
            "create authorization.k8s.io subjectaccessreviews,localsubjectaccessreviews",
            "read core services",
            "create,get,list,watch core nodes",
            "patch,update core nodes/status",
            "patch,update core nodes",
            "create,patch,update core events",
            "read core pods",
            "create,delete core pods",
            "patch,update core pods/status",
            "create core pods/eviction",
            "read core secrets,configmaps",
            "get core persistentvolumeclaims,persistentvolumes",
            "get core endpoints",
            "create,get,list,watch certificates.k8s.io certificatesigningrequests",
            "create,delete,get,patch,update coordination.k8s.io leases",
            "get storage.k8s.io volumeattachments",
            "create core serviceaccounts/token",
            "get,patch,update core persistentvolumeclaims/status",
            "read storage.k8s.io csidrivers",
            "create,delete,get,patch,update storage.k8s.io csinodes",
            "read node.k8s.io runtimeclasses",
        ],
    ),
    (
        "system:node-bootstrapper",
        &["create,get,list,watch certificates.k8s.io certificatesigningrequests"],
    ),
    ("system:node-problem-detector", &["get core nodes", "patch core nodes/status", "events"]),
    (
        "system:node-proxier",
        &[
            "list,watch core services,endpoints",
            "read core nodes",
            "events",
            "list,watch discovery.k8s.io endpointslices",
        ],
    ),
    (
        "system:persistent-volume-provisioner",
        &[
            "create,delete,get,list,watch core persistentvolumes",
            "get,list,update,watch core persistentvolumeclaims",
            "read storage.k8s.io storageclasses",
            "watch core events",
            "events",
        ],
    ),
    ("system:public-info-viewer", &["get url /livez,/readyz,/healthz,/version,/version/"]),
    (
        "system:service-account-issuer-discovery",
        &["get url /.well-known/openid-configuration,/openid/v1/jwks"],
    ),
    (
        "system:volume-scheduler",
        &[
            "get,list,patch,update,watch core persistentvolumes",
            "read storage.k8s.io storageclasses",
            "get,list,patch,update,watch core persistentvolumeclaims",
        ],
    ),
];

/// Controllers, each with the role `system:controller:NAME` for its account in `kube-system`.
pub(super) const CONTROLLERS: &[Named] = &[
    (
        "attachdetach-controller",
        &[
            "list,watch core persistentvolumes,persistentvolumeclaims",
            "read core nodes",
            "patch,update core nodes/status",
            "list,watch core pods",
            "events",
            "create,delete,get,list,watch storage.k8s.io volumeattachments",
            "read storage.k8s.io csidrivers",
            "read storage.k8s.io csinodes",
        ],
    ),
    (
        "certificate-controller",
        &[
            "delete,get,list,watch certificates.k8s.io certificatesigningrequests",
            "update certificates.k8s.io certificatesigningrequests/status,certificatesigningrequests/approval",
            "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet",
            "sign certificates.k8s.io signers kubernetes.io/legacy-unknown,kubernetes.io/kubelet-serving,kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet",
            "create authorization.k8s.io subjectaccessreviews",
            "events",
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &["escalate,get,list,patch,update,watch rbac.authorization.k8s.io clusterroles"],
    ),
    (
        "cronjob-controller",
        &[
            "get,list,update,watch batch cronjobs",
            "create,delete,get,list,patch,update,watch batch jobs",
            "update batch cronjobs/status",
            "update batch cronjobs/finalizers",
            "delete,list,watch core pods",
            "events",
        ],
    ),
    (
        "daemon-set-controller",
        &[
            "read extensions,apps daemonsets",
            "update extensions,apps daemonsets/status",
            "update extensions,apps daemonsets/finalizers",
            "list,watch core nodes",
            "create,delete,list,patch,watch core pods",
            "create core pods/binding",
            "create,delete,get,list,patch,update,watch apps controllerrevisions",
            "events",
        ],
    ),
    (
        "deployment-controller",
        &[
            "get,list,update,watch extensions,apps deployments",
            "update extensions,apps deployments/status",
            "update extensions,apps deployments/finalizers",
            "create,delete,get,list,patch,update,watch extensions,apps replicasets",
            "get,list,update,watch core pods",
            "events",
        ],
    ),
    (
        "disruption-controller",
        &[
            "read extensions,apps deployments",
            "read extensions,apps replicasets",
            "read core replicationcontrollers",
            "read policy poddisruptionbudgets",
            "read apps statefulsets",
            "update policy poddisruptionbudgets/status",
            "patch,update core pods/status",
            "get * */scale",
            "events",
        ],
    ),
    (
        "endpoint-controller",
        &[
            "read core services,pods",
            "create,delete,get,list,update,watch core endpoints",
            "create core endpoints/restricted",
            "events",
        ],
    ),
    (
        "endpointslice-controller",
        &[
            "read core services,pods,nodes",
            "update core services/finalizers",
            "create,delete,get,list,update,watch discovery.k8s.io endpointslices",
            "events",
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            "read core services,endpoints",
            "update core services/finalizers",
            "update core endpoints/finalizers",
            "create,delete,get,list,update,watch discovery.k8s.io endpointslices",
            "events",
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            "read core pods",
            "update core pods/finalizers",
            "create,get,list,watch core persistentvolumeclaims",
            "events",
        ],
    ),
    (
        "expand-controller",
        &[
            "get,list,patch,update,watch core persistentvolumes",
            "patch,update core persistentvolumeclaims/status",
            "read core persistentvolumeclaims",
            "events",
        ],
    ),
    ("generic-garbage-collector", &["delete,get,list,patch,update,watch * *", "events"]),
    (
        "horizontal-pod-autoscaler",
        &[
            "read autoscaling horizontalpodautoscalers",
            "update autoscaling horizontalpodautoscalers/status",
            "get,update * */scale",
            "list,watch core pods",
            "list,watch metrics.k8s.io pods",
            "read custom.metrics.k8s.io *",
            "read external.metrics.k8s.io *",
            "events",
        ],
    ),
    (
        "job-controller",
        &[
            "get,list,patch,update,watch batch jobs",
            "update batch jobs/status",
            "update batch jobs/finalizers",
            "create,delete,list,patch,watch core pods",
            "events",
        ],
    ),
    (
        "legacy-service-account-token-cleaner",
        &[
            "get core configmaps kube-apiserver-legacy-service-account-token-tracking",
            "delete,patch core secrets",
        ],
    ),
    (
        "namespace-controller",
        &[
            "delete,get,list,watch core namespaces",
            "update core namespaces/finalize,namespaces/status",
            "delete,deletecollection,get,list,watch * *",
        ],
    ),
    (
        "node-controller",
        &[
            "delete,get,list,patch,update,watch core nodes",
            "patch,update core nodes/status",
            "patch,update core pods/status",
            "delete,get,list,watch core pods",
            "events",
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            "create,delete,get,list,update,watch core persistentvolumes",
            "update core persistentvolumes/status",
            "get,list,update,watch core persistentvolumeclaims",
            "update core persistentvolumeclaims/status",
            "create,delete,get,list,watch core pods",
            "read storage.k8s.io storageclasses",
            "list,watch core nodes",
            "events",
            "watch core events",
        ],
    ),
    (
        "pod-garbage-collector",
        &["delete,list,watch core pods", "read core nodes", "patch core pods/status"],
    ),
    ("pv-protection-controller", &["get,list,update,watch core persistentvolumes", "events"]),
    (
        "pvc-protection-controller",
        &[
            "get,list,update,watch core persistentvolumeclaims",
            "update core persistentvolumeclaims/status",
            "read core pods",
            "events",
        ],
    ),
    (
        "replicaset-controller",
        &[
            "get,list,update,watch extensions,apps replicasets",
            "update extensions,apps replicasets/status",
            "update extensions,apps replicasets/finalizers",
            "create,delete,list,patch,watch core pods",
            "events",
        ],
    ),
    (
        "replication-controller",
        &[
            "get,list,update,watch core replicationcontrollers",
            "update core replicationcontrollers/status",
            "update core replicationcontrollers/finalizers",
            "create,delete,list,patch,watch core pods",
            "events",
        ],
    ),
    (
        "resourcequota-controller",
        &["list,watch * *", "update core resourcequotas/status", "events"],
    ),
    ("root-ca-cert-publisher", &["create,update core configmaps", "events"]),
    ("route-controller", &["list,watch core nodes", "patch core nodes/status", "events"]),
    ("service-account-controller", &["create core serviceaccounts", "events"]),
    (
        "service-cidrs-controller",
        &[
            "get,list,patch,update,watch networking.k8s.io servicecidrs",
            "patch,update networking.k8s.io servicecidrs/finalizers",
            "patch,update networking.k8s.io servicecidrs/status",
            "read networking.k8s.io ipaddresses",
            "events",
        ],
    ),
    (
        "service-controller",
        &[
            "read core services",
            "patch,update core services/status",
            "list,watch core nodes",
            "events",
        ],
    ),
    (
        "statefulset-controller",
        &[
            "list,watch core pods",
            "read apps statefulsets",
            "update apps statefulsets",
            "update apps statefulsets/status",
            "update apps statefulsets/finalizers",
            "create,delete,get,patch,update core pods",
            "create,delete,get,list,patch,update,watch apps controllerrevisions",
            "create,get,list,watch core persistentvolumeclaims",
            "delete,update core persistentvolumeclaims",
            "update core pods/finalizers",
            "read stead.io statefulsetpolicies",
            "update stead.io statefulsetpolicies/status",
            "events",
        ],
    ),
    ("ttl-after-finished-controller", &["delete,get,list,watch batch jobs", "events"]),
    ("ttl-controller", &["list,patch,update,watch core nodes", "events"]),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            "read admissionregistration.k8s.io validatingadmissionpolicies",
            "get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status",
            "events",
        ],
    ),
    (
        "volumeattributesclass-protection-controller",
        &[
            "read core persistentvolumeclaims",
            "read core persistentvolumes",
            "get,list,update,watch storage.k8s.io volumeattributesclasses",
            "events",
        ],
    ),
];

/// Cluster-wide bindings: name, role, subjects.
pub(super) const BINDINGS: &[(&str, &str, &[&str])] = &[
    ("cluster-admin", "cluster-admin", &["group system:masters"]),
    ("system:basic-user", "system:basic-user", &["group system:authenticated"]),
    ("system:discovery", "system:discovery", &["group system:authenticated"]),
    (
        "system:kube-controller-manager",
        "system:kube-controller-manager",
        &["user system:kube-controller-manager"],
    ),
    ("system:kube-dns", "system:kube-dns", &["account kube-system kube-dns"]),
    ("system:kube-scheduler", "system:kube-scheduler", &["user system:kube-scheduler"]),
    ("system:monitoring", "system:monitoring", &["group system:monitoring"]),
    // Nodes have the node authorizer instead, which looks at what they ask for.
    ("system:node", "system:node", &[]),
    ("system:node-proxier", "system:node-proxier", &["user system:kube-proxy"]),
    (
        "system:public-info-viewer",
        "system:public-info-viewer",
        &["group system:authenticated", "group system:unauthenticated"],
    ),
    (
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        &["group system:serviceaccounts"],
    ),
    ("system:volume-scheduler", "system:volume-scheduler", &["user system:kube-scheduler"]),
];

/// Roles of one namespace: namespace, name, rules.
pub(super) const LOCAL_ROLES: &[(&str, &str, &[&str])] = &[
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        &["read core configmaps extension-apiserver-authentication"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        &[
            "create,get,list,update,watch coordination.k8s.io leases",
            "create,get,list,update,watch coordination.k8s.io leasecandidates",
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        &[
            "create,get,list,update,watch coordination.k8s.io leases",
            "create,get,list,update,watch coordination.k8s.io leasecandidates",
        ],
    ),
    ("kube-system", "system:controller:bootstrap-signer", &["read core secrets"]),
    ("kube-system", "system:controller:cloud-provider", &["create,get,list,watch core configmaps"]),
    (
        "kube-system",
        "system:controller:token-cleaner",
        &["delete,get,list,watch core secrets", "events"],
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        &["read core configmaps", "update core configmaps cluster-info", "events"],
    ),
];

/// Bindings of one namespace: namespace, name, role, subjects.
pub(super) const LOCAL_BINDINGS: &[(&str, &str, &str, &[&str])] = &[
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &["user system:kube-controller-manager", "user system:kube-scheduler"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[
            "user system:kube-controller-manager",
            "account kube-system kube-controller-manager",
            "account kube-system leader-election-controller",
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &["user system:kube-scheduler", "account kube-system kube-scheduler"],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["account kube-system bootstrap-signer"],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &["account kube-system cloud-provider"],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &["account kube-system token-cleaner"],
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["account kube-system bootstrap-signer"],
    ),
];

/// What only this product has: name of role and binding, rules, subject.
pub(super) const STEAD: &[(&str, &[&str], &str)] = &[
    // The server as it calls agents; upstream's installer makes it an administrator instead.
    (
        "stead:kubelet-client",
        &[
            "read core nodes",
            "proxy core nodes",
            "* core nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats",
        ],
        "user kube-apiserver-kubelet-client",
    ),
    // Agents are kubelet and proxy in one: they route to Services and to other nodes.
    (
        "stead:node",
        &["read core nodes,services,endpoints", "read discovery.k8s.io endpointslices"],
        "group system:nodes",
    ),
    // The server's own DNS answers for pods of headless Services, too.
    (
        "stead:dns",
        &[
            "list,watch core endpoints,namespaces,pods,services",
            "list,watch discovery.k8s.io endpointslices",
        ],
        "account kube-system kube-dns",
    ),
    (
        "stead:kube-dns-publisher",
        &[
            "create,get,list,update,watch core services",
            "create,delete,get,list,update,watch discovery.k8s.io endpointslices",
            "events",
        ],
        "account kube-system kube-dns-publisher",
    ),
    // Finalizers are put on and taken off by patches that name the version they saw.
    (
        "stead:volume-binder",
        &["patch core persistentvolumes,persistentvolumeclaims"],
        "account kube-system persistent-volume-binder",
    ),
    (
        "stead:local-volume-provisioner",
        &[
            "create,delete,get,list,patch,update,watch core persistentvolumes",
            "get,list,patch,update,watch core persistentvolumeclaims",
            "patch,update core persistentvolumes/status,persistentvolumeclaims/status",
            "read storage.k8s.io storageclasses",
            "read core nodes,pods",
            "events",
        ],
        "account kube-system local-volume-provisioner",
    ),
];
