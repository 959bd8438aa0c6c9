//! Real TLS connections on the loopback interface.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::connecting::Kubeconfig;
use super::{ApiError, pod, soon};

/// A certificate authority.
pub(in crate::client) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(in crate::client) pem: String,
}

impl Authority {
    pub(in crate::client) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this name or address, and its key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn key(&self, name: &str) -> String {
        format!("    {name}: {}\n", STANDARD.encode(&self.pem))
    }
}

/// Serves one connection with a certificate for `name`, and returns the client's certificates; `None` if there was no request.
fn serve(
    authority: &Authority,
    name: &str,
    clients: Option<&Authority>,
) -> (String, JoinHandle<Option<usize>>) {
    let (certificate, key) = authority.issue(name);
    serve_with(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap(), &key, clients)
}

fn serve_with(
    certificate: CertificateDer<'static>,
    key: &str,
    clients: Option<&Authority>,
) -> (String, JoinHandle<Option<usize>>) {
    let (url, server) = serve_each(certificate, key, clients, &["200 OK"]);
    let first = || server.join().unwrap().remove(0).map(|certificates| certificates.len());
    (url, std::thread::spawn(first))
}

/// Answers one request on each connection, with these statuses in turn, and returns the client's certificates of each; `None` if there was no
/// request.
fn serve_each(
    certificate: CertificateDer<'static>,
    key: &str,
    clients: Option<&Authority>,
    statuses: &'static [&'static str],
) -> (String, JoinHandle<Vec<Option<Vec<CertificateDer<'static>>>>>) {
    let builder = ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    let key =
        ring::sign::any_supported_type(&PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
    // Not checked, as in a server that has another library.
    let own = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = Arc::new(builder.with_cert_resolver(Arc::new(own)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let answer = move |status: &&str| {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
        let mut lines = BufReader::new(&mut stream).lines();
        lines.find(|line| line.as_ref().map_or(true, String::is_empty))?.ok()?;
        let response = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
        stream.write_all(response.as_bytes()).ok()?;
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let certificates = stream.conn.peer_certificates().unwrap_or_default();
        Some(certificates.iter().map(|certificate| certificate.clone().into_owned()).collect())
    };
    (url, std::thread::spawn(move || statuses.iter().map(answer).collect()))
}

async fn get(kubeconfig: &Kubeconfig) -> Result<Value, ApiError> {
    kubeconfig.connect().await.unwrap().get(&pod(), soon()).await
}

#[tokio::test]
async fn only_a_server_of_the_kubeconfigs_authority_gets_a_request() {
    let (own, other) = (Authority::new(), Authority::new());
    for (authority, name, expected) in
        [(&own, "127.0.0.1", true), (&other, "127.0.0.1", false), (&own, "other", false)]
    {
        let (url, server) = serve(authority, name, None);
        let kubeconfig =
            Kubeconfig::new(&url, "", &own.key("certificate-authority-data"), "    token: canary\n");
        let answer = get(&kubeconfig).await;
        assert_eq!(answer.is_ok(), expected, "{name}: {answer:?}");
        assert_eq!(server.join().unwrap().is_some(), expected, "{name}");
    }
}

#[tokio::test]
async fn the_servers_certificate_may_have_the_name_in_tls_server_name() {
    let own = Authority::new();
    for (name, expected) in [("kubernetes.default", true), ("127.0.0.1", false)] {
        let (url, server) = serve(&own, name, None);
        let cluster = own.key("certificate-authority-data") + "    tls-server-name: kubernetes.default\n";
        let answer = get(&Kubeconfig::new(&url, "", &cluster, "    token: canary\n")).await;
        assert_eq!(
            (answer.is_ok(), server.join().unwrap().is_some()),
            (expected, expected),
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn insecure_skip_tls_verify_accepts_every_certificate() {
    let (other, key) = Authority::new().issue("other");
    let other = CertificateDer::from_pem_slice(other.as_bytes()).unwrap();
    // The second one is a certificate that rustls cannot read, such as one of X.509 version 1.
    for certificate in [other, CertificateDer::from(vec![0x30, 0])] {
        let (url, server) = serve_with(certificate, &key, None);
        let kubeconfig =
            Kubeconfig::new(&url, "", "    insecure-skip-tls-verify: true\n", "    token: canary\n");
        get(&kubeconfig).await.unwrap();
        assert_eq!(server.join().unwrap(), Some(0));
    }
}

/// Without a connection: each is wrong for ever, and the error names its key.
#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let unreadable = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let ((certificate, key), (_, others)) = (Authority::new().issue("a"), Authority::new().issue("b"));
    for (authority, certificate, key, named) in [
        (
            unreadable,
            certificate.as_str(),
            key.as_str(),
            "clusters[k].cluster.certificate-authority-data: expected",
        ),
        (
            &Authority::new().pem,
            unreadable,
            &key,
            "users[u].user.client-certificate = own.crt: expected a certificate",
        ),
        (
            &Authority::new().pem,
            &certificate,
            &others,
            "users[u].user.client-key = own.key: expected the key of",
        ),
    ] {
        let cluster = format!("    certificate-authority-data: {}\n", STANDARD.encode(authority));
        let user = "    client-certificate: own.crt\n    client-key: own.key\n";
        let kubeconfig = Kubeconfig::new("https://127.0.0.1:1", "", &cluster, user);
        kubeconfig.write("own.crt", certificate.as_bytes());
        kubeconfig.write("own.key", key.as_bytes());
        let error = kubeconfig.connect().await.unwrap_err();
        let text =
            error.to_string().replace(&format!("{}/", kubeconfig.path().parent().unwrap().display()), "");
        assert!(text.contains(named) && error.is_permanent(), "{text}");
    }
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_gets_no_request_if_the_kubeconfig_names_none() {
    let (url, server) = serve(&Authority::new(), "127.0.0.1", None);
    assert!(get(&Kubeconfig::new(&url, "", "", "    token: canary\n")).await.is_err());
    assert_eq!(server.join().unwrap(), None);
}

#[tokio::test]
async fn the_client_sends_its_certificate() {
    let (own, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = clients.issue("client");
    let (url, server) = serve(&own, "127.0.0.1", Some(&clients));
    let user = "    client-certificate: own.crt\n    client-key: own.key\n";
    let kubeconfig = Kubeconfig::new(&url, "", &own.key("certificate-authority-data"), user);
    kubeconfig.write("own.crt", certificate.as_bytes());
    kubeconfig.write("own.key", key.as_bytes());
    get(&kubeconfig).await.unwrap();
    assert_eq!(server.join().unwrap(), Some(1));
}

/// A kubeconfig with a client certificate in files, and a server that answers with these statuses.
struct Certified {
    kubeconfig: Kubeconfig,
    clients: Authority,
    server: JoinHandle<Vec<Option<Vec<CertificateDer<'static>>>>>,
}

impl Certified {
    fn new(statuses: &'static [&'static str]) -> Self {
        let (own, clients) = (Authority::new(), Authority::new());
        let (certificate, key) = own.issue("127.0.0.1");
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let (url, server) = serve_each(certificate, &key, Some(&clients), statuses);
        let user = "    client-certificate: own.pem\n    client-key: own.pem\n";
        let kubeconfig = Kubeconfig::new(&url, "", &own.key("certificate-authority-data"), user);
        Certified { kubeconfig, clients, server }
    }

    /// Puts another certificate into the file, and returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let (certificate, key) = self.clients.issue("client");
        self.kubeconfig.write("own.pem", format!("{certificate}{key}").as_bytes());
        CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
    }
}

#[tokio::test]
async fn a_refused_certificate_is_read_again_and_the_new_one_gets_a_new_connection() {
    let certified = Certified::new(&["401 Unauthorized", "200 OK"]);
    let first = certified.renew();
    let api = certified.kubeconfig.connect().await.unwrap();
    let second = certified.renew();
    let _: Value = api.get(&pod(), soon()).await.unwrap();
    assert_eq!(certified.server.join().unwrap(), [Some(vec![first]), Some(vec![second])]);
}

#[tokio::test]
async fn a_refused_certificate_that_nobody_renewed_is_not_tried_again() {
    let certified = Certified::new(&["401 Unauthorized"]);
    certified.renew();
    let api = certified.kubeconfig.connect().await.unwrap();
    let error = api.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert!(matches!(error, ApiError::Denied { .. }), "{error}");
    certified.kubeconfig.write("own.pem", b"half a file");
    let error = api.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert!(
        matches!(error, ApiError::Retryable { .. }),
        "the server is gone, the certificate is still used: {error}"
    );
}

#[tokio::test]
async fn a_certificate_is_read_again_after_a_minute() {
    let certified = Certified::new(&[]);
    certified.renew();
    let api = certified.kubeconfig.connect().await.unwrap();
    let start = tokio::time::Instant::now();
    let number = |seconds| api.connection.at(start + std::time::Duration::from_secs(seconds)).number();
    certified.renew();
    assert_eq!((number(30), number(61), number(62)), (0, 1, 1));
    assert_eq!(number(200), 1, "the file is the same");
    certified.renew();
    assert_eq!(number(261), 2);
}
