//! Real files, and real HTTP connections on the loopback interface.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::{ApiClient, ApiError, Cause, ConnectError, Credentials, Timeouts, pod, pools, soon};

const CANARY: &str = "canary-token-4711";

pub(super) struct Kubeconfig {
    dir: tempfile::TempDir,
}

impl Kubeconfig {
    pub(super) fn new(server: &str, context_extra: &str, cluster_extra: &str, user: &str) -> Self {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster:\n    server: {server}\n\
             {cluster_extra}contexts:\n- name: c\n  context:\n    cluster: k\n    user: u\n{context_extra}users:\n\
             - name: u\n  user:\n{user}"
        );
        Self::raw(&text)
    }

    pub(super) fn raw(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        crate::files::write_atomic(&dir.path().join("kubeconfig"), text.as_bytes(), 0o600).unwrap();
        Self { dir }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        crate::files::write_atomic(&self.dir.path().join(name), bytes, 0o600).unwrap();
    }

    pub(super) async fn connect(&self) -> Result<ApiClient, ConnectError> {
        ApiClient::connect(Credentials::Kubeconfig(self.path()), Timeouts::default()).await
    }
}

/// Sends `response` to one HTTP request and returns the head of the request. An empty response closes the connection.
fn serve_once(response: &'static str) -> (String, JoinHandle<String>) {
    let (url, server) = serve(&[response]);
    (url, std::thread::spawn(move || server.join().unwrap().remove(0)))
}

/// Sends each response to one HTTP request on a connection of its own, and returns the heads of the requests.
fn serve(responses: &[&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let responses = responses.to_vec();
    let server = std::thread::spawn(move || {
        let answer = |response: &'static str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut body = 0;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for line in reader.by_ref().lines() {
                let line = line.unwrap();
                if line.is_empty() {
                    break;
                }
                if let Some(length) = line.strip_prefix("content-length: ") {
                    body = length.parse().unwrap();
                }
                head.push_str(&line);
                head.push('\n');
            }
            reader.read_exact(&mut vec![0; body]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            head
        };
        responses.into_iter().map(answer).collect()
    });
    (url, server)
}

fn token() -> String {
    format!("    token: {CANARY}\n")
}

#[tokio::test]
async fn a_request_carries_the_token_over_a_real_connection() {
    let (url, server) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let kubeconfig = Kubeconfig::new(&url, "    namespace: pools\n", "", &token());
    let client = kubeconfig.connect().await.unwrap();
    assert_eq!(client.namespace().unwrap().as_str(), "pools");
    let _: Value = client.get(&pod(), soon()).await.unwrap();
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /api/v1/namespaces/default/pods/web-0 HTTP/1.1\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {CANARY}")), "{head}");
    assert!(!format!("{client:?}").contains(CANARY));
}

/// Answers every request on every connection, until the last client is gone. Returns the number of connections.
fn count_connections(requests: usize) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (done, left) = std::sync::mpsc::channel();
        listener.set_nonblocking(true).unwrap();
        let (mut connections, mut answered) = (0, 0);
        while answered < requests {
            if let Ok((stream, _)) = listener.accept() {
                connections += 1;
                stream.set_nonblocking(false).unwrap();
                let done = done.clone();
                std::thread::spawn(move || answer_all(stream, &done));
            }
            answered += left.try_iter().count();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        connections
    });
    (url, server)
}

fn answer_all(mut stream: std::net::TcpStream, done: &std::sync::mpsc::Sender<()>) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.lines().map_while(Result::ok) {
        if line.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            done.send(()).unwrap();
        }
    }
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    let (url, server) = count_connections(6);
    let kubeconfig = Kubeconfig::new(&url, "", "", &token());
    // As a plugin does: the runtime stands still between two calls.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(kubeconfig.connect()).unwrap();
    for _ in 0..6 {
        let _: Value = runtime.block_on(client.get(&pod(), soon())).unwrap();
    }
    assert_eq!(server.join().unwrap(), 1);
}

#[tokio::test]
async fn a_token_file_beside_the_kubeconfig_is_read() {
    let (url, server) = serve_once("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let kubeconfig = Kubeconfig::new(&url, "", "", "    tokenFile: token\n");
    crate::files::write_atomic(&kubeconfig.dir.path().join("token"), CANARY.as_bytes(), 0o600).unwrap();
    let client = kubeconfig.connect().await.unwrap();
    assert_eq!(client.namespace(), None);
    let error = client.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert!(server.join().unwrap().contains(CANARY));
    assert!(error.to_string().contains(&kubeconfig.path().display().to_string()), "{error}");
    assert!(!format!("{error:?} {error}").contains(CANARY));
}

#[tokio::test]
async fn after_a_refused_connection_nothing_was_sent() {
    // The port was free a moment ago, so nobody listens on it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = Kubeconfig::new(&format!("http://127.0.0.1:{port}"), "", "", &token());
    let client = kubeconfig.connect().await.unwrap();
    let error = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    assert!(matches!(&error, ApiError::Retryable { cause: Cause::Connect(_), .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_connection_lost_after_the_request_leaves_the_outcome_unknown() {
    let (url, server) = serve_once("");
    let client = Kubeconfig::new(&url, "", "", &token()).connect().await.unwrap();
    let error = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    server.join().unwrap();
    assert!(matches!(error, ApiError::OutcomeUnknown { cause: Cause::Lost(_), .. }), "{error:?}");
}

#[tokio::test]
async fn an_incomplete_response_leaves_the_outcome_unknown() {
    let (url, server) = serve_once("HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{\"a\"");
    let client = Kubeconfig::new(&url, "", "", &token()).connect().await.unwrap();
    let error = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    server.join().unwrap();
    assert!(matches!(error, ApiError::OutcomeUnknown { cause: Cause::Lost(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let path = Path::new("/nonexistent/kubeconfig").to_owned();
    let error = ApiClient::connect(Credentials::Kubeconfig(path), Timeouts::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("kubeconfig /nonexistent/kubeconfig: No such file"), "{error}");
}

#[tokio::test]
async fn a_missing_token_file_is_named_and_may_appear_later() {
    let kubeconfig = Kubeconfig::new("http://127.0.0.1:9", "", "", "    tokenFile: /nonexistent/token\n");
    let error = kubeconfig.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreadable { .. }) && !error.is_permanent(), "{error:?}");
    assert!(
        error.to_string().contains("users[u].user.tokenFile = /nonexistent/token: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn the_token_of_a_damaged_kubeconfig_is_not_in_the_error() {
    let torn = format!("apiVersion: v1\nusers:\n- name: u\n  user:\n    token: {CANARY}\n   x: [{CANARY}");
    let badly_typed = format!("apiVersion: v1\nusers: {{\"name\": \"{CANARY}\"}}\n");
    for text in [torn, badly_typed] {
        let error = Kubeconfig::raw(&text).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Malformed { .. }) && error.is_permanent(), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error} {error:?}");
    }
}

/// Before kube sends a token, each of these lines makes a request: the server must see the token alone.
#[tokio::test]
async fn blanks_and_line_ends_around_a_token_do_not_count() {
    for (user, file) in [
        ("    tokenFile: token\n", format!("{CANARY}\n")),
        ("    tokenFile: token\n", format!("\n {CANARY}\r\n\n")),
        (&format!("    token: \"{CANARY}\\n\"\n"), String::new()),
        (&format!("    token: |\n      {CANARY}\n"), String::new()),
    ] {
        let (url, server) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let kubeconfig = Kubeconfig::new(&url, "", "", user);
        kubeconfig.write("token", file.as_bytes());
        let _: Value = kubeconfig.connect().await.unwrap().get(&pod(), soon()).await.unwrap();
        let head = server.join().unwrap();
        assert!(head.contains(&format!("authorization: Bearer {CANARY}\n")), "{head}");
    }
}

/// The name and password of RFC 7617, section 2.
#[tokio::test]
async fn a_name_and_its_password_are_sent_if_there_is_no_token() {
    let basic = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\n";
    let user = "    username: Aladdin\n    password: open sesame\n";
    let bearer = format!("authorization: Bearer {CANARY}\n");
    for (user, expected) in [(user.to_owned(), basic), (token() + user, &bearer)] {
        let (url, server) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let kubeconfig = Kubeconfig::new(&url, "", "", &user);
        let _: Value = kubeconfig.connect().await.unwrap().get(&pod(), soon()).await.unwrap();
        let head = server.join().unwrap();
        assert!(head.contains(expected) && head.matches("authorization").count() == 1, "{head}");
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_is_sent_after_a_401() {
    let responses = [
        "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ];
    let (url, server) = serve(&responses);
    let kubeconfig = Kubeconfig::new(&url, "", "", "    tokenFile: token\n");
    kubeconfig.write("token", b"old\n");
    let client = kubeconfig.connect().await.unwrap();
    kubeconfig.write("token", b"new\n");
    let _: Value = client.create(&pools(), &json!({"a": 1}), soon()).await.unwrap();
    let heads = server.join().unwrap();
    assert!(heads[0].contains("Bearer old\n") && heads[1].contains("Bearer new\n"), "{heads:?}");
}

#[tokio::test]
async fn the_last_good_token_stays_in_use_while_the_file_is_missing_or_malformed() {
    let refused = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (url, server) = serve(&[refused, refused]);
    let kubeconfig = Kubeconfig::new(&url, "", "", "    tokenFile: token\n");
    kubeconfig.write("token", b"old\n");
    let client = kubeconfig.connect().await.unwrap();
    for damaged in [b"".as_slice(), b"two words"] {
        kubeconfig.write("token", damaged);
        let error = client.get::<Value>(&pod(), soon()).await.unwrap_err();
        assert!(matches!(error, ApiError::Denied { .. }), "{error:?}");
    }
    let heads = server.join().unwrap();
    assert!(heads.iter().all(|head| head.contains("Bearer old\n")), "{heads:?}");
}

#[tokio::test]
async fn a_kubeconfig_that_names_a_program_is_rejected_and_nothing_runs() {
    let marker = tempfile::tempdir().unwrap();
    let file = marker.path().join("ran");
    let exec = format!(
        "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: touch\n      args: [\"{}\"]\n",
        file.display()
    );
    let error = Kubeconfig::new("http://127.0.0.1:9", "", "", &exec).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::CredentialProgram { method: "exec", .. }), "{error:?}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_proxy_in_the_kubeconfig_is_rejected() {
    let kubeconfig =
        Kubeconfig::new("http://127.0.0.1:9", "", "    proxy-url: http://user:canary@proxy:1\n", &token());
    let error = kubeconfig.connect().await.unwrap_err();
    assert!(error.to_string().contains("proxy-url"), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[tokio::test]
async fn a_hostile_context_namespace_is_rejected() {
    let kubeconfig = Kubeconfig::new("http://127.0.0.1:9", "    namespace: ../../x\n", "", &token());
    assert!(matches!(kubeconfig.connect().await.unwrap_err(), ConnectError::BadNamespace { .. }));
}

#[tokio::test]
async fn outside_a_pod_there_is_no_service_account() {
    let error = ApiClient::connect(Credentials::InCluster, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotInCluster { .. }), "{error:?}");
}
