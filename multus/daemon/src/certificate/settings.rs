//! What `perNodeCertificate` of the daemon's file, and the flags of `kubeconfig_generator`, say.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use node::names::DnsSubdomain;

/// How long a certificate is valid if nothing is said.
pub const DEFAULT_DURATION: Duration = Duration::from_mins(10);

/// The API server accepts no request for less.
const SHORTEST: Duration = Duration::from_mins(10);

/// `cert-approver` denies a request for more.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A certificate for multus on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node.
    pub node: DnsSubdomain,
    /// The kubeconfig for the first request, and for later ones while there is no valid certificate.
    pub bootstrap: PathBuf,
    /// The folder of certificate and key.
    pub folder: PathBuf,
    /// How long a certificate is valid.
    pub duration: Duration,
}

impl Settings {
    /// The daemon's kubeconfig with the certificate.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("multus-client.kubeconfig")
    }
}

/// A setting is missing or wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The name of the node is unknown.
    #[error(
        "error getting node name for {0}, please check manifest to have MULTUS_NODE_NAME: it must be the pod's spec.nodeName"
    )]
    Node(&'static str),
    /// A path is missing.
    #[error("{key} is missing: expected {expected}")]
    Missing {
        /// The key or flag.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The duration is none, or out of range.
    #[error("{key} is {found:?}: expected a duration from 10m to 8760h, such as 24h or 1h30m")]
    Duration {
        /// The key or flag.
        key: &'static str,
        /// Its value.
        found: String,
    },
}

/// A duration as Go writes it (`1h30m`), for a certificate. `key` is where it stands.
///
/// # Errors
/// [`SettingsError::Duration`].
pub fn duration(key: &'static str, text: &str) -> Result<Duration, SettingsError> {
    let wrong = || SettingsError::Duration { key, found: text.to_owned() };
    let duration = text.parse::<SignedDuration>().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    Some(duration).filter(|duration| (SHORTEST..=LONGEST).contains(duration)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, minutes) in [("10m", 10), ("10m0s", 10), ("24h", 1440), ("1h30m", 90), ("8760h", 525_600)]
        {
            assert_eq!(duration("certDuration", text), Ok(Duration::from_mins(minutes)), "{text}");
        }
        assert_eq!(duration("certDuration", "600s"), Ok(SHORTEST));
    }

    #[test]
    fn a_duration_that_no_certificate_can_have_is_refused() {
        for text in ["", "9m59s", "8761h", "-24h", "10", "1y", "soon", "1h30", "99999999999999999999h"] {
            let error = duration("perNodeCertificate.certDuration", text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("perNodeCertificate.certDuration is {text:?}: expected")),
                "{error}"
            );
        }
    }
}
