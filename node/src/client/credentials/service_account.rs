//! The service account of the pod that this process runs in: files that the kubelet mounts, and variables that it sets.

use std::net::IpAddr;
use std::path::Path;

use kube::config::Config;
use rustls::RootCertStore;

use super::error::{ConnectError, Place};
use super::loaded::Loaded;
use super::peers::{Peers, Trust};
use super::token::Token;
use super::value;
use crate::client::error::Credentials;

/// Where the kubelet mounts the files of the service account.
pub(super) const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";

/// Reads the files in `mount`. `lookup` reads environment variables.
pub(super) fn load(
    mount: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(Loaded, Peers), ConnectError> {
    let variable = |name: &str| {
        let set = lookup(name).filter(|value| !value.is_empty());
        set.ok_or_else(|| ConnectError::NotInCluster { reason: format!("the variable {name} is not set") })
    };
    let (host, port) = (variable(HOST)?, variable(PORT)?);
    let host = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host };
    // A host with a slash would make a URL with a path.
    let url = value::server(&format!("https://{host}:{port}")).ok().filter(|url| url.path() == "/");
    let url = url.ok_or_else(|| {
        place(&format!("{HOST}, {PORT}")).malformed("expected a host or an IP address, and a port")
    })?;
    if !mount.is_dir() {
        return Err(ConnectError::NotInCluster { reason: format!("{} does not exist", mount.display()) });
    }

    let authority = mount.join("ca.crt");
    let first = authorities_in(&authority)?;
    let peers = Peers { trust: Trust::File { path: authority, first }, server_name: None, identity: None };
    let (namespace, file) = read(mount, "namespace")?;
    let namespace = String::from_utf8(namespace).map_err(|_| file.malformed("expected UTF-8"))?;
    let token = mount.join("token");
    let token = Token::file(place(&token.display().to_string()), token)?;
    let namespace = Some(namespace.trim().to_owned());
    Ok((Loaded { config: Config::new(url), namespace, token: Some(token) }, peers))
}

/// The certificate authorities in a file of the service account, at least one.
pub(in crate::client) fn authorities_in(path: &Path) -> Result<RootCertStore, ConnectError> {
    let place = place(&path.display().to_string());
    value::authorities(&value::file(&place, path)?).map_err(|reason| place.malformed(reason))
}

fn place(key: &str) -> Place {
    Place::new(Credentials::InCluster, key)
}

fn read(mount: &Path, name: &str) -> Result<(Vec<u8>, Place), ConnectError> {
    let path = mount.join(name);
    let place = place(&path.display().to_string());
    Ok((value::file(&place, &path)?, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::tls::Authority;

    struct Mount(tempfile::TempDir);

    impl Mount {
        /// A mount in which the file `name` has other content.
        fn with(name: &str, content: &str) -> Self {
            let mount = Mount(tempfile::tempdir().unwrap());
            let authority = Authority::new().pem;
            let files = [("ca.crt", authority.as_str()), ("namespace", "pools\n"), ("token", "canary\n")];
            for (file, good) in files {
                let content = if file == name { content } else { good };
                crate::files::replace(&mount.0.path().join(file), content.as_bytes()).unwrap();
            }
            mount
        }

        fn load(&self, host: &str, port: &str) -> Result<(Loaded, Peers), ConnectError> {
            let lookup = |name: &str| Some(if name == HOST { host } else { port }.to_owned());
            load(self.0.path(), &lookup)
        }
    }

    #[test]
    fn the_kubelets_files_and_variables_make_credentials() {
        let mount = Mount::with("", "");
        let (loaded, peers) = mount.load("fd00::1", "443").unwrap();
        let Trust::File { path, first } = peers.trust else { panic!("no file") };
        assert_eq!((path, first.len()), (mount.0.path().join("ca.crt"), 1));
        assert_eq!(loaded.config.cluster_url.to_string(), "https://[fd00::1]:443/");
        assert_eq!(loaded.namespace.as_deref(), Some("pools"));
        let Some(Token::File(_)) = loaded.token else { panic!("no token file") };
    }

    #[test]
    fn a_malformed_file_or_variable_is_named_and_never_becomes_right_by_waiting() {
        let refused = |mount: &Mount, host: &str, port: &str, named: &str| {
            let error = mount.load(host, port).err().unwrap();
            let text = error.to_string();
            assert!(text.contains(named) && text.contains("expected") && !text.contains("canary"), "{text}");
            assert!(error.is_permanent(), "{error:?}");
        };
        for token in ["", "\n", "canary\ntoken", "canary\u{1}"] {
            refused(&Mount::with("token", token), "10.96.0.1", "443", "/token: ");
        }
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for authority in ["", "canary", "-----BEGIN CERTIFICATE-----\nAAAA\n", empty] {
            refused(&Mount::with("ca.crt", authority), "10.96.0.1", "443", "/ca.crt: ");
        }
        let good = Mount::with("", "");
        for (host, port) in
            [("a/b", "443"), ("user@h", "443"), ("h", "0"), ("h", "tcp://10.96.0.1:443"), ("h x", "1")]
        {
            refused(&good, host, port, "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT: ");
        }
    }

    #[test]
    fn a_missing_file_is_named_and_may_appear_later() {
        for name in ["ca.crt", "namespace", "token"] {
            let mount = Mount::with("", "");
            std::fs::remove_file(mount.0.path().join(name)).unwrap();
            let error = mount.load("10.96.0.1", "443").err().unwrap();
            assert!(matches!(error, ConnectError::Unreadable { .. }) && !error.is_permanent(), "{error:?}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
