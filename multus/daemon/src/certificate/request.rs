//! One request for a certificate, from the new key to the signed certificate.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::{
    ApiClient, ApiError, Change, OnUnknown, Parts, RetryPolicy, Selection, reflect_while_allowed, retry,
};
use node::deadline::Deadline;
use node::names::{DnsSubdomain, NameError};
use node::text::printable;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::store::Unusable;
use crate::csr::{Decided, GROUP, KIND, SIGNER, USAGES, decision, user_of};

/// How the names of requests begin, as those of client-go.
const NAME_PREFIX: &str = "csr-";

/// A name for a request that no other has. The API server could choose one, but after an answer that was lost nobody would know it.
fn name_of(random: u64) -> Result<DnsSubdomain, NameError> {
    DnsSubdomain::new(format!("{NAME_PREFIX}{random:016x}"))
}

/// The most characters of another program's message.
const MAX_MESSAGE: usize = 500;

/// The limit for one read of the request, and the time between two, for an account that may not watch.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The key or the request cannot be made.
    #[error("a certificate request cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The API server refuses the request.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The request has a name that is none.
    #[error("a certificate request cannot be made: {0}")]
    Name(#[from] NameError),
    /// Somebody denied the request, or the signer cannot sign it.
    #[error("certificatesigningrequest {name} was {how}: {message}; see kubectl describe csr {name}")]
    Refused {
        /// The request.
        name: DnsSubdomain,
        /// "denied" or "not signed".
        how: &'static str,
        /// What the one who decided says.
        message: String,
    },
    /// Nobody approved the request, or nobody signed it.
    #[error("certificatesigningrequest {name} has no certificate yet: {missing}")]
    Late {
        /// The request.
        name: DnsSubdomain,
        /// What is missing, and who does it.
        missing: &'static str,
    },
    /// What the signer made is no certificate for this node.
    #[error("the signed certificate cannot be used: {0}")]
    Unusable(#[from] Unusable),
}

/// Requests a certificate for multus on `node`, which is valid for `duration`, and waits for it until `deadline`.
pub(super) async fn request(
    api: &ApiClient,
    node: &DnsSubdomain,
    duration: Duration,
    deadline: Deadline,
) -> Result<Pair, RequestError> {
    let key = KeyPair::generate()?;
    let name = name_of(fastrand::u64(..))?;
    let body = object(&name, &request_text(node, &key)?, duration);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let all = KIND.in_cluster();
    let create = || api.create::<CertificateSigningRequest>(&all, &body, deadline);
    match retry(deadline, policy, create).await {
        // An attempt whose answer was lost has made it.
        Ok(_) | Err(ApiError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut stage = Stage::Unapproved;
    let waiting = wait(api, &name, &mut stage);
    let waited = tokio::time::timeout(deadline.remaining(), waiting).await;
    let certificate =
        waited.unwrap_or_else(|_| Err(RequestError::Late { missing: stage.missing(), name }))?;
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unapproved,
    Approved,
}

impl Stage {
    const fn missing(self) -> &'static str {
        match self {
            Self::Unapproved => {
                "nobody approved it: check that cert-approver runs, and that it may approve for the signer kubernetes.io/kube-apiserver-client"
            }
            Self::Approved => {
                "nobody signed it: check that kube-controller-manager signs (--cluster-signing-cert-file)"
            }
        }
    }
}

/// Waits for the certificate. Notes in `stage` how far the request came.
async fn wait(api: &ApiClient, name: &DnsSubdomain, stage: &mut Stage) -> Result<String, RequestError> {
    let fields = Some(format!("metadata.name={name}"));
    let selection = Selection { labels: None, fields, parts: Parts::Whole };
    let mut changes = pin!(reflect_while_allowed(api.clone(), KIND.in_cluster(), selection));
    while let Some(change) = changes.next().await {
        if let Change::Put(request) = change
            && let Some(certificate) = look(name, &request, stage)?
        {
            return Ok(certificate);
        }
    }
    // The account may not list or watch.
    loop {
        let request = api.get(&KIND.in_cluster().object(name), Deadline::after(LOOK_LIMIT)).await;
        match request {
            Ok(request) => {
                if let Some(certificate) = look(name, &request, stage)? {
                    return Ok(certificate);
                }
            }
            Err(ApiError::Retryable { .. } | ApiError::OutcomeUnknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The certificate of a request, once there is one.
fn look(
    name: &DnsSubdomain,
    request: &CertificateSigningRequest,
    stage: &mut Stage,
) -> Result<Option<String>, RequestError> {
    let refused = |how, message: String| {
        Err(RequestError::Refused { name: name.clone(), how, message: printable(&message, MAX_MESSAGE) })
    };
    match decision(request) {
        Some((Decided::Denied, message)) => return refused("denied", message),
        Some((Decided::Failed, message)) => return refused("not signed", message),
        Some((Decided::Approved, _)) => *stage = Stage::Approved,
        None => {}
    }
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let Some(ByteString(certificate)) = certificate.filter(|certificate| !certificate.0.is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8(certificate.clone());
    text.map(Some).map_err(|_| Unusable::Malformed("the certificate".to_owned()).into())
}

/// The request in PEM (PKCS #10).
fn request_text(node: &DnsSubdomain, key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut names = DistinguishedName::new();
    names.push(DnType::OrganizationName, GROUP);
    names.push(DnType::CommonName, user_of(node.as_str()));
    let mut params = CertificateParams::default();
    params.distinguished_name = names;
    params.serialize_request(key)?.pem()
}

fn object(name: &DnsSubdomain, request: &str, duration: Duration) -> CertificateSigningRequest {
    CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            expiration_seconds: i32::try_from(duration.as_secs()).ok(),
            request: ByteString(request.as_bytes().to_vec()),
            signer_name: SIGNER.to_owned(),
            usages: Some(USAGES.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}
