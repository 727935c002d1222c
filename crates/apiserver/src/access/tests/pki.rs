//! Certificates: made, kept, renewed, served, and files that only their owner reads.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use expect_test::expect;
use jiff::Timestamp;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::START_S;
use crate::access::{
    CertificateSubject as Subject, Credential, Kubeconfig, Pki, PkiError, User, server_config,
};

const DAY_S: i64 = 24 * 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START_S + seconds).unwrap()
}

fn server() -> Subject {
    let names = ["localhost", "kubernetes.default.svc", "10.96.0.1", "::1"];
    Subject::server("kube-apiserver", &names.map(str::to_owned))
}

#[test]
fn what_was_made_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("pki");
    let first = Pki::open(&folder, at(0)).unwrap();
    let served = first.credential("apiserver", &server(), at(0)).unwrap();
    let again = Pki::open(&folder, at(DAY_S)).unwrap();
    assert_eq!(again.ca_pem(), first.ca_pem());
    assert_eq!(again.token_key_pem(), first.token_key_pem());
    assert_eq!(again.credential("apiserver", &server(), at(DAY_S)).unwrap(), served);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names.join(" "), "apiserver.crt apiserver.key ca.crt ca.key sa.key");
}

#[test]
fn a_certificate_is_made_anew_when_it_no_longer_serves() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open(folder.path(), at(0)).unwrap();
    let credential =
        |subject: &Subject, seconds| pki.credential("c", subject, at(seconds)).unwrap();
    let first = credential(&server(), 0);
    // A year, less a month.
    assert_eq!(credential(&server(), 334 * DAY_S), first);
    let renewed = credential(&server(), 336 * DAY_S);
    assert_ne!(renewed, first);
    let other = Subject::server("kube-apiserver", &["localhost".to_owned()]);
    let renamed = credential(&other, 336 * DAY_S);
    assert_ne!(renamed, renewed);
    let client = credential(&Subject::node("n1"), 336 * DAY_S);
    assert_eq!(credential(&Subject::node("n1"), 337 * DAY_S), client);
    // A clock that was set back, a key of something else, a damaged file: made anew, too.
    assert_ne!(credential(&Subject::node("n1"), 0), client);
    let now = credential(&Subject::node("n1"), 0);
    std::fs::write(folder.path().join("c.key"), &first.key_pem).unwrap();
    assert_ne!(credential(&Subject::node("n1"), 0), now);
    std::fs::write(folder.path().join("c.crt"), "nonsense").unwrap();
    credential(&Subject::node("n1"), 0);
    let error = pki.issue(&Subject::server("x", &["no name".to_owned()]), at(0)).unwrap_err();
    assert_eq!(error.to_string(), r#""no name" is neither an address nor a DNS name"#);
}

#[test]
fn what_trust_hangs_on_is_never_replaced() {
    for (file, text) in
        [("ca.key", None), ("ca.key", Some("x")), ("ca.crt", Some("x")), ("sa.key", Some("x"))]
    {
        let folder = tempfile::tempdir().unwrap();
        Pki::open(folder.path(), at(0)).unwrap();
        let path = folder.path().join(file);
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        match Pki::open(folder.path(), at(0)) {
            Err(PkiError::Damaged { path: named }) => assert_eq!(named, path),
            other => panic!("{file}: {other:?}"),
        }
    }
}

/// Lets a client and a server shake hands in memory; answers the client's certificates.
fn handshake(
    pki: &Pki,
    trust: &str,
    client: Option<&Credential>,
    name: &str,
) -> Result<usize, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let served = pki.credential("apiserver", &server(), Timestamp::now()).unwrap();
    let server = server_config(pki.ca_pem(), &served).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trust.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(credential) => {
            let chain = vec![
                CertificateDer::from_pem_slice(credential.certificate_pem.as_bytes()).unwrap(),
            ];
            let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(server.peer_certificates().map_or(0, <[_]>::len))
}

#[test]
fn tls_with_and_without_a_client_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(i64::try_from(UnixTime::now().as_secs()).unwrap()).unwrap();
    let pki = Pki::open(&folder.path().join("a"), now).unwrap();
    let other = Pki::open(&folder.path().join("b"), now).unwrap();
    let admin = pki.issue(&Subject::admin(), now).unwrap();
    let stranger = other.issue(&Subject::admin(), now).unwrap();
    for name in ["localhost", "kubernetes.default.svc", "10.96.0.1", "::1"] {
        assert_eq!(handshake(&pki, pki.ca_pem(), None, name), Ok(0));
        assert_eq!(handshake(&pki, pki.ca_pem(), Some(&admin), name), Ok(1));
    }
    let refused = handshake(&pki, pki.ca_pem(), Some(&stranger), "localhost").unwrap_err();
    assert!(refused.starts_with("server: invalid peer certificate"), "{refused}");
    let refused = handshake(&pki, other.ca_pem(), None, "localhost").unwrap_err();
    assert!(refused.starts_with("client: invalid peer certificate"), "{refused}");
    let refused = handshake(&pki, pki.ca_pem(), None, "elsewhere").unwrap_err();
    assert!(refused.starts_with("client: invalid peer certificate"), "{refused}");
}

#[test]
fn the_kubeconfig() {
    let user = User::Certificate { certificate_pem: "CERT", key_pem: "KEY" };
    let text = |context, server, user| {
        Kubeconfig { context, server, ca_pem: "CA", user_name: "kubernetes-admin", user }.text()
    };
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: Q0E=
            server: https://127.0.0.1:6443
          name: stead-default
        contexts:
        - context:
            cluster: stead-default
            user: kubernetes-admin
          name: stead-default
        current-context: stead-default
        kind: Config
        preferences: {}
        users:
        - name: kubernetes-admin
          user:
            client-certificate-data: Q0VSVA==
            client-key-data: S0VZ
    "#]]
    .assert_eq(&text("stead-default", "https://127.0.0.1:6443", user));
    let odd = text("true", "https://[::1]:6443", User::Token("a: b"));
    let config: kube::config::Kubeconfig = kube::config::Kubeconfig::from_yaml(&odd).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("true"));
    assert_eq!(
        config.clusters[0].cluster.as_ref().unwrap().server.as_deref(),
        Some("https://[::1]:6443")
    );
}
