//! Credentials, and the files that they name.

use std::sync::LazyLock;

use node::client::{ApiClient, Credentials, Timeouts};
use tokio::runtime::Runtime;

use super::super::{pieces, put};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// A kubeconfig and the files `token`, `ca.crt` and `client.key` beside it, separated by zero bytes. Whatever they contain, the result is a
/// client that can make a URL for each request, or an error that does not quote the token.
pub fn kubeconfig(bytes: &[u8]) {
    let [kubeconfig, token, authority, key] = pieces(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    put(&path, kubeconfig);
    for (name, content) in [("token", token), ("ca.crt", authority), ("client.key", key)] {
        put(&folder.path().join(name), content);
    }
    // A kubeconfig that names other files would make the target depend on this machine.
    let text = String::from_utf8_lossy(kubeconfig);
    if text.contains("/etc") || text.contains("/proc") || text.contains("/sys") || text.contains("/dev") {
        return;
    }
    let namespace = node::client::namespace_in(&path);
    let credentials = Credentials::Kubeconfig(path.clone());
    match RUNTIME.block_on(ApiClient::connect(credentials, Timeouts::default())) {
        Ok(client) => {
            assert_eq!(client.namespace(), namespace.expect("the same file").as_ref());
            joins(client.server());
        }
        Err(error) => {
            let text = format!("{error} {error:?}");
            assert!(text.contains(&path.display().to_string()), "{text}");
            let secret = token.trim_ascii();
            // No text of an error has so long a word. One with blanks may be the text itself, which the fuzzer sees.
            let is_word = secret.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte));
            let is_secret = secret.len() > 32 && is_word && !contains(kubeconfig, secret);
            assert!(!is_secret || !contains(text.as_bytes(), secret), "{text}");
        }
    }
}

/// kube puts a request's path behind the server's, and panics if the result is no URL.
fn joins(server: &http::Uri) {
    let path = format!("{}/api/v1/namespaces/{}/pods", server.path().trim_end_matches('/'), "n".repeat(63));
    let scheme = server.scheme_str().expect("a scheme");
    assert!(scheme == "http" || scheme == "https", "{server}");
    let authority = server.authority().expect("a host").as_str();
    let joined = http::Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    assert!(joined.is_ok(), "{server}: {joined:?}");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
