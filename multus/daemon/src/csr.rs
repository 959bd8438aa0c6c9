//! Requests for the client certificate of a node (`certificates.k8s.io/v1`): the names that requester and approver agree on.
//!
//! All are upstream's: an approver of one project approves the requests of the other.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use node::client::ResourceKind;
use x509_cert::der::{self, Decode, pem};

/// `certificates.k8s.io/v1` certificatesigningrequests, which have no namespace.
pub(crate) const KIND: ResourceKind =
    ResourceKind::new("certificates.k8s.io", "v1", "certificatesigningrequests");

/// Whose certificates the API server accepts from clients.
pub(crate) const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// The organization in the certificate: the group that RBAC grants rights to.
pub(crate) const GROUP: &str = "system:multus";

/// What the certificate is for.
pub(crate) const USAGES: [&str; 2] = ["digital signature", "client auth"];

/// The common name in the certificate of multus on a node: the user that the API server sees.
pub(crate) fn user_of(node: &str) -> String {
    format!("{GROUP}:{node}")
}

/// The value of a condition that decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// `Approved`.
    Approved,
    /// `Denied`.
    Denied,
    /// `Failed`: the signer could not sign.
    Failed,
}

impl Decided {
    /// The type of the condition.
    pub(crate) const fn condition(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::Denied => "Denied",
            Self::Failed => "Failed",
        }
    }
}

/// How a request was decided, and the message of the one who decided; `None` while nobody has.
pub(crate) fn decision(request: &CertificateSigningRequest) -> Option<(Decided, String)> {
    let conditions = request.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let of = |condition: &k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition| {
        let decided = match condition.type_.as_str() {
            "Approved" => Decided::Approved,
            "Denied" => Decided::Denied,
            "Failed" => Decided::Failed,
            _ => return None,
        };
        Some((decided, condition.message.clone().unwrap_or_default()))
    };
    // A request that was approved may fail later.
    let mut all: Vec<_> = conditions.iter().filter_map(of).collect();
    all.sort_by_key(|(decided, _)| *decided == Decided::Approved);
    all.into_iter().next()
}

/// Reads one value in PEM, whose label must be this one.
///
/// Not by `DecodePem` of the crate der: its reader never ends if the content is shorter than the value says (der 0.7).
pub(crate) fn from_pem<T: for<'a> Decode<'a>>(label: &str, text: &[u8]) -> Result<T, der::Error> {
    let (found, bytes) = pem::decode_vec(text)?;
    if found != label {
        return Err(pem::Error::Label.into());
    }
    T::from_der(&bytes)
}
