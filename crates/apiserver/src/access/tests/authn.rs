//! Certificates, and nobody in particular.

use http::{HeaderMap, HeaderValue};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{Cluster, START_S};
use crate::access::{CertificateSubject, Pki};

#[test]
fn a_certificate_names_user_and_groups() {
    let folder = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::from_second(START_S).unwrap();
    let pki = Pki::open(folder.path(), now).unwrap();
    let cluster = Cluster::new();
    let rows = [
        (CertificateSubject::admin(), "kubernetes-admin", "system:masters,system:authenticated"),
        (CertificateSubject::node("n1"), "system:node:n1", "system:nodes,system:authenticated"),
        (
            CertificateSubject::kubelet_client(),
            "kube-apiserver-kubelet-client",
            "system:authenticated",
        ),
        (CertificateSubject::client("jürgen", Some("a b")), "jürgen", "a b,system:authenticated"),
    ];
    for (subject, user, groups) in rows {
        let credential = pki.issue(&subject, now).unwrap();
        let der = CertificateDer::from_pem_slice(credential.certificate_pem.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        // The certificate is asked first.
        headers.insert("authorization", HeaderValue::from_static("Bearer nonsense"));
        let identity = cluster.access.identify(&headers, &[der]).unwrap();
        assert_eq!((identity.user.as_str(), identity.groups.join(",").as_str()), (user, groups));
        let (key, values) = &identity.extra[0];
        assert_eq!(key, "authentication.kubernetes.io/credential-id");
        assert!(values[0].starts_with("X509SHA256=") && values[0].len() == 11 + 64);
    }
}

#[test]
fn who_says_nothing_is_anonymous() {
    let cluster = Cluster::new();
    for (name, value) in
        [("accept", "*/*"), ("authorization", "Basic eDp5"), ("authorization", "Bearer ")]
    {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let identity = cluster.access.identify(&headers, &[]).unwrap();
        assert_eq!(
            (identity.user.as_str(), &*identity.groups),
            ("system:anonymous", &["system:unauthenticated".to_owned()][..])
        );
    }
}
