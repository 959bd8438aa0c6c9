//! A kubeconfig, usually that of the plugins: with the token of the pod's service account, or with a certificate of the node.
//!
//! The kubelet renews the token long before it expires, and the plugins see the new one by a rewritten kubeconfig. Token, certificate and key are
//! in the file itself: their paths in the pod mean nothing on the node.

use std::fmt;
use std::fs::DirBuilder;
use std::net::Ipv6Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use node::client::{Authorities, NamedCluster};
use node::files::{FileError, read_bounded, write_atomic};

/// Where the kubelet mounts the service account.
pub const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The limit for a token or a bundle of certificates, in bytes.
const MAX_CREDENTIAL: u64 = 1 << 20;

/// Where the credentials come from, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The API server.
    pub server: Server,
    /// How the plugins prove who they are.
    pub user: User,
    /// How the API server proves who it is.
    pub trust: Trust,
    /// The kubeconfig.
    pub target: PathBuf,
}

/// How the plugins prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By the token in this file.
    Token(PathBuf),
    /// By the certificate and the key in this file: PEM.
    Certificate(PathBuf),
}

/// The API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    url: String,
    /// The name in its certificate, if it is not the host of the URL.
    tls_name: Option<String>,
}

/// How the API server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// By a certificate of the authority in this file.
    Authority(PathBuf),
    /// By a certificate of one of these authorities: PEM.
    Authorities(Vec<u8>),
    /// By a certificate of an authority that the machine trusts.
    Machine,
    /// It does not: for tests.
    Anybody,
}

/// A kubeconfig cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A variable is missing or wrong. The kubelet sets it in every pod.
    #[error("{variable} is {found:?}: expected {expected}; run this in a pod, or set the variable")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The token is malformed. It is not shown.
    #[error("{path} holds no token: expected one line of printable characters without spaces and quotes", path = .0.display())]
    Token(PathBuf),
    /// The certificate or the key is missing.
    #[error("{path} holds no certificate with its key: expected both in PEM", path = .0.display())]
    Certificate(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of the kubeconfig cannot be made.
    #[error("cannot create {path}: {source}", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Server {
    /// The URL of a protocol ("https" if empty), a host (a name or an address) and a port.
    ///
    /// # Errors
    /// [`KubeconfigError::Variable`].
    pub fn new(protocol: &str, host: &str, port: &str) -> Result<Self, KubeconfigError> {
        let wrong = |variable, found: &str, expected| KubeconfigError::Variable {
            variable,
            found: found.to_owned(),
            expected,
        };
        let protocol = match protocol {
            "" | "https" => "https",
            "http" => "http",
            other => return Err(wrong("KUBERNETES_SERVICE_PROTOCOL", other, "http or https")),
        };
        let is_name = |host: &str| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        };
        let host = match host.trim_matches(['[', ']']) {
            address if address.parse::<Ipv6Addr>().is_ok() => format!("[{address}]"),
            name if is_name(name) => name.to_owned(),
            _ => return Err(wrong("KUBERNETES_SERVICE_HOST", host, "an address or a host name")),
        };
        match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok(Self { url: format!("{protocol}://{host}:{port}"), tls_name: None }),
            _ => Err(wrong("KUBERNETES_SERVICE_PORT", port, "a number from 1 to 65535")),
        }
    }

    /// The URL in the variables that the kubelet sets in every pod. `lookup` reads one.
    ///
    /// # Errors
    /// [`KubeconfigError::Variable`].
    pub fn of_environment(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, KubeconfigError> {
        let read = |name| lookup(name).unwrap_or_default();
        let protocol = read("KUBERNETES_SERVICE_PROTOCOL");
        Self::new(&protocol, &read("KUBERNETES_SERVICE_HOST"), &read("KUBERNETES_SERVICE_PORT"))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Credentials {
    /// The kubeconfig `target` for the cluster of another one.
    pub fn for_cluster(cluster: NamedCluster, user: User, target: PathBuf) -> Self {
        let NamedCluster { server, tls_server_name, authorities } = cluster;
        let trust = match authorities {
            Authorities::Named(pem) => Trust::Authorities(pem),
            Authorities::Machine => Trust::Machine,
            Authorities::Everyone => Trust::Anybody,
        };
        Self { server: Server { url: server, tls_name: tls_server_name }, user, trust, target }
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The kubeconfig was written.
    Written,
    /// It was right.
    Unchanged,
}

impl Credentials {
    /// Writes the kubeconfig (mode 0600), unless it says the same already. Call it again and again: the token changes.
    ///
    /// # Errors
    /// [`KubeconfigError`]. The old kubeconfig is then unchanged.
    pub fn renew(&self) -> Result<Renewed, KubeconfigError> {
        let text = render(&self.server, &self.trust.key()?, &self.user.keys()?);
        if matches!(read_bounded(&self.target, MAX_CREDENTIAL * 2), Ok(old) if old == text.as_bytes()) {
            return Ok(Renewed::Unchanged);
        }
        create_folder(&self.target)?;
        write_atomic(&self.target, text.as_bytes(), 0o600)?;
        Ok(Renewed::Written)
    }
}

impl Trust {
    /// The key of `cluster`, or nothing.
    fn key(&self) -> Result<String, KubeconfigError> {
        let data = |pem: &[u8]| format!("\n    certificate-authority-data: {}", STANDARD.encode(pem));
        Ok(match self {
            Self::Anybody => "\n    insecure-skip-tls-verify: true".to_owned(),
            Self::Authority(path) => data(&read_bounded(path, MAX_CREDENTIAL)?),
            Self::Authorities(pem) => data(pem),
            Self::Machine => String::new(),
        })
    }
}

impl User {
    /// The keys of `user`.
    fn keys(&self) -> Result<String, KubeconfigError> {
        match self {
            Self::Token(path) => {
                let token = read_bounded(path, MAX_CREDENTIAL)?;
                let token = std::str::from_utf8(&token).map(str::trim).unwrap_or_default();
                // The characters of RFC 6750. Any other could end the quotes around the token.
                let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
                if token.is_empty() || !token.bytes().all(is_token) {
                    return Err(KubeconfigError::Token(path.clone()));
                }
                Ok(format!("\n    token: \"{token}\""))
            }
            Self::Certificate(path) => {
                let pair = read_bounded(path, MAX_CREDENTIAL)?;
                let text = std::str::from_utf8(&pair).unwrap_or_default();
                if !(text.contains("BEGIN CERTIFICATE-----") && text.contains("PRIVATE KEY-----")) {
                    return Err(KubeconfigError::Certificate(path.clone()));
                }
                let data = |label| STANDARD.encode(blocks(text, label));
                let (certificate, key) = (data("CERTIFICATE-----"), data("PRIVATE KEY-----"));
                Ok(format!("\n    client-certificate-data: {certificate}\n    client-key-data: {key}"))
            }
        }
    }
}

/// The blocks of a text in PEM whose first line ends like this.
fn blocks(text: &str, label: &str) -> String {
    let mut is_in = false;
    let lines = text.lines().filter(|line| {
        let begins = line.starts_with("-----BEGIN ") && line.ends_with(label);
        let ends = is_in && line.starts_with("-----END ");
        is_in = (is_in || begins) && !ends;
        is_in || ends
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn create_folder(file: &Path) -> Result<(), KubeconfigError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let created = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    created.map_err(|source| KubeconfigError::Folder { path: folder.to_owned(), source })
}

/// The names are upstream's: other tools of a node read this file.
fn render(server: &Server, trust: &str, user: &str) -> String {
    let tls_name =
        server.tls_name.as_ref().map(|name| format!("\n    tls-server-name: {name}")).unwrap_or_default();
    format!(
        "# Kubeconfig file for Multus CNI plugin.\n\
         apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: local\n  \
           cluster:\n    \
             server: {server}{tls_name}{trust}\n\
         users:\n\
         - name: multus\n  \
           user:{user}\n\
         contexts:\n\
         - name: multus-context\n  \
           context:\n    \
             cluster: local\n    \
             user: multus\n\
         current-context: multus-context\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn server(host: &str) -> Result<String, String> {
        Server::new("", host, "443").map(|server| server.to_string()).map_err(|error| error.to_string())
    }

    /// A mounted service account, and the kubeconfig beside it.
    fn account(token: &str) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_atomic(&path("token"), token.as_bytes(), 0o600).unwrap();
        write_atomic(&path("ca.crt"), b"PEM", 0o600).unwrap();
        let credentials = Credentials {
            server: Server::new("https", "10.96.0.1", "443").unwrap(),
            user: User::Token(path("token")),
            trust: Trust::Authority(path("ca.crt")),
            target: path("multus.d/multus.kubeconfig"),
        };
        (folder, credentials)
    }

    #[test]
    fn the_server_is_a_url_also_of_an_ipv6_address() {
        assert_eq!(server("10.96.0.1").unwrap(), "https://10.96.0.1:443");
        assert_eq!(server("fd00::1").unwrap(), "https://[fd00::1]:443");
        assert_eq!(server("[fd00::1]").unwrap(), "https://[fd00::1]:443");
        assert_eq!(server("api.example").unwrap(), "https://api.example:443");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for host in ["", "a b", "x/y", "u@h", "h\nx: y"] {
            assert!(server(host).unwrap_err().contains("KUBERNETES_SERVICE_HOST"));
        }
        for port in ["", "0", "tcp://10.0.0.1:443", "70000"] {
            assert!(Server::new("", "h", port).unwrap_err().to_string().contains("KUBERNETES_SERVICE_PORT"));
        }
        assert!(
            Server::new("ftp", "h", "1").unwrap_err().to_string().contains("KUBERNETES_SERVICE_PROTOCOL")
        );
        assert!(Server::of_environment(&|_| None).is_err());
    }

    #[test]
    fn the_text_is_upstreams() {
        let (_folder, credentials) = account("abc.def-_~+/=\n");
        assert_eq!(credentials.renew().unwrap(), Renewed::Written);
        let want = r#"# Kubeconfig file for Multus CNI plugin.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: https://10.96.0.1:443
    certificate-authority-data: UEVN
users:
- name: multus
  user:
    token: "abc.def-_~+/="
contexts:
- name: multus-context
  context:
    cluster: local
    user: multus
current-context: multus-context
"#;
        assert_eq!(std::fs::read_to_string(&credentials.target).unwrap(), want);
        let mode = credentials.target.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_renewed_token_or_authority_is_written_and_the_same_is_not() {
        let (folder, credentials) = account("one");
        credentials.renew().unwrap();
        assert_eq!(credentials.renew().unwrap(), Renewed::Unchanged);
        for (file, bytes) in [("token", "two"), ("ca.crt", "OTHER")] {
            write_atomic(&folder.path().join(file), bytes.as_bytes(), 0o600).unwrap();
            assert_eq!(credentials.renew().unwrap(), Renewed::Written);
        }
        std::fs::remove_file(&credentials.target).unwrap();
        assert_eq!(credentials.renew().unwrap(), Renewed::Written);
    }

    #[test]
    fn a_malformed_token_is_refused_and_not_shown() {
        for token in ["", "a b", "canary\"\nx: y", "canary\u{e9}"] {
            let (_folder, credentials) = account(token);
            let error = credentials.renew().unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
            assert!(!credentials.target.exists());
        }
    }

    #[test]
    fn a_certificate_takes_the_place_of_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let (pair, target) = (folder.path().join("pair.pem"), folder.path().join("kubeconfig"));
        let cluster = NamedCluster {
            server: "https://api-int:6443/".to_owned(),
            tls_server_name: Some("kubernetes".to_owned()),
            authorities: Authorities::Named(b"PEM".to_vec()),
        };
        let credentials = Credentials::for_cluster(cluster, User::Certificate(pair.clone()), target);
        for wrong in ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----"] {
            write_atomic(&pair, wrong.as_bytes(), 0o600).unwrap();
            let error = credentials.renew().unwrap_err().to_string();
            assert!(error.contains("pair.pem holds no certificate with its key"), "{error}");
        }
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let (certificate, key) = (block("CERTIFICATE"), block("PRIVATE KEY"));
        write_atomic(&pair, format!("{certificate}{key}").as_bytes(), 0o600).unwrap();
        assert_eq!(credentials.renew().unwrap(), Renewed::Written);
        let (certificate, key) = (STANDARD.encode(certificate), STANDARD.encode(key));
        let written = std::fs::read_to_string(&credentials.target).unwrap();
        let cluster = "    server: https://api-int:6443/\n    tls-server-name: kubernetes\n    certificate-authority-data: UEVN\n";
        let user =
            format!("  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n");
        assert!(written.contains(cluster) && written.contains(&user), "{written}");
    }

    #[test]
    fn without_an_authority_the_file_says_so() {
        let (_folder, mut credentials) = account("t");
        credentials.trust = Trust::Anybody;
        credentials.renew().unwrap();
        assert!(
            std::fs::read_to_string(&credentials.target)
                .unwrap()
                .contains("    insecure-skip-tls-verify: true\n")
        );
    }
}
