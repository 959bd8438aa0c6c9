//! A kubeconfig, read and checked.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Config, Context, Kubeconfig};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;

use super::error::{ConnectError, Place};
use super::loaded::Loaded;
use super::peers::{Authorities, Peers, Trust};
use super::token::Token;
use super::value::{self, Misfit};
use crate::client::error::Credentials;

/// Reads the kubeconfig at `path`, and the files that its current context names.
pub(super) fn load(path: &Path) -> Result<(Loaded, Peers), ConnectError> {
    let current = Current::read(path)?;
    let mut config = current.server()?;
    config.auth_info = current.user()?;
    let peers = Peers {
        trust: current.trust()?,
        server_name: current.tls_server_name()?,
        identity: current.client_certificate()?,
    };
    let token = current.token()?;
    Ok((Loaded { config, namespace: namespace(current.context), token }, peers))
}

/// The namespace of the current context. Nothing else needs to be right.
pub(in crate::client) fn namespace_in(path: &Path) -> Result<Option<String>, ConnectError> {
    let kubeconfig = read(path)?;
    let Some(current) = kubeconfig.current_context else { return Ok(None) };
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == current);
    Ok(context.and_then(|named| named.context).and_then(namespace))
}

fn namespace(context: Context) -> Option<String> {
    context.namespace.filter(|namespace| !namespace.is_empty())
}

fn read(path: &Path) -> Result<Kubeconfig, ConnectError> {
    let place = Place::new(Credentials::Kubeconfig(path.to_owned()), "");
    let bytes = value::file(&place, path)?;
    // kube's own reader decodes UTF-16 too, and panics if a byte is missing.
    let text = std::str::from_utf8(&bytes).map_err(|_| place.clone().malformed("expected UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser's message quotes the text, which may hold a token.
    Kubeconfig::from_yaml(text).map_err(|_| place.malformed("expected a kubeconfig in YAML or JSON"))
}

/// The parts that the current context names.
pub(super) struct Current<'a> {
    path: &'a Path,
    context: Context,
    cluster: Cluster,
    user: AuthInfo,
}

impl<'a> Current<'a> {
    /// Reads the kubeconfig at `path`.
    pub(super) fn read(path: &'a Path) -> Result<Self, ConnectError> {
        Self::of(path, read(path)?)
    }

    fn of(path: &'a Path, kubeconfig: Kubeconfig) -> Result<Self, ConnectError> {
        let place = |key: &str| Place::new(Credentials::Kubeconfig(path.to_owned()), key);
        let current = kubeconfig.current_context.unwrap_or_default();
        let context = kubeconfig.contexts.into_iter().find(|named| named.name == current);
        let context = context.and_then(|named| named.context).ok_or_else(|| {
            place("current-context").malformed("expected the name of an element of \"contexts\"")
        })?;
        let key = |key: &str| place(&format!("contexts[{current}].context.{key}"));
        let cluster = kubeconfig.clusters.into_iter().find(|named| named.name == context.cluster);
        let cluster = cluster
            .and_then(|named| named.cluster)
            .ok_or_else(|| key("cluster").malformed("expected the name of an element of \"clusters\""))?;
        let user = match context.user.as_deref().filter(|user| !user.is_empty()) {
            None => AuthInfo::default(),
            Some(name) => {
                let user = kubeconfig.auth_infos.into_iter().find(|named| named.name == name);
                let user = user
                    .ok_or_else(|| key("user").malformed("expected the name of an element of \"users\""))?;
                user.auth_info.unwrap_or_default()
            }
        };
        Ok(Self { path, context, cluster, user })
    }

    fn place(&self, key: &str) -> Place {
        Place::new(Credentials::Kubeconfig(self.path.to_owned()), key)
    }

    fn cluster_key(&self, key: &str) -> Place {
        self.place(&format!("clusters[{}].cluster.{key}", self.context.cluster))
    }

    fn user_key(&self, key: &str) -> Place {
        self.place(&format!("users[{}].user.{key}", self.context.user.as_deref().unwrap_or_default()))
    }

    /// Files are relative to the kubeconfig.
    fn file(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(super) fn server(&self) -> Result<Config, ConnectError> {
        if is_set(self.cluster.proxy_url.as_ref()).is_some() {
            return Err(self
                .cluster_key("proxy-url")
                .malformed("expected no such key: a proxy is not supported"));
        }
        let server = self.cluster.server.as_deref().unwrap_or_default();
        let url = value::server(server).map_err(|reason| self.cluster_key("server").malformed(reason))?;
        // Not by `Config::from_custom_kubeconfig`, which reads the proxy variables of the environment (`HTTPS_PROXY`). A container runtime
        // passes its own on to plugins: they are meant for image registries, and kube as built here ignores their exceptions (`NO_PROXY`).
        Ok(Config::new(url))
    }

    pub(super) fn tls_server_name(&self) -> Result<Option<ServerName<'static>>, ConnectError> {
        let name = is_set(self.cluster.tls_server_name.as_ref());
        let checked = name.map(|name| value::tls_server_name(name)).transpose();
        checked.map_err(|reason| self.cluster_key("tls-server-name").malformed(reason))
    }

    fn trust(&self) -> Result<Trust, ConnectError> {
        let named = self.named_authorities()?;
        let authorities = named.map(|(place, pem)| {
            value::authorities(&pem).map(Trust::Authorities).map_err(|reason| place.malformed(reason))
        });
        // Also what is not used must be right.
        let trust = authorities.transpose()?.unwrap_or(Trust::Machine);
        Ok(if self.trusts_everyone() { Trust::Everyone } else { trust })
    }

    /// The same as text.
    pub(super) fn authorities(&self) -> Result<Authorities, ConnectError> {
        let named = self.named_authorities()?.map(|(_, pem)| Authorities::Named(pem));
        Ok(if self.trusts_everyone() { Authorities::Everyone } else { named.unwrap_or(Authorities::Machine) })
    }

    fn trusts_everyone(&self) -> bool {
        self.cluster.insecure_skip_tls_verify.unwrap_or(false)
    }

    fn named_authorities(&self) -> Result<Option<(Place, Vec<u8>)>, ConnectError> {
        let data = is_set(self.cluster.certificate_authority_data.as_ref()).map(String::as_str);
        let key = |key: &str| self.cluster_key(key);
        self.data_or_file(&key, "certificate-authority", data, self.cluster.certificate_authority.as_ref())
    }

    /// Whom the user acts for. kube gets no other part of it.
    fn user(&self) -> Result<AuthInfo, ConnectError> {
        if let Some(method) = credential_program(&self.user) {
            return Err(ConnectError::CredentialProgram { path: self.path.to_owned(), method });
        }
        self.check_impersonation()?;
        Ok(AuthInfo {
            impersonate: self.user.impersonate.clone(),
            impersonate_uid: self.user.impersonate_uid.clone(),
            impersonate_groups: self.user.impersonate_groups.clone(),
            impersonate_user_extra: self.user.impersonate_user_extra.clone(),
            ..AuthInfo::default()
        })
    }

    fn check_impersonation(&self) -> Result<(), ConnectError> {
        let user = &self.user;
        let groups = user.impersonate_groups.iter().flatten().map(|group| ("as-groups", group));
        let extra = user.impersonate_user_extra.iter().flatten();
        let extra = extra.flat_map(|(_, values)| values).map(|value| ("as-user-extra", value));
        let single = [("as", &user.impersonate), ("as-uid", &user.impersonate_uid)];
        let single = single.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        for (key, text) in single.chain(groups).chain(extra) {
            value::header(text).map_err(|reason| self.user_key(key).malformed(reason))?;
        }
        Ok(())
    }

    fn client_certificate(&self) -> Result<Option<CertifiedKey>, ConnectError> {
        let (user, key) = (&self.user, |key: &str| self.user_key(key));
        let data = is_set(user.client_certificate_data.as_ref()).map(String::as_str);
        let certificate =
            self.data_or_file(&key, "client-certificate", data, user.client_certificate.as_ref())?;
        let data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let data = data.filter(|data| !data.is_empty());
        let private = self.data_or_file(&key, "client-key", data, user.client_key.as_ref())?;
        let missing =
            |name: &str| key(name).malformed("expected client-certificate and client-key, or neither");
        match (certificate, private) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing("client-key")),
            (None, Some(_)) => Err(missing("client-certificate")),
            (Some((at, certificate)), Some((key_at, private))) => {
                let chain =
                    value::certificates(&certificate).map_err(|reason| at.clone().malformed(reason))?;
                let key = value::private_key(&private).map_err(|reason| key_at.clone().malformed(reason))?;
                let identity = value::identity(chain, key).map_err(|misfit| match misfit {
                    Misfit::Certificate(reason) => at.malformed(reason),
                    Misfit::Key(reason) => key_at.malformed(reason),
                })?;
                Ok(Some(identity))
            }
        }
    }

    /// What goes into the `Authorization` header: a token, else a name with its password.
    fn token(&self) -> Result<Option<Token>, ConnectError> {
        let token = self.user.token.as_ref().map(ExposeSecret::expose_secret);
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            return Token::fixed(self.user_key("token"), token.as_bytes()).map(Some);
        }
        if let Some(file) = is_set(self.user.token_file.as_ref()) {
            let file = self.file(file);
            return Token::file(self.user_key("tokenFile").naming(&file), file).map(Some);
        }
        let password = self.user.password.as_ref().map(ExposeSecret::expose_secret);
        let (Some(name), Some(password)) = (is_set(self.user.username.as_ref()), password) else {
            return Ok(None);
        };
        value::basic(name, password)
            .map(|header| Some(Token::Fixed(header)))
            .map_err(|reason| self.user_key("username").malformed(reason))
    }

    /// The bytes of the key `name`-data, else of the file that the key `name` names.
    fn data_or_file(
        &self,
        key: &dyn Fn(&str) -> Place,
        name: &str,
        data: Option<&str>,
        file: Option<&String>,
    ) -> Result<Option<(Place, Vec<u8>)>, ConnectError> {
        if let Some(data) = data {
            let place = key(&format!("{name}-data"));
            let bytes = value::base64(data).map_err(|reason| place.clone().malformed(reason))?;
            return Ok(Some((place, bytes)));
        }
        let Some(file) = is_set(file) else { return Ok(None) };
        let file = self.file(file);
        let place = key(name).naming(&file);
        let bytes = value::file(&place, &file)?;
        Ok(Some((place, bytes)))
    }
}

/// An empty text counts as none, as in client-go.
fn is_set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

const fn credential_program(user: &AuthInfo) -> Option<&'static str> {
    match user {
        AuthInfo { auth_provider: Some(_), .. } => Some("auth-provider"),
        AuthInfo { exec: Some(_), .. } => Some("exec"),
        _ => None,
    }
}
