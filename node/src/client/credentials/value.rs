//! Checks of single values. http, hyper, kube and rustls panic on some of these, or fail at each request as if the network were down; here each
//! is refused before it gets there. A check returns what was expected, and never the value.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::error::{ConnectError, Place};

/// The largest file that a kubeconfig names, in bytes. A bundle of many certificates takes some hundred KiB.
const MAX_FILE: u64 = 1 << 20;

/// The longest token. The API server accepts 1 MiB of headers; a token takes 1 to 4 KiB.
const MAX_TOKEN: usize = 64 << 10;

/// The longest URL of a server. A URI has at most 64 KiB, and each request adds its path: http panics on a longer one.
const MAX_SERVER: usize = 2048;

/// The URL of an API server.
pub(super) fn server(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str = "expected a URL such as https://10.96.0.1:443, with the scheme https or http, a host, at most a port from 1 to \
                            65535 and a path, and no user, query or fragment";
    let text = text.trim();
    if text.len() > MAX_SERVER || text.contains(['#', '?']) {
        return Err(EXPECTED);
    }
    let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
    // Without a scheme, joining the URL with a request's path panics in kube.
    let has_scheme = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP);
    let authority = uri.authority().filter(|_| has_scheme).ok_or(EXPECTED)?;
    let host = authority.host();
    // The authority is "host", "host:port", or has a user before them. hyper takes port 443 for a port that is not a number.
    let port = authority.as_str().strip_prefix(host).ok_or(EXPECTED)?;
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !is_port || host_name(host).is_none() {
        return Err(EXPECTED);
    }
    Ok(uri)
}

/// The host of a URL as rustls accepts it, or `None`.
fn host_name(host: &str) -> Option<ServerName<'_>> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(inner).ok()
}

/// The name to expect in the server's certificate.
pub(super) fn tls_server_name(text: &str) -> Result<ServerName<'static>, &'static str> {
    ServerName::try_from(text.trim())
        .map(|name| name.to_owned())
        .map_err(|_| "expected a DNS name or an IP address")
}

/// The `Authorization` header for a token. Blanks and line ends around it do not count, as in client-go.
pub(super) fn bearer(token: &[u8]) -> Result<HeaderValue, &'static str> {
    const EXPECTED: &str = "expected a token: one word of printable ASCII characters, at most 64 KiB";
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err("expected a token, but it is empty");
    }
    if token.len() > MAX_TOKEN || !token.iter().all(u8::is_ascii_graphic) {
        return Err(EXPECTED);
    }
    let mut header =
        HeaderValue::from_bytes(&[b"Bearer ".as_slice(), token].concat()).map_err(|_| EXPECTED)?;
    // Keeps it out of every debug output.
    header.set_sensitive(true);
    Ok(header)
}

/// The `Authorization` header of a name and its password (RFC 7617).
pub(super) fn basic(name: &str, password: &str) -> Result<HeaderValue, &'static str> {
    const EXPECTED: &str = "expected a name without \":\"";
    if name.contains(':') {
        return Err(EXPECTED);
    }
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let mut header = HeaderValue::from_str(&text).map_err(|_| EXPECTED)?;
    header.set_sensitive(true);
    Ok(header)
}

/// A value of an `Impersonate-...` header.
pub(super) fn header(text: &str) -> Result<(), &'static str> {
    HeaderValue::from_str(text)
        .map(drop)
        .map_err(|_| "expected text without line ends and control characters")
}

/// The certificates of a PEM text, at least one: with none, every connection fails as if the server were not trusted.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    const EXPECTED: &str = "expected PEM with at least one CERTIFICATE";
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| EXPECTED)?;
    if found.is_empty() {
        return Err(EXPECTED);
    }
    Ok(found)
}

/// The certificate authorities of a PEM text, at least one.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, &'static str> {
    let mut authorities = RootCertStore::empty();
    for authority in certificates(pem)? {
        authorities
            .add(authority)
            .map_err(|_| "expected certificates in the format X.509, but one of them cannot be read")?;
    }
    Ok(authorities)
}

/// A client's certificate with its chain, and its key.
pub(super) fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Misfit> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InvalidCertificate(_) => {
            Misfit::Certificate("expected a certificate of X.509 version 3, but it cannot be read")
        }
        rustls::Error::InconsistentKeys(_) => Misfit::Key("expected the key of the client certificate"),
        _ => Misfit::Key("expected a key of RSA, ECDSA (P-256, P-384) or Ed25519"),
    })
}

/// Which half of a client's certificate and key is wrong, and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The certificate.
    Certificate(&'static str),
    /// The key.
    Key(&'static str),
}

/// The first private key of a PEM text.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "expected PEM with a PRIVATE KEY")
}

/// The bytes of a `...-data` key. Line ends do not count, as in Go.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, &'static str> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map_err(|_| "expected base64 (RFC 4648)")
}

/// A small regular file. A pipe or a device would block, or never end.
pub(super) fn file(place: &Place, path: &Path) -> Result<Vec<u8>, ConnectError> {
    let found = std::fs::metadata(path).map_err(|error| place.clone().unreadable(&error))?;
    if !found.is_file() || found.len() > MAX_FILE {
        return Err(place.clone().malformed("expected a regular file of at most 1 MiB"));
    }
    crate::files::read_bounded(path, MAX_FILE).map_err(|error| place.clone().unreadable(&error))
}
