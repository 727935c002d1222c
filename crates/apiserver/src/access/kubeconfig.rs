//! The file by which clients find the server and say who they are.

use base64::{Engine, engine::general_purpose::STANDARD};

/// How the user of a kubeconfig shows who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User<'a> {
    /// By a client certificate; both PEM.
    Certificate {
        /// The chain.
        certificate_pem: &'a str,
        /// Its key.
        key_pem: &'a str,
    },
    /// By a service-account token.
    Token(&'a str),
}

/// One cluster, one user, one context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kubeconfig<'a> {
    /// Name of cluster and context: `stead-NAME`.
    pub context: &'a str,
    /// `https://127.0.0.1:6443`
    pub server: &'a str,
    /// What the server's certificate is checked against.
    pub ca_pem: &'a str,
    /// What the user is called in the file.
    pub user_name: &'a str,
    /// Who it is.
    pub user: User<'a>,
}

impl Kubeconfig<'_> {
    /// The file's text, as `kubectl config view --raw` prints it.
    #[must_use]
    pub fn text(&self) -> String {
        let encode = |pem: &str| STANDARD.encode(pem);
        let user = match self.user {
            User::Certificate { certificate_pem, key_pem } => format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                encode(certificate_pem),
                encode(key_pem)
            ),
            User::Token(token) => format!("    token: {}\n", quoted(token)),
        };
        let (context, server, name) =
            (quoted(self.context), quoted(self.server), quoted(self.user_name));
        format!(
            "apiVersion: v1\n\
             clusters:\n\
             - cluster:\n    certificate-authority-data: {}\n    server: {server}\n  name: {context}\n\
             contexts:\n\
             - context:\n    cluster: {context}\n    user: {name}\n  name: {context}\n\
             current-context: {context}\n\
             kind: Config\n\
             preferences: {{}}\n\
             users:\n\
             - name: {name}\n  user:\n{user}",
            encode(self.ca_pem)
        )
    }
}

/// A plain YAML scalar where that is safe, a quoted one (JSON is YAML) elsewhere.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || "-_./:[]".contains(one))
        && !text.ends_with(':');
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
