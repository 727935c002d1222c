//! Images from registries, as a person has them: TLS of a private authority, a login, and plain HTTP.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{
    cluster::{Cluster, Turn, rows},
    transcripts::replay_file,
};

/// The pods' gateway, which is no loopback address: registries there speak TLS.
const GATEWAY: &str = "10.244.0.1";
/// `user:secret`
const HTPASSWD: &str = "user:$2b$04$1xK29WuhDfKpUDUZWxLz4ewCdNCFWJY0xjLW.lA6zHeGVW4P3SvKa\n";

#[test]
fn registries_with_a_private_authority_and_logins() {
    let _turn = Turn::take();
    let mut cluster = Cluster::new("registry", &[]);
    let home = cluster.folder.path().to_owned();
    // What the machine trusts; the registry's authority is added while the cluster runs.
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    fs::write(home.join("trusted.pem"), other.cert.pem()).unwrap();
    certify(&home);
    fs::write(home.join("htpasswd"), HTPASSWD).unwrap();
    let storage = home.join("storage");
    let shared = format!(
        "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\n",
        storage.display()
    );
    let at = |file: &str| home.join(file).display().to_string();
    let tls = format!(
        "{shared}http: {{addr: \"{GATEWAY}:5443\", tls: {{certificate: {}, key: {}}}}}\n\
         auth: {{htpasswd: {{realm: r, path: {}}}}}\n",
        at("registry.pem"),
        at("registry.key"),
        at("htpasswd")
    );
    fs::write(home.join("tls.yml"), tls).unwrap();
    fs::write(home.join("plain.yml"), format!("{shared}http: {{addr: \"0.0.0.0:5080\"}}\n"))
        .unwrap();
    cluster.before(&format!("export SSL_CERT_FILE={}", at("trusted.pem")));
    cluster.up();
    for config in ["tls.yml", "plain.yml"] {
        cluster.beside(&format!("docker-registry serve {} 2>/dev/null", at(config)));
    }
    replay_file(&cluster, &rows().join("registry.md"), &[]);
}

/// An authority, `ca.pem`, and the registry's certificate by it.
fn certify(home: &std::path::Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    let key = KeyPair::generate().unwrap();
    fs::write(home.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([GATEWAY.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(home.join("registry.pem"), certificate.pem()).unwrap();
    fs::write(home.join("registry.key"), key.serialize_pem()).unwrap();
}
