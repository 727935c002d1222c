//! The same over a socket: TLS, both versions of HTTP, and no identity by extension.

use std::sync::Arc;

use api::k8s::api::core::v1::ConfigMap;
use client::kube::{self, Api, api::ListParams};
use rustls_pki_types::PrivateKeyDer;
use tokio::{net::TcpListener, sync::oneshot};

use super::house::{House, config};

#[tokio::test]
async fn a_client_over_https_reads_and_the_server_ends() {
    let house = House::open().await;
    house.post("/api/v1/namespaces/default/configmaps", &config("a", "1")).await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(house.server.clone().serve(listener, Arc::new(tls), async move {
        stopped.await.unwrap_or_default();
    }));
    let mut config = kube::Config::new(url.parse().unwrap());
    config.accept_invalid_certs = true;
    let client = client::https(config).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let list = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert_eq!(house.get("/readyz").await.code, 500);
}
