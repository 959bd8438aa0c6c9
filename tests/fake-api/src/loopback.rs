//! An HTTP server on a loopback address, for tests that start programs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::Value;

/// A request over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which of the server's connections, from 0.
    pub connection: usize,
    /// `METHOD path`, without the query.
    pub line: String,
    /// The body; null if there is none, or if it is not JSON.
    pub body: Value,
}

/// A server whose answers a test chooses. It ends with the test's process.
#[derive(Clone, Debug)]
pub struct Loopback {
    /// Its URL, such as `http://127.0.0.1:40001`.
    pub url: String,
}

impl Loopback {
    /// Answers each request with what `answer` returns: status code and body. It may wait: each connection has a thread.
    pub fn start(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Loopback {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (answer, stream) = (Arc::clone(&answer), stream.unwrap());
                std::thread::spawn(move || serve(stream, connection, &*answer));
            }
        });
        Loopback { url }
    }

    /// A kubeconfig for this server.
    pub fn kubeconfig(&self) -> String {
        kubeconfig(&self.url)
    }
}

/// A kubeconfig for the server at `url`.
pub fn kubeconfig(url: &str) -> String {
    format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: \"{url}\"}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    )
}

/// Serves one connection, until the client closes it.
fn serve(mut stream: TcpStream, connection: usize, answer: &dyn Fn(&Asked) -> (u16, Value)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = read(&mut reader, connection) {
        let (code, body) = answer(&asked);
        let body = body.to_string();
        let text = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // The client may have been killed.
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
    let (mut first, mut length) = (None, 0);
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = text.parse().unwrap();
        }
        first.get_or_insert(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let first = first?;
    let mut words = first.split(' ');
    let (method, url) = (words.next()?, words.next()?);
    let path = url.split('?').next()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Asked { connection, line: format!("{method} {path}"), body })
}
