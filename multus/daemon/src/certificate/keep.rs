//! A valid certificate at any time, and kubeconfigs with it.

use std::path::PathBuf;
use std::time::Duration;

use node::client::{ApiClient, ApiError, ConnectError, Credentials, Denial, Timeouts, cluster_in};
use node::clock;
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::request::{RequestError, request};
use super::schedule::{Validity, Worth, random_part};
use super::settings::Settings;
use super::store::{Store, StoreError, Unusable, validity_of};
use crate::csr::{KIND, user_of};
use crate::kubeconfig::{self, KubeconfigError, User};

/// How long the first certificate is waited for, as in upstream. Then the program ends, and whoever looks at the pod sees why.
const FIRST: Duration = Duration::from_mins(2);

/// How long a renewal may take.
const RENEWAL: Duration = Duration::from_mins(2);

/// The time between two looks at the certificate, and the shortest one between two attempts that failed.
const PERIOD: Duration = Duration::from_secs(10);

/// The longest time between two attempts that failed.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How often the API server is asked whether it accepts the certificate, and how long it may take.
const ASK_AGAIN: Duration = Duration::from_mins(5);
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// How a look at the certificate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It need not be renewed.
    Valid,
    /// It must be, and was not.
    NotRenewed,
}

/// Keeps the certificate of a node valid.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    store: Store,
    /// The kubeconfig with the certificate, for whoever uses it.
    kubeconfig: PathBuf,
    /// At which part of its life the certificate is renewed, in thousandths.
    part: u32,
}

/// There is no valid certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The bootstrap kubeconfig, or that with the certificate, cannot be used.
    #[error("a certificate for this node: {0}")]
    Connect(#[from] ConnectError),
    /// The request failed.
    #[error("a certificate for this node: {0}")]
    Request(#[from] RequestError),
    /// The certificate cannot be stored.
    #[error("a certificate for this node: {0}")]
    Store(#[from] StoreError),
    /// The kubeconfig with the certificate cannot be written.
    #[error("a certificate for this node: {0}")]
    Kubeconfig(#[from] KubeconfigError),
}

impl CertificateError {
    /// Whether another attempt cannot help: somebody must change a file, or what the one who decides goes by.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_permanent(),
            Self::Request(error) => matches!(error, RequestError::Refused { .. }),
            Self::Store(_) | Self::Kubeconfig(_) => false,
        }
    }
}

impl Keeper {
    /// Keeps the certificate that these settings ask for, and `kubeconfig` with it.
    pub fn new(settings: Settings, kubeconfig: PathBuf) -> Self {
        let store = Store::new(&settings.folder);
        Keeper { settings, store, kubeconfig, part: random_part(fastrand::u64(..)) }
    }

    /// Returns once there is a valid certificate that the API server accepts. One that is old is renewed later.
    ///
    /// # Errors
    /// [`CertificateError`]: there is none after two minutes, the request was denied, or a file must be changed first.
    pub async fn first(&mut self) -> Result<(), CertificateError> {
        let deadline = Deadline::after(FIRST);
        loop {
            let Err(error) = self.begin(deadline).await else { return Ok(()) };
            if error.is_permanent() || deadline.remaining() <= PERIOD {
                return Err(error);
            }
            tracing::warn!(%error, "there is no certificate yet; it is tried again");
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn begin(&mut self, deadline: Deadline) -> Result<(), CertificateError> {
        if self.worth() == Worth::Useless || self.is_refused().await {
            self.renew(Worth::Useless, deadline).await?;
        }
        self.write_kubeconfig()
    }

    /// Renews the certificate in time, for ever.
    pub async fn run(mut self) {
        // Each attempt that fails may leave a request object, which others look at. A short certificate has no time for long waits.
        let longest = (self.settings.duration / 20).clamp(PERIOD, LONGEST_WAIT);
        let (mut wait, mut asked) = (PERIOD, Instant::now());
        loop {
            tokio::time::sleep(wait).await;
            let asks = asked.elapsed() >= ASK_AGAIN;
            if asks {
                asked = Instant::now();
            }
            let worth = if asks && self.is_refused().await { Worth::Useless } else { self.worth() };
            wait = match self.round(worth, Deadline::after(RENEWAL)).await {
                Kept::Valid => PERIOD,
                Kept::NotRenewed => (wait * 2).min(longest),
            };
        }
    }

    /// Renews a certificate of this worth if it is time, and writes the kubeconfig. Failures are logged.
    pub(super) async fn round(&mut self, worth: Worth, deadline: Deadline) -> Kept {
        if worth != Worth::Good
            && let Err(error) = self.renew(worth, deadline).await
        {
            not_renewed(worth, &error);
            return Kept::NotRenewed;
        }
        if let Err(error) = self.write_kubeconfig() {
            let file = self.kubeconfig.display();
            tracing::warn!(%file, %error, "the kubeconfig with the certificate of this node was not written; it is tried again");
        }
        Kept::Valid
    }

    /// Whether the API server does not accept the stored certificate, which is valid by its times: its authority may have been replaced. An API server
    /// that does not answer says nothing.
    async fn is_refused(&self) -> bool {
        // Without a usable kubeconfig the certificate was not used yet.
        let Ok(api) = connect(&self.kubeconfig).await else { return false };
        // Any other answer than 401 comes from an API server that accepts the certificate.
        let Ok(any) = DnsSubdomain::new("multus") else { return false };
        let answer = api.get::<IgnoredAny>(&KIND.in_cluster().object(&any), Deadline::after(ASK_LIMIT)).await;
        let is_refused = matches!(answer, Err(ApiError::Denied { denial: Denial::Unauthenticated, .. }));
        if is_refused {
            tracing::warn!(
                "the API server does not accept the certificate of this node; a new one is requested"
            );
        }
        is_refused
    }

    pub(super) fn worth(&self) -> Worth {
        match self.store.validity(&user_of(self.settings.node.as_str())) {
            Ok(validity) => validity.worth(clock::now(), self.part),
            Err(Unusable::File(error)) if error.is_not_found() => Worth::Useless,
            Err(error) => {
                let file = self.store.current();
                tracing::warn!(file = %file.display(), %error, "the certificate is not used; a new one is requested");
                Worth::Useless
            }
        }
    }

    async fn renew(&mut self, old: Worth, deadline: Deadline) -> Result<(), CertificateError> {
        let Settings { node, duration, .. } = &self.settings;
        let own = match old {
            Worth::Useless => None,
            Worth::Good | Worth::Old => {
                let connected = connect(&self.kubeconfig).await;
                connected
                    .inspect_err(|error| tracing::warn!(%error, "the bootstrap kubeconfig is used instead"))
                    .ok()
            }
        };
        let by_own = match own {
            None => None,
            Some(own) => match request(&own, node, *duration, deadline).await {
                // The certificate may be one of an authority that the cluster does not use any more.
                Err(RequestError::Api(ApiError::Denied { .. })) => None,
                answered => Some(answered),
            },
        };
        let pair = match by_own {
            Some(answered) => answered?,
            None => request(&connect(&self.settings.bootstrap).await?, node, *duration, deadline).await?,
        };
        let validity = validity_of(&pair.certificate, &user_of(node.as_str())).map_err(RequestError::from)?;
        let (Validity { from, to }, now) = (validity, clock::now());
        if validity.worth(now, self.part) == Worth::Useless {
            return Err(RequestError::from(Unusable::NotValid { from, to, now }).into());
        }
        self.store.put(&pair.certificate, &pair.key, now)?;
        self.part = random_part(fastrand::u64(..));
        tracing::info!(%node, until = %to, "the certificate of this node is new");
        Ok(())
    }

    fn write_kubeconfig(&self) -> Result<(), CertificateError> {
        let (cluster, user) =
            (cluster_in(&self.settings.bootstrap)?, User::Certificate(self.store.current()));
        kubeconfig::Credentials::for_cluster(cluster, user, self.kubeconfig.clone()).renew()?;
        Ok(())
    }
}

fn not_renewed(worth: Worth, error: &CertificateError) {
    match worth {
        Worth::Useless => {
            tracing::error!(%error, "there is no valid certificate for this node; it is tried again");
        }
        Worth::Good | Worth::Old => {
            tracing::warn!(%error, "the certificate of this node was not renewed; it is still valid");
        }
    }
}

async fn connect(kubeconfig: &std::path::Path) -> Result<ApiClient, ConnectError> {
    ApiClient::connect(Credentials::Kubeconfig(kubeconfig.to_owned()), Timeouts::default()).await
}
