//! How a decision gets into the API server.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use nad::api::send_event;
use node::client::{ApiClient, ApiError, Denial, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;

use super::decide::{Reason, Ruling, Verdict, decide};
use super::event::{self, COMPONENT};
use crate::csr::{Decided, KIND, SIGNER};

/// How often a request is decided that changes meanwhile.
const TRIES: u32 = 5;

/// How long one request may take, all tries together.
const LIMIT: Duration = Duration::from_secs(60);

/// How long its event is tried.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was decided.
    Decided(Ruling),
    /// It was left alone.
    Left(Reason),
    /// It does not exist any more.
    Gone,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided(Ruling::Approve) => f.write_str("approved"),
            Self::Decided(Ruling::Deny(broken)) => write!(f, "denied: {broken}"),
            Self::Left(reason) => write!(f, "left alone: {reason}"),
            Self::Gone => f.write_str("gone"),
        }
    }
}

/// A request could not be decided.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettleError {
    /// A right is missing.
    #[error(
        "{0}. {COMPONENT} needs the verb \"get\" on certificatesigningrequests, \"update\" on certificatesigningrequests/approval, and \
         \"approve\" on signers with the resourceName {SIGNER}, all of the API group certificates.k8s.io, in a ClusterRole"
    )]
    Forbidden(ApiError),
    /// The API server does not answer as expected.
    #[error(transparent)]
    Api(ApiError),
    /// Somebody changes the object all the time.
    #[error(
        "the object changed each of the {TRIES} times that it was read and decided; find out who writes it, by its metadata.managedFields"
    )]
    Contended,
}

impl From<ApiError> for SettleError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied { denial: Denial::Forbidden, .. } => Self::Forbidden(error),
            _ => Self::Api(error),
        }
    }
}

/// Decides about the request of this name, and writes the decision. `known` is the object as it was last seen; without it the object is read.
///
/// # Errors
/// [`SettleError`].
pub(super) async fn settle(
    api: &ApiClient,
    name: &DnsSubdomain,
    known: Option<CertificateSigningRequest>,
) -> Result<Settled, SettleError> {
    let (path, deadline) = (KIND.in_cluster().object(name), Deadline::after(LIMIT));
    let mut known = known;
    for _ in 0..TRIES {
        let request = match known.take() {
            Some(request) => request,
            None => match api.get(&path, deadline).await {
                Err(ApiError::NotFound { .. }) => return Ok(Settled::Gone),
                read => read?,
            },
        };
        let ruling = match decide(&request) {
            Verdict::Leave(reason) => return Ok(Settled::Left(reason)),
            Verdict::Decide(ruling) => ruling,
        };
        let now = node::clock::now();
        let decided = with_condition(request, &ruling, now);
        match api.replace_approval(&path, &decided, deadline).await {
            Ok(()) => {
                report(api, &decided, &ruling, now).await;
                return Ok(Settled::Decided(ruling));
            }
            Err(ApiError::NotFound { .. }) => return Ok(Settled::Gone),
            // Another approver may have decided, or the object was made again.
            Err(ApiError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SettleError::Contended)
}

fn with_condition(
    mut request: CertificateSigningRequest,
    ruling: &Ruling,
    now: Timestamp,
) -> CertificateSigningRequest {
    let (type_, reason, message) = match ruling {
        Ruling::Approve => {
            (Decided::Approved, "AutoApproved", format!("{COMPONENT} approved this request of multus"))
        }
        Ruling::Deny(broken) => (Decided::Denied, "CSRDenied", broken.to_string()),
    };
    let condition = CertificateSigningRequestCondition {
        type_: type_.condition().to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    request
}

/// Sends the event about a request. The decision counts without it.
async fn report(api: &ApiClient, request: &CertificateSigningRequest, ruling: &Ruling, now: Timestamp) {
    let Some(event) = event::about(request, ruling, now) else { return };
    let deadline = Deadline::after(EVENT_LIMIT);
    let policy = RetryPolicy::new(OnUnknown::Stop);
    if let Err(error) = retry(deadline, policy, || send_event(api, &event, deadline)).await {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(%error, "the certificate signing request {name} is decided, but no event says so");
    }
}
