//! The way to the API server: HTTP over TLS, the credentials in each request.
//!
//! kube could make all of it, with ways to get a token that are refused here (programs, cloud providers) and that would be half a megabyte of
//! every plugin.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{AuthInfo, Config};
use secrecy::ExposeSecret as _;
use tower::{BoxError, ServiceBuilder};

use super::error::chain;

/// How old a token may be that was read from a file. Kubernetes replaces them long before they expire.
const TOKEN_AGE: Duration = Duration::from_secs(60);

/// A service account's token has some thousand bytes.
const MAX_TOKEN: u64 = 1 << 16;

/// Why there is no way, without anything secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The file of the token.
    #[error("the token: {0}")]
    File(#[from] crate::files::FileError),
    /// No header can hold it.
    #[error("{place} holds no token: a token is one line of printable characters; make it anew")]
    NoToken {
        /// Where it is from.
        place: String,
    },
    /// A method of the past.
    #[error(
        "has a username and a password, which Kubernetes does not take any more: use a token, a tokenFile or a client certificate"
    )]
    Password,
    /// Certificates or headers.
    #[error("{}", chain(.0))]
    Config(#[from] kube::Error),
}

/// A client for this configuration, which waits so long for a connection. Must run inside a tokio runtime.
pub(super) fn client(config: &Config, connect: Duration) -> Result<kube::Client, TransportError> {
    let token = Arc::new(Token::of(&config.auth_info)?);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector()?);
    connector.set_connect_timeout(Some(connect));
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .map_request(move |mut request: Request<Body>| {
            if let Some(value) = token.header(Instant::now()) {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            request
        })
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Where the token is from.
#[derive(Debug)]
enum Token {
    /// A client certificate says who it is, or nobody asks.
    None,
    Fixed(HeaderValue),
    File {
        path: PathBuf,
        last: Mutex<(HeaderValue, Instant)>,
    },
}

impl Token {
    /// A file goes before a token beside it, as in Kubernetes' own clients.
    fn of(user: &AuthInfo) -> Result<Self, TransportError> {
        if user.username.is_some() || user.password.is_some() {
            return Err(TransportError::Password);
        }
        match (&user.token_file, &user.token) {
            (Some(path), _) => {
                let path = PathBuf::from(path);
                let last = Mutex::new((read(&path)?, Instant::now()));
                Ok(Token::File { path, last })
            }
            (None, Some(token)) => bearer(token.expose_secret(), "the kubeconfig").map(Token::Fixed),
            (None, None) => Ok(Token::None),
        }
    }

    /// The header; read anew when it is old. A file that cannot be read then, or is half written, is tried again later: the old token may
    /// still do.
    fn header(&self, now: Instant) -> Option<HeaderValue> {
        match self {
            Token::None => None,
            Token::Fixed(value) => Some(value.clone()),
            Token::File { path, last } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if now.saturating_duration_since(last.1) >= TOKEN_AGE {
                    let value = read(path).unwrap_or_else(|_| last.0.clone());
                    *last = (value, now);
                }
                Some(last.0.clone())
            }
        }
    }
}

fn read(path: &Path) -> Result<HeaderValue, TransportError> {
    let bytes = crate::files::read_bounded(path, MAX_TOKEN)?;
    bearer(&String::from_utf8_lossy(&bytes), &path.display().to_string())
}

fn bearer(token: &str, place: &str) -> Result<HeaderValue, TransportError> {
    let no_token = || TransportError::NoToken { place: place.to_owned() };
    let token = Some(token.trim()).filter(|token| !token.is_empty()).ok_or_else(no_token)?;
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| no_token())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(token: &Token, now: Instant) -> String {
        token.header(now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_file_is_read_again_after_a_minute_and_kept_where_it_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let user = AuthInfo {
            token_file: Some(path.display().to_string()),
            token: Some("beside".to_owned().into()),
            ..AuthInfo::default()
        };
        let token = Token::of(&user).unwrap();
        let began = Instant::now();
        assert_eq!(shown(&token, began), "Bearer one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(shown(&token, began + TOKEN_AGE / 2), "Bearer one");
        assert_eq!(shown(&token, began + 2 * TOKEN_AGE), "Bearer two");
        for unreadable in ["", "\x01"] {
            std::fs::write(&path, unreadable).unwrap();
            assert_eq!(shown(&token, began + 4 * TOKEN_AGE), "Bearer two");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(shown(&token, began + 6 * TOKEN_AGE), "Bearer two");
        assert!(!format!("{token:?}").contains("two"));
    }

    #[test]
    fn a_password_is_refused() {
        let user = AuthInfo {
            username: Some("admin".into()),
            password: Some("secret".to_owned().into()),
            ..AuthInfo::default()
        };
        assert!(matches!(Token::of(&user), Err(TransportError::Password)));
    }
}
