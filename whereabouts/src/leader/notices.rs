//! Events for the owners of networks: `kubectl describe net-attach-def` shows them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use node::client::{ApiError, ResourceKind};
use node::deadline::Deadline;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde::de::IgnoredAny;

use super::cluster_cache::ClusterCache;
use super::context::Context;

pub(super) const DEFINITION_KIND: &str = "NetworkAttachmentDefinition";
pub(super) const DEFINITION_VERSION: &str = "k8s.cni.cncf.io/v1";

/// A problem of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Notice {
    /// `namespace/name` of the network's definition.
    pub network: String,
    /// The UID of the definition; empty if it is not cached.
    uid: String,
    /// The configuration that has the problem. A corrected one that is wrong again gets a new event.
    generation: u64,
    /// The component that reports it.
    pub component: &'static str,
    /// One word for the kind of the problem.
    pub reason: &'static str,
    /// The problem, and what to do.
    pub text: String,
}

impl Notice {
    /// A notice about the definition of this name as it is in the cache.
    pub fn new(
        cache: &ClusterCache,
        network: &str,
        component: &'static str,
        reason: &'static str,
        text: String,
    ) -> Self {
        let definition = cache.networks.content().get(network);
        let uid = definition.map(|definition| definition.metadata.uid.clone()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        definition.map(|definition| &definition.spec.config).hash(&mut hasher);
        Notice { network: network.to_owned(), uid, generation: hasher.finish(), component, reason, text }
    }

    /// The name of the event: one for each problem of one configuration of one definition, whichever daemon leads.
    fn event_name(&self, name: &DnsSubdomain) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash_into(&mut hasher);
        // A name has at most 253 characters.
        let stem: String = name.as_str().chars().take(200).collect();
        format!("{}.{:016x}", stem.trim_end_matches(['.', '-']), hasher.finish())
    }

    fn hash_into(&self, hasher: &mut DefaultHasher) {
        (&self.network, &self.uid, self.generation, self.reason, &self.text).hash(hasher);
    }
}

/// Creates the event of a notice, unless it exists.
pub(super) async fn report(context: &Context, notice: &Notice, deadline: Deadline) -> Result<(), ApiError> {
    tracing::warn!(network = %notice.network, "{}", notice.text);
    let Some((namespace, name)) = notice.network.split_once('/') else { return Ok(()) };
    let (Ok(namespace), Ok(name)) = (DnsLabel::new(namespace), DnsSubdomain::new(name)) else {
        return Ok(());
    };
    let events = ResourceKind::EVENTS.in_namespace(&namespace);
    let event_name = notice.event_name(&name);
    let subject = Subject { namespace, name, uid: PodUid::new(notice.uid.as_str()).ok() };
    let reporter = Reporter { component: notice.component, host: "" };
    let now = node::clock::now();
    let mut event = about_pod(&subject, Severity::Warning, notice.reason, &notice.text, reporter, now);
    event.metadata.name = Some(event_name);
    event.involved_object.kind = Some(DEFINITION_KIND.to_owned());
    event.involved_object.api_version = Some(DEFINITION_VERSION.to_owned());
    match context.api.create::<IgnoredAny>(&events, &event, deadline).await {
        Ok(_) | Err(ApiError::AlreadyExists { .. }) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "event not created");
            Err(error)
        }
    }
}
