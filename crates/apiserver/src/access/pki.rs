//! The cluster's certificates: an authority of its own, and who it vouches for.
//!
//! ```text
//!   ca.crt, ca.key      made once, kept; renewed with the same key, so that old trust goes on
//!   NAME.crt, NAME.key  made when missing, renewed when near their end or for other names
//!   sa.key              signs service-account tokens; made once
//! ```
//!
//! All keys are ECDSA on P-256, in files of mode 0600 within a folder of mode 0700.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring::default_provider, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

const DAY_S: u64 = 24 * 3600;
/// Ten years: upstream's installer gives its authority as long.
const CA_VALID_S: u64 = 3650 * DAY_S;
/// A year, as upstream's installer has it.
const LEAF_VALID_S: u64 = 365 * DAY_S;
/// What ends sooner is renewed: a server that is restarted once a month never serves an old one.
const RENEW_BEFORE_S: u64 = 30 * DAY_S;
/// Clocks of other hosts may lag.
const BACKDATE_S: u64 = 300;

/// Why the certificates are not to be had.
#[derive(Debug, Error)]
pub enum PkiError {
    /// Reading or writing failed.
    #[error("{}: the file cannot be read or written", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that cannot be made anew is not what was written: restore it from a backup.
    #[error("{} is damaged or missing; the cluster's trust hangs on it", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("the certificate of {name} could not be made")]
    Make {
        /// For whom.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A name that no certificate can bear.
    #[error("{name:?} is neither an address nor a DNS name")]
    Name {
        /// The name.
        name: String,
    },
    /// TLS does not take what is there.
    #[error("the certificate cannot be served")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A server under these DNS names and addresses; also a client of other nodes' servers.
    Server {
        /// `kube-apiserver`, `system:node:NAME` …
        user: String,
        /// `localhost`, `10.96.0.1` …
        names: Vec<String>,
    },
    /// A client: a user, and a group at most.
    Client {
        /// The user.
        user: String,
        /// Its group.
        group: Option<String>,
    },
}

impl Subject {
    /// The person who may do everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::client("kubernetes-admin", Some("system:masters"))
    }

    /// The API server as it calls nodes.
    #[must_use]
    pub fn kubelet_client() -> Self {
        Self::client("kube-apiserver-kubelet-client", None)
    }

    /// A node's agent as it calls the API server.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::client(&format!("system:node:{name}"), Some("system:nodes"))
    }

    /// Some client.
    #[must_use]
    pub fn client(user: &str, group: Option<&str>) -> Self {
        Self::Client { user: user.to_owned(), group: group.map(str::to_owned) }
    }

    /// A server under these names and addresses.
    #[must_use]
    pub fn server(user: &str, names: &[String]) -> Self {
        Self::Server { user: user.to_owned(), names: names.to_vec() }
    }

    fn parts(&self) -> (&str, Option<&String>, &[String]) {
        match self {
            Self::Server { user, names } => (user, None, names),
            Self::Client { user, group } => (user, group.as_ref(), &[]),
        }
    }
}

/// The authority and its folder.
pub struct Pki {
    folder: PathBuf,
    ca_pem: String,
    ca_key_id: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    token_key_pem: String,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Pki {
    /// Opens the authority in this folder; makes it where there is none.
    ///
    /// # Errors
    ///
    /// `Damaged` names a file whose loss a person must know of; it is never replaced silently.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| PkiError::Io { path: folder.to_owned(), source })?;
        let (certificate, key_path) = (folder.join("ca.crt"), folder.join("ca.key"));
        let (old, key) = match (read(&certificate)?, read(&key_path)?) {
            (None, None) => (None, new_key(&key_path)?),
            (Some(_), None) => return Err(PkiError::Damaged { path: key_path }),
            (old, Some(key)) => (old, key),
        };
        let pair = || {
            KeyPair::from_pem(&key).map_err(|_rcgen| PkiError::Damaged { path: key_path.clone() })
        };
        let params = ca_params(now);
        let ca_key_id = params.key_identifier(&pair()?);
        let current = match old {
            Some(pem) => {
                let facts =
                    Facts::read(&pem).ok_or(PkiError::Damaged { path: certificate.clone() })?;
                facts.lasts(now).then_some(pem)
            }
            None => None,
        };
        let ca_pem = match current {
            Some(pem) => pem,
            None => {
                let made = params.self_signed(&pair()?);
                let made = made.map_err(|source| PkiError::Make {
                    name: "the authority".to_owned(),
                    source,
                })?;
                write(&certificate, &made.pem())?;
                made.pem()
            }
        };
        let token_key_path = folder.join("sa.key");
        let token_key_pem = match read(&token_key_path)? {
            Some(pem) => pem,
            None => new_key(&token_key_path)?,
        };
        KeyPair::from_pem(&token_key_pem)
            .map_err(|_rcgen| PkiError::Damaged { path: token_key_path })?;
        Ok(Self {
            folder: folder.to_owned(),
            ca_pem,
            ca_key_id,
            issuer: Issuer::new(params, pair()?),
            token_key_pem,
        })
    }

    /// The authority's certificate: what everyone trusts.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key that signs service-account tokens.
    #[must_use]
    pub fn token_key_pem(&self) -> &str {
        &self.token_key_pem
    }

    /// The credential `NAME.crt`, `NAME.key`: the one on disk while it is for this subject, from
    /// this authority, and lasts a month more; else a new one in its place.
    ///
    /// # Errors
    ///
    /// `Io`, `Make`, and `Name` for a server's name that no certificate can bear.
    pub fn credential(
        &self,
        name: &str,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Credential, PkiError> {
        let certificate = self.folder.join(format!("{name}.crt"));
        let key = self.folder.join(format!("{name}.key"));
        if let (Some(certificate_pem), Some(key_pem)) = (read(&certificate)?, read(&key)?) {
            let facts = Facts::read(&certificate_pem);
            let same = facts.is_some_and(|facts| {
                facts.lasts(now) && facts.is_for(subject) && facts.authority == self.ca_key_id
            });
            if same && key_fits(&certificate_pem, &key_pem) {
                return Ok(Credential { certificate_pem, key_pem });
            }
        }
        let credential = self.issue(subject, now)?;
        write(&key, &credential.key_pem)?;
        write(&certificate, &credential.certificate_pem)?;
        Ok(credential)
    }

    /// A new credential that is not kept here.
    ///
    /// # Errors
    ///
    /// As `credential`.
    pub fn issue(&self, subject: &Subject, now: Timestamp) -> Result<Credential, PkiError> {
        let (user, group, names) = subject.parts();
        let failed = |source| PkiError::Make { name: user.to_owned(), source };
        let mut params = CertificateParams::default();
        limit(&mut params, now, LEAF_VALID_S);
        params.distinguished_name = DistinguishedName::new();
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.subject_alt_names =
            names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Credential { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

/// What to serve TLS with: this credential, and clients' certificates asked for, not demanded.
///
/// # Errors
///
/// `Tls` when certificate and key do not fit.
pub fn server_config(ca_pem: &str, credential: &Credential) -> Result<ServerConfig, PkiError> {
    let tls = |error: Box<dyn std::error::Error + Send + Sync>| PkiError::Tls(error);
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    let ca =
        CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| tls(error.into()))?;
    roots.add(ca).map_err(|error| tls(error.into()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| tls(error.into()))?;
    let chain = CertificateDer::pem_slice_iter(credential.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| tls(error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes())
        .map_err(|error| tls(error.into()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(error.into()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| tls(error.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default()
}

fn limit(params: &mut CertificateParams, now: Timestamp, valid_s: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds(now).saturating_sub(BACKDATE_S));
    params.not_after = epoch + Duration::from_secs(seconds(now) + valid_s);
}

fn ca_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    limit(&mut params, now, CA_VALID_S);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    // The key stays when the certificate is renewed: the number must tell the two apart.
    params.serial_number = Some(SerialNumber::from(seconds(now)));
    params
}

fn alternative(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let dns = name.try_into().map(SanType::DnsName);
    let shaped = !name.is_empty()
        && name.chars().all(|one| one.is_ascii_alphanumeric() || "-.*".contains(one));
    dns.ok().filter(|_name| shaped).ok_or_else(|| PkiError::Name { name: name.to_owned() })
}

/// What a certificate says of itself.
struct Facts {
    user: String,
    groups: Vec<String>,
    names: Vec<String>,
    not_before_s: i64,
    not_after_s: i64,
    /// The key identifier of who signed it.
    authority: Vec<u8>,
}

impl Facts {
    fn read(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_rest, certificate) = X509Certificate::from_der(&der).ok()?;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).ok()
        };
        let subject = certificate.subject();
        let mut names = Vec::new();
        let mut authority = Vec::new();
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(alternatives) => {
                    names.extend(alternatives.general_names.iter().filter_map(named));
                }
                ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                    authority = identifier
                        .key_identifier
                        .as_ref()
                        .map_or_else(Vec::new, |id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Some(Self {
            user: subject.iter_common_name().next().and_then(text)?,
            groups: subject.iter_organization().filter_map(text).collect(),
            names,
            not_before_s: certificate.validity().not_before.timestamp(),
            not_after_s: certificate.validity().not_after.timestamp(),
            authority,
        })
    }

    fn lasts(&self, now: Timestamp) -> bool {
        let soon = now.as_second().saturating_add(RENEW_BEFORE_S.cast_signed());
        self.not_before_s <= now.as_second() && soon < self.not_after_s
    }

    fn is_for(&self, subject: &Subject) -> bool {
        let (user, group, names) = subject.parts();
        self.user == user && self.groups.iter().eq(group) && self.names == names
    }
}

fn named(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|four| IpAddr::from(four).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|all| IpAddr::from(all).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn key_fits(certificate_pem: &str, key_pem: &str) -> bool {
    let Ok(pair) = KeyPair::from_pem(key_pem) else {
        return false;
    };
    let Ok(der) = CertificateDer::from_pem_slice(certificate_pem.as_bytes()) else {
        return false;
    };
    X509Certificate::from_der(&der).is_ok_and(|(_rest, certificate)| {
        *certificate.public_key().subject_public_key.data == *pair.public_key_raw()
    })
}

fn new_key(path: &Path) -> Result<String, PkiError> {
    let name = || path.display().to_string();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|source| PkiError::Make { name: name(), source })?
        .serialize_pem();
    write(path, &key)?;
    Ok(key)
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_not_utf8) => Err(PkiError::Damaged { path: path.to_owned() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read; after a crash it is there in full or not at all.
fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| PkiError::Io { path: path.to_owned(), source })
}
