//! Pulls from a real registry on loopback: Debian's `docker-registry`.

#![expect(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::SystemTime,
};

use host::{
    image::{Images, node_architecture},
    runtime::{Credential, Image, ImageError, PullRequest},
};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use serde_json::json;
use tempfile::TempDir;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2b$04$1xK29WuhDfKpUDUZWxLz4ewCdNCFWJY0xjLW.lA6zHeGVW4P3SvKa\n";

struct Registry {
    child: Child,
    host: String,
    folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Registry {
    fn start(with_login: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        std::fs::write(path.join("htpasswd"), HTPASSWD).unwrap();
        let auth = if with_login {
            format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", path.join("htpasswd").display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{auth}",
            path.join("data").display()
        );
        std::fs::write(path.join("config.yml"), config).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test's own registry")]
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(path.join("config.yml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("Debian's docker-registry is installed");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = lines
            .by_ref()
            .find_map(|line| {
                let line = line.unwrap();
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split('"').next().unwrap().to_owned())
            })
            .expect("it says where it listens");
        // What it says further must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, host, folder }
    }

    fn client() -> Client {
        rustls::crypto::ring::default_provider().install_default().ok();
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        Client::try_from(config).unwrap()
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::with_tag(self.host.clone(), "team/app".to_owned(), tag.to_owned())
    }

    /// Pushes an image of one layer with one file, under `tag`; returns the manifest's digest.
    async fn push(&self, tag: &str, architecture: &str, auth: &RegistryAuth) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "hello", architecture.get(..5).unwrap_or("arm64").as_bytes())
            .unwrap();
        let layer = tar.into_inner().unwrap();
        let digest = ImageLayer::oci_v1(layer.clone(), None).sha256_digest();
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [digest]}});
        let client = Self::client();
        client
            .push(
                &self.reference(tag),
                &[ImageLayer::oci_v1(layer, None)],
                Config::oci_v1(config.to_string().into_bytes(), None),
                auth,
                None,
            )
            .await
            .unwrap();
        client.fetch_manifest_digest(&self.reference(tag), auth).await.unwrap()
    }

    async fn push_index(&self, tag: &str, rows: &[(&str, &str)]) {
        let manifests: Vec<_> = rows
            .iter()
            .map(|(architecture, digest)| {
                json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": digest,
                    "platform": {"os": "linux", "architecture": architecture}})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests});
        let client = Self::client();
        client.store_auth_if_needed(&self.host, &RegistryAuth::Anonymous).await;
        client
            .push_manifest_raw(
                &self.reference(tag),
                index.to_string().into_bytes(),
                "application/vnd.oci.image.index.v1+json".parse().unwrap(),
            )
            .await
            .unwrap();
    }

    async fn pull(&self, tail: &str, credentials: &[Credential]) -> Result<Image, ImageError> {
        let images = Images::open(&self.folder.path().join("images")).unwrap();
        let request = PullRequest {
            reference: format!("{}/team/app{tail}", self.host),
            credentials: credentials.to_vec(),
        };
        images.pull(&request, NOW).await
    }

    fn text(&self, result: Result<Image, ImageError>) -> String {
        result.unwrap_err().to_string().replace(&self.host, "HOST")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_digests_and_indexes() {
    let registry = Registry::start(false);
    let own = registry.push("own", node_architecture(), &RegistryAuth::Anonymous).await;
    let other = registry.push("other", "s390x", &RegistryAuth::Anonymous).await;
    registry.push_index("both", &[("s390x", &other), (node_architecture(), &own)]).await;
    registry.push_index("none", &[("s390x", &other)]).await;

    let image = registry.pull(":own", &[]).await.unwrap();
    assert_eq!(image.tags, [format!("{}/team/app:own", registry.host)]);
    assert_eq!(image.digests, [format!("{}/team/app@{own}", registry.host)]);
    let images = Images::open(&registry.folder.path().join("images")).unwrap();
    let layers = images.layers(&image.id).unwrap();
    let hello = std::fs::read_to_string(layers[0].join("hello")).unwrap();
    assert_eq!(hello, node_architecture());

    // The same image by index and by digest: found by its config, nothing fetched twice.
    let both = registry.pull(":both", &[]).await.unwrap();
    assert_eq!((both.id.as_str(), both.tags.len(), both.digests.len()), (image.id.as_str(), 2, 2));
    let exact = registry.pull(&format!("@{own}"), &[]).await.unwrap();
    assert_eq!(exact.id, image.id);

    let wanted = node_architecture();
    for tail in [":other", ":none"] {
        assert_eq!(
            registry.text(registry.pull(tail, &[]).await),
            format!(
                "HOST/team/app{tail}: the image is for linux/s390x, this node is linux/{wanted}"
            )
        );
    }
    assert_eq!(
        registry.text(registry.pull(":absent", &[]).await),
        "failed to pull and unpack image \"HOST/team/app:absent\": failed to resolve reference \
         \"HOST/team/app:absent\": HOST/team/app:absent: not found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logins() {
    let registry = Registry::start(true);
    let login = RegistryAuth::Basic("user".to_owned(), "secret".to_owned());
    registry.push("own", node_architecture(), &login).await;
    let credential = |registry: &str, password: &str| Credential {
        registry: registry.to_owned(),
        username: "user".to_owned(),
        password: password.to_owned(),
    };
    let denied = "failed to pull and unpack image \"HOST/team/app:own\": failed to resolve \
                  reference \"HOST/team/app:own\": pull access denied, repository does not exist \
                  or may require authorization: authorization failed: no basic auth credentials";
    assert_eq!(registry.text(registry.pull(":own", &[]).await), denied);
    let wrong = credential(&registry.host, "wrong");
    let elsewhere = credential("example.com", "secret");
    let refused = "failed to pull and unpack image \"HOST/team/app:own\": failed to resolve \
                   reference \"HOST/team/app:own\": unexpected status from HEAD request to \
                   http://HOST/v2/team/app/manifests/own: 401 Unauthorized";
    assert_eq!(registry.text(registry.pull(":own", &[wrong.clone(), elsewhere]).await), refused);
    // Every login that fits is tried, the most exact first.
    let right = credential(&format!("http://{}/team", registry.host), "secret");
    registry.pull(":own", &[wrong, right]).await.unwrap();
}

#[tokio::test]
async fn nobody_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let folder = TempDir::new().unwrap();
    let images = Images::open(folder.path()).unwrap();
    let request = PullRequest { reference: format!("{host}/x:1"), credentials: Vec::new() };
    let error = images.pull(&request, NOW).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }));
    let text = error.to_string().replace(&host, "HOST");
    assert_eq!(
        text,
        "failed to pull and unpack image \"HOST/x:1\": failed to resolve reference \"HOST/x:1\": \
         failed to do request: Head \"http://HOST/v2/x/manifests/1\": dial tcp HOST: connect: \
         connection refused"
    );
}
