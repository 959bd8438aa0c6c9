//! The cluster of a kubeconfig, for who writes another kubeconfig for it.

use std::path::Path;

use super::error::ConnectError;
use super::kubeconfig::Current;
use super::peers::Authorities;

/// The cluster that the current context of a kubeconfig names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCluster {
    /// `server`: the URL.
    pub server: String,
    /// `tls-server-name`: the name in the server's certificate, if it is not the host of the URL.
    pub tls_server_name: Option<String>,
    /// Which servers are trusted.
    pub authorities: Authorities,
}

/// Reads the cluster of the kubeconfig at `path`. Its user need not be usable.
///
/// # Errors
/// [`ConnectError`].
pub fn cluster_in(path: &Path) -> Result<NamedCluster, ConnectError> {
    let current = Current::read(path)?;
    let server = current.server()?.cluster_url.to_string();
    let tls_server_name = current.tls_server_name()?.map(|name| name.to_str().into_owned());
    Ok(NamedCluster { server, tls_server_name, authorities: current.authorities()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::tls::Authority;

    fn cluster(keys: &str) -> Result<NamedCluster, ConnectError> {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        crate::files::replace(&folder.path().join("ca.crt"), authority.pem.as_bytes()).unwrap();
        let text = format!(
            "clusters: [{{name: c, cluster: {{{keys}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\nusers: [{{name: u, user: {{client-certificate: /gone, client-key: /gone}}}}]\n"
        );
        let path = folder.path().join("kubeconfig");
        crate::files::replace(&path, text.as_bytes()).unwrap();
        let read = cluster_in(&path)?;
        if let Authorities::Named(pem) = &read.authorities {
            assert_eq!(*pem, authority.pem.as_bytes());
        }
        Ok(read)
    }

    #[test]
    fn the_cluster_is_read_without_its_user() {
        let read = cluster("server: 'https://api-int:6443', certificate-authority: ca.crt").unwrap();
        assert_eq!((read.server.as_str(), read.tls_server_name), ("https://api-int:6443/", None));
        assert!(matches!(read.authorities, Authorities::Named(_)));
        let read = cluster("server: 'https://10.0.0.1', tls-server-name: kubernetes").unwrap();
        assert_eq!(read.tls_server_name.as_deref(), Some("kubernetes"));
        assert_eq!(read.authorities, Authorities::Machine);
        let read = cluster("server: 'https://10.0.0.1', insecure-skip-tls-verify: true").unwrap();
        assert_eq!(read.authorities, Authorities::Everyone);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = cluster("server: 'https://a', certificate-authority: gone.crt").unwrap_err().to_string();
        assert!(error.contains("certificate-authority"), "{error}");
        let error = cluster("server: nonsense://").unwrap_err().to_string();
        assert!(error.contains("clusters[c].cluster.server"), "{error}");
    }
}
