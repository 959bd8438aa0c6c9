//! `cert-approver` from its start to its end.

use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use node::client::{ApiClient, Change, ConnectError, Parts, Selection, Timeouts, reflect};
use node::names::DnsSubdomain;

use super::decide::{Verdict, decide};
use super::later::Later;
use super::options::Options;
use super::settle::{Settled, settle};
use crate::csr::{KIND, SIGNER};

/// Why `cert-approver` cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ApproverError {
    /// There are no usable credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Decides about requests until `shutdown`.
///
/// # Errors
/// [`ApproverError`], at the start. Later a failure is logged and tried again.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), ApproverError> {
    let api = ApiClient::connect(options.credentials, Timeouts::default()).await?;
    tracing::info!(signer = SIGNER, "deciding about the certificate signing requests of multus");
    tokio::select! {
        biased;
        () = shutdown => {}
        () = follow(api) => {}
    }
    Ok(())
}

/// Decides about all requests that there are, and then about each that comes. Never returns.
pub(crate) async fn follow(api: ApiClient) {
    let fields = Some(format!("spec.signerName={SIGNER}"));
    let selection = Selection { labels: None, fields, parts: Parts::Whole };
    let mut changes = pin!(reflect::<CertificateSigningRequest>(api.clone(), KIND.in_cluster(), selection));
    let mut approver = Approver { api, later: Later::default() };
    loop {
        tokio::select! {
            // First, so that new requests do not keep it waiting. Its waits keep it rare.
            biased;
            name = approver.later.next() => approver.settle(name, None).await,
            change = changes.next() => match change {
                Some(change) => approver.observe(change).await,
                None => return,
            },
        }
    }
}

struct Approver {
    api: ApiClient,
    later: Later,
}

impl Approver {
    async fn observe(&mut self, change: Change<CertificateSigningRequest>) {
        let (Change::Put(request) | Change::Gone(request)) = &change else { return };
        let text = request.metadata.name.as_deref().unwrap_or_default();
        let verdict = decide(request);
        let name = match (DnsSubdomain::new(text), &verdict) {
            (Ok(name), _) => name,
            // Other programs give their requests other names, and the API server accepts nearly all.
            (Err(_), Verdict::Leave(_)) => return,
            (Err(error), Verdict::Decide(_)) => {
                return tracing::warn!(%error, "a request for a certificate of multus is left alone: make it again with another name");
            }
        };
        match (change, verdict) {
            (Change::Put(_), Verdict::Leave(reason)) => {
                tracing::debug!(%name, %reason, "a certificate signing request is left alone");
                self.later.forget(&name);
            }
            // A change of the object is no reason to try earlier.
            (Change::Put(_), Verdict::Decide(_)) if self.later.has(&name) => {}
            (Change::Put(request), Verdict::Decide(_)) => self.settle(name, Some(request)).await,
            _ => self.later.forget(&name),
        }
    }

    async fn settle(&mut self, name: DnsSubdomain, known: Option<CertificateSigningRequest>) {
        match settle(&self.api, &name, known).await {
            Ok(settled) => {
                self.later.forget(&name);
                log(&name, &settled);
            }
            Err(error) => {
                let wait = self.later.put_off(name.clone());
                tracing::warn!(%error, ?wait, "cannot decide about the certificate signing request {name}; trying again");
            }
        }
    }
}

fn log(name: &DnsSubdomain, settled: &Settled) {
    if let Settled::Decided(_) = settled {
        tracing::info!("the certificate signing request {name} is {settled}");
    } else {
        tracing::debug!("the certificate signing request {name} is {settled}");
    }
}
