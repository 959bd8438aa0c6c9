//! The kubeconfig of a person at a terminal, found and merged as kubectl does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret;

use super::error::{ConnectError, Place};
use super::loaded::Loaded;
use super::value;
use crate::client::error::{Credentials, chain};

/// Whose credentials a program for a person at a terminal uses.
///
/// Other programs use [`Credentials`]: this reads the person's environment, and starts the program that a kubeconfig may name for its token
/// (`exec`), as kubectl does. Never use it in a plugin, which runs as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The kubeconfigs, at least one. The first that states a value wins.
    pub files: Vec<PathBuf>,
    /// The context to use instead of the current one.
    pub context: Option<String>,
}

impl Person {
    /// The person with the kubeconfig `flag`, else with those in `variable` (the value of `KUBECONFIG`, paths separated by ":"), else with
    /// `.kube/config` in `home`. `None` if there is neither.
    pub fn find(
        flag: Option<PathBuf>,
        variable: Option<&OsStr>,
        home: Option<&Path>,
        context: Option<String>,
    ) -> Option<Self> {
        let named = |value: &OsStr| {
            std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect()
        };
        let of_variable: Vec<PathBuf> = variable.map(named).unwrap_or_default();
        let files = match flag {
            Some(file) => vec![file],
            None if !of_variable.is_empty() => of_variable,
            None => vec![home?.join(".kube/config")],
        };
        Some(Person { files, context })
    }

    /// The credentials, for messages.
    pub(in crate::client) fn credentials(&self) -> Credentials {
        Credentials::Kubeconfig(self.files.first().cloned().unwrap_or_default())
    }
}

/// Reads and merges the kubeconfigs of a person.
pub(in crate::client) async fn load(person: &Person) -> Result<Loaded, ConnectError> {
    let mut merged = Kubeconfig::default();
    for file in &person.files {
        // kubectl passes over a missing file of several.
        if person.files.len() > 1 && !file.exists() {
            continue;
        }
        let differs =
            |_| place(file).malformed("expected the same kind and apiVersion as the other kubeconfigs have");
        merged = merged.merge(read(file)?).map_err(differs)?;
    }
    let unusable = |reason| ConnectError::Unusable { credentials: person.credentials(), reason };
    let named = person.context.as_ref().or(merged.current_context.as_ref());
    let context = named.and_then(|name| merged.contexts.iter().find(|context| context.name == *name));
    // Not the namespace of kube's configuration, which is "default" where the context names none.
    let namespace = context.and_then(|named| named.context.as_ref()?.namespace.clone());
    let cluster = context.and_then(|named| named.context.as_ref()).map(|context| context.cluster.as_str());
    let cluster = cluster.and_then(|name| merged.clusters.iter().find(|cluster| cluster.name == name));
    if cluster.and_then(|named| named.cluster.as_ref()?.proxy_url.as_ref()).is_some() {
        return Err(unusable("proxy-url: expected no such key: a proxy is not supported".to_owned()));
    }
    let options = KubeConfigOptions { context: person.context.clone(), ..KubeConfigOptions::default() };
    let config: Config =
        Config::from_custom_kubeconfig(merged, &options).await.map_err(|error| unusable(chain(&error)))?;
    // kube panics on some URLs.
    value::server(&config.cluster_url.to_string())
        .map_err(|reason| unusable(format!("cluster.server: {reason}")))?;
    check_user(&config).map_err(|(key, reason)| unusable(format!("user.{key}: {reason}")))?;
    Ok(Loaded { config, namespace: namespace.filter(|namespace| !namespace.is_empty()), token: None })
}

/// Checks what becomes a header of each request, for the same reason. The error has the key, and what was expected.
fn check_user(config: &Config) -> Result<(), (&'static str, &'static str)> {
    let user = &config.auth_info;
    if let Some(token) =
        user.token.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty())
    {
        value::bearer(token.as_bytes()).map_err(|reason| ("token", reason))?;
    }
    let groups = user.impersonate_groups.iter().flatten().map(|group| ("as-groups", group));
    let name = user.impersonate.iter().map(|name| ("as", name));
    for (key, text) in name.chain(groups) {
        value::header(text).map_err(|reason| (key, reason))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Kubeconfig, ConnectError> {
    let place = place(file);
    // kube's own reader decodes UTF-16 too, and panics if a byte is missing.
    let bytes = value::file(&place, file)?;
    std::str::from_utf8(&bytes).map_err(|_| place.clone().malformed("expected UTF-8"))?;
    // The parser's message quotes the text, which may hold a token.
    Kubeconfig::read_from(file).map_err(|_| place.malformed("expected a kubeconfig in YAML or JSON"))
}

fn place(file: &Path) -> Place {
    Place::new(Credentials::Kubeconfig(file.to_owned()), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ApiClient, Timeouts};

    const CONFIG: &str = r#"
kind: Config
apiVersion: v1
current-context: first
clusters:
- {name: c, cluster: {server: "https://10.0.0.1:6443", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: "secret"}}
contexts:
- {name: first, context: {cluster: c, user: u, namespace: web}}
- {name: second, context: {cluster: c, user: u}}
"#;

    fn files(flag: Option<&str>, variable: Option<&str>, home: Option<&str>) -> Option<Vec<PathBuf>> {
        let person =
            Person::find(flag.map(PathBuf::from), variable.map(OsStr::new), home.map(Path::new), None);
        person.map(|person| person.files)
    }

    #[test]
    fn the_flag_overrides_the_variable_and_the_variable_the_home() {
        let paths = |texts: &[&str]| Some(texts.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(files(Some("/f"), Some("/v"), Some("/h")), paths(&["/f"]));
        assert_eq!(files(None, Some("/v::/w"), Some("/h")), paths(&["/v", "/w"]));
        assert_eq!(files(None, Some(""), Some("/h")), paths(&["/h/.kube/config"]));
        assert_eq!(files(None, None, None), None);
    }

    fn connect(person: &Person) -> Result<ApiClient, ConnectError> {
        let soon = crate::deadline::Deadline::after(std::time::Duration::from_secs(30));
        crate::client::block_on(soon, ApiClient::connect_as(person, Timeouts::default())).unwrap()
    }

    #[test]
    fn a_person_has_the_server_and_the_namespace_of_the_chosen_context() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        files::write_atomic(&file, CONFIG.as_bytes(), 0o600).unwrap();
        let person = |context: Option<&str>| Person {
            files: vec![folder.path().join("missing"), file.clone()],
            context: context.map(str::to_owned),
        };
        let first = connect(&person(None)).unwrap();
        assert_eq!(first.server().to_string(), "https://10.0.0.1:6443/");
        assert_eq!(first.namespace().unwrap().as_str(), "web");
        assert_eq!(connect(&person(Some("second"))).unwrap().namespace(), None);
        let error = connect(&person(Some("third"))).unwrap_err().to_string();
        assert!(error.contains("third") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_proxy_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let config = CONFIG.replace("{server:", "{proxy-url: \"http://10.0.0.9:3128\", server:");
        files::write_atomic(&file, config.as_bytes(), 0o600).unwrap();
        let error = connect(&Person { files: vec![file], context: None }).unwrap_err().to_string();
        assert!(error.ends_with("a proxy is not supported"), "{error}");
    }

    #[test]
    fn a_token_that_can_never_work_is_refused_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let hostile = CONFIG.replace("\"secret\"", "\"secret\\nx\"");
        files::write_atomic(&file, hostile.as_bytes(), 0o600).unwrap();
        let error = connect(&Person { files: vec![file], context: None }).unwrap_err().to_string();
        assert!(error.contains("user.token: expected a token") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_refused_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let person = Person { files: vec![file.clone()], context: None };
        assert!(connect(&person).unwrap_err().to_string().contains("check that the path is right"));
        for content in [&b"token: [secret"[..], &[0xff, 0xfe, b's']] {
            files::write_atomic(&file, content, 0o600).unwrap();
            let error = connect(&person).unwrap_err().to_string();
            assert!(error.contains("expected") && !error.contains("secret"), "{error}");
        }
    }
}
