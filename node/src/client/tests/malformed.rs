//! Kubeconfigs that can never work. Each of these values once made a library panic, or made each request fail as if the network were down.

use super::connecting::Kubeconfig;
use super::{ApiClient, ConnectError, Credentials, Timeouts};

const SERVER: &str = "https://127.0.0.1:9";

/// A self-signed certificate for EC P-256, without its key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUVrQf5d//S01a0fbXxYRIx9wc0VQwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJdGVzdC1jYS0xMCAXDTI2MDMwNDEzMDk1MFoYDzIxMjYwMjA4
MTMwOTUwWjAUMRIwEAYDVQQDDAl0ZXN0LWNhLTEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARg57mWJPDsAIEQAgXqMOOfjMQP+PE9HqcZobycO8z94r/uRuV0wKx/
0SvMsKFtnreut0bjgFtmZaWY+6d87Is9o1MwUTAdBgNVHQ4EFgQUjtGuhkM7LtHB
gMPCJIxMwbY69OQwHwYDVR0jBBgwFoAUjtGuhkM7LtHBgMPCJIxMwbY69OQwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAj/WzNVJDg/cBtLqQVM77
tkB+QyIXLG3Vi9Xj1YfW9QECIQDDFW8yFtgLeCg2Zhr4xQNq3/24r/01kI2rjFPO
xBkDMw==
-----END CERTIFICATE-----
";

/// The error names the file and the key, says what was expected, quotes no secret, and says that waiting does not help.
async fn is_refused(kubeconfig: &Kubeconfig, key: &str, expected: &str) {
    let path = kubeconfig.path();
    let error = kubeconfig.connect().await.expect_err(key);
    let text = error.to_string();
    assert!(text.starts_with(&format!("kubeconfig {}: {key}", path.display())), "{key}: {text}");
    assert!(text.contains(expected), "{key}: {text}");
    assert!(!format!("{error:?}{text}").contains("canary"), "{text}");
    assert!(matches!(error, ConnectError::Malformed { .. }) && error.is_permanent(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_no_url_with_scheme_host_and_port() {
    let long = format!("https://h/{}", "a".repeat(65_000));
    for server in [
        "10.96.0.1:6443",
        "10.96.0.1",
        "kubernetes.default",
        "/api",
        "\"*\"",
        "\"\"",
        "https://",
        "https:///api",
        "https://:6443",
        "https://h:99999",
        "https://h:0",
        "https://h:port",
        "\"https://h:\"",
        "https://user:canary@h:6443",
        "https://h_:6443/?x=1",
        "https://h/?x=1",
        "\"https://h/#x\"",
        "unix:///run/api.sock",
        "ftp://h",
        "https://a..b",
        "https://-/",
        "https://[fe80::1%25eth0]:6443",
        "\"https://h x\"",
        "\"https://h\\nx: y\"",
        &long,
    ] {
        let kubeconfig = Kubeconfig::new(server, "", "", "    token: canary\n");
        is_refused(&kubeconfig, "clusters[k].cluster.server", "expected a URL such as https://").await;
    }
}

#[tokio::test]
async fn usual_servers_are_accepted() {
    for server in [
        "https://10.96.0.1:443",
        "https://10.96.0.1",
        "https://[fd00::1]:6443",
        "https://kubernetes.default.svc",
        "https://rancher.example/k8s/clusters/c-1/",
        "HTTPS://host_with_underscore:6443",
        "http://localhost:8001",
        "\" https://h:6443\\n\"",
    ] {
        let extra = "    insecure-skip-tls-verify: true\n";
        let connected = Kubeconfig::new(server, "", extra, "    token: t\n").connect().await;
        assert!(connected.is_ok(), "{server}: {connected:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_no_header_value() {
    for token in ["canary\\ntoken", "canary token", "canary\\u0001", "canary\\u00e4", " \\n"] {
        let user = format!("    token: \"{token}\"\n");
        is_refused(&Kubeconfig::new(SERVER, "", "", &user), "users[u].user.token: ", "expected a token")
            .await;
    }
    for token in ["canary\ntoken\n", "canary token", "canary\u{1}", "canary\u{e4}", "", "\n", " "] {
        let kubeconfig = Kubeconfig::new(SERVER, "", "", "    tokenFile: token\n");
        kubeconfig.write("token", token.as_bytes());
        let file = kubeconfig.path().with_file_name("token");
        let key = format!("users[u].user.tokenFile = {}: ", file.display());
        is_refused(&kubeconfig, &key, "expected a token").await;
    }
}

#[tokio::test]
async fn a_file_that_never_ends_is_not_read() {
    for (user, key) in [("tokenFile", "users[u].user.tokenFile"), ("client-key", "users[u].user.client-key")]
    {
        let user = format!("    client-certificate: ca\n    {user}: /dev/zero\n");
        let kubeconfig = Kubeconfig::new(SERVER, "", "", &user);
        kubeconfig.write("ca", CERTIFICATE.as_bytes());
        let key = if key.ends_with("tokenFile") { "users[u].user.client-key" } else { key };
        is_refused(&kubeconfig, key, "expected").await;
    }
    let kubeconfig = Kubeconfig::new(SERVER, "", "", "    tokenFile: /dev/zero\n");
    is_refused(&kubeconfig, "users[u].user.tokenFile = /dev/zero", "expected a regular file").await;
    let kubeconfig = Kubeconfig::new(SERVER, "", "    certificate-authority: /dev/zero\n", "    token: t\n");
    is_refused(
        &kubeconfig,
        "clusters[k].cluster.certificate-authority = /dev/zero",
        "expected a regular file",
    )
    .await;
}

#[tokio::test]
async fn a_certificate_authority_without_a_certificate() {
    let key = "clusters[k].cluster.certificate-authority-data";
    // "canary" in base64, and no base64 at all.
    for (data, expected) in
        [("Y2FuYXJ5", "expected PEM with at least one CERTIFICATE"), ("canary!", "expected base64")]
    {
        let extra = format!("    certificate-authority-data: {data}\n");
        is_refused(&Kubeconfig::new(SERVER, "", &extra, "    token: t\n"), key, expected).await;
    }
    let torn = &CERTIFICATE[..200];
    for pem in
        ["", "\n", "canary", torn, "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"]
    {
        let kubeconfig = Kubeconfig::new(SERVER, "", "    certificate-authority: ca\n", "    token: t\n");
        kubeconfig.write("ca", pem.as_bytes());
        let key = "clusters[k].cluster.certificate-authority = ";
        is_refused(&kubeconfig, key, "expected PEM with at least one CERTIFICATE").await;
    }
}

#[tokio::test]
async fn a_client_certificate_without_its_key() {
    let kubeconfig = |user: &str| {
        let kubeconfig = Kubeconfig::new(SERVER, "", "", user);
        kubeconfig.write("ca", CERTIFICATE.as_bytes());
        kubeconfig.write("bad", b"canary");
        kubeconfig
    };
    let both = "expected client-certificate and client-key, or neither";
    is_refused(&kubeconfig("    client-certificate: ca\n"), "users[u].user.client-key: ", both).await;
    is_refused(&kubeconfig("    client-key: ca\n"), "users[u].user.client-certificate: ", both).await;
    let user = "    client-certificate: bad\n    client-key: bad\n";
    is_refused(&kubeconfig(user), "users[u].user.client-certificate = ", "at least one CERTIFICATE").await;
    let user = "    client-certificate: ca\n    client-key: bad\n";
    is_refused(&kubeconfig(user), "users[u].user.client-key = ", "expected PEM with a PRIVATE KEY").await;
}

#[tokio::test]
async fn impersonation_and_tls_server_name() {
    for (user, key) in [
        ("    as: \"canary\\nx\"\n", "users[u].user.as: "),
        ("    as-uid: \"canary\\nx\"\n", "users[u].user.as-uid: "),
        ("    as-groups: [\"canary\\nx\"]\n", "users[u].user.as-groups: "),
        ("    as-user-extra: {scopes: [\"canary\\nx\"]}\n", "users[u].user.as-user-extra: "),
    ] {
        is_refused(&Kubeconfig::new(SERVER, "", "", user), key, "expected text without line ends").await;
    }
    let kubeconfig = Kubeconfig::new(SERVER, "", "    tls-server-name: \"a b\"\n", "    token: t\n");
    is_refused(&kubeconfig, "clusters[k].cluster.tls-server-name: ", "expected a DNS name").await;
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    let text = |context: &str, cluster: &str, user: &str| {
        format!(
            "current-context: {context}\ncontexts: [{{name: c, context: {{cluster: {cluster}, user: {user}}}}}]\n\
             clusters: [{{name: k, cluster: {{server: \"{SERVER}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        )
    };
    let expected = "expected the name of an element of";
    is_refused(&Kubeconfig::raw(&text("x", "k", "u")), "current-context: ", expected).await;
    is_refused(&Kubeconfig::raw(&text("c", "x", "u")), "contexts[c].context.cluster: ", expected).await;
    is_refused(&Kubeconfig::raw(&text("c", "k", "x")), "contexts[c].context.user: ", expected).await;
    is_refused(&Kubeconfig::raw(""), "current-context: ", expected).await;
}

#[tokio::test]
async fn text_that_is_no_utf_8() {
    // UTF-16 of which the last byte is missing.
    for bytes in [b"\xff\xfea".as_slice(), b"\xfe\xffa", b"\xff\xfea\0", b"a: \xff"] {
        let kubeconfig = Kubeconfig::raw("");
        kubeconfig.write("kubeconfig", bytes);
        is_refused(&kubeconfig, "expected UTF-8", "").await;
    }
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), std::path::Path::new("/dev/zero")] {
        let credentials = Credentials::Kubeconfig(path.to_owned());
        let error = ApiClient::connect(credentials, Timeouts::default()).await.unwrap_err();
        assert!(error.to_string().ends_with("expected a regular file of at most 1 MiB"), "{error}");
    }
}
