//! Claims in other namespaces than the daemons'. A plugin without a daemon made them, whose kubeconfig names another namespace, or the
//! daemons served that namespace before. No daemon allocates there, but the claims of pods that are gone must not stay for ever: the leader
//! does there what it does in its own namespace, except for node slices.
//!
//! It needs the rights of its Role in that namespace too. Without them its requests fail, and the log says which right is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use node::client::{ApiError, Freshness, ListQuery};
use node::deadline::Deadline;
use node::names::DnsLabel;

use super::context::Context;
use crate::crd::reservation::RESERVATIONS;
use crate::metrics::Metrics;

/// The time between two searches. Such claims are rare, and nothing waits for them.
const PERIOD: Duration = Duration::from_secs(600);

/// The other namespaces that have claims.
async fn namespaces(context: &Context) -> Result<BTreeSet<DnsLabel>, ApiError> {
    let fields = Some(format!("metadata.namespace!={}", context.namespace));
    let query = ListQuery { fields, ..ListQuery::all(Freshness::Cached) };
    let deadline = Deadline::after(context.timing.request);
    let list = context.api.list_metadata(&RESERVATIONS.in_cluster(), &query, deadline).await?;
    let namespaces = list.into_iter().filter_map(|claim| claim.namespace);
    Ok(namespaces.filter_map(|namespace| DnsLabel::new(namespace).ok()).collect())
}

/// The other namespaces that have claims, after a log line about each one that is not in `known`.
async fn found(context: &Context, known: &BTreeSet<DnsLabel>) -> BTreeSet<DnsLabel> {
    match namespaces(context).await {
        Ok(mut found) => {
            found.retain(|namespace| !known.contains(namespace));
            for namespace in &found {
                tracing::warn!(
                    %namespace, served = %context.namespace,
                    "claims exist in a namespace that no daemon serves: a kubeconfig names it, or the daemons served it before; \
                     the addresses of pods that are gone are reclaimed there too"
                );
            }
            found
        }
        Err(error) => {
            tracing::warn!(%error, "cannot look for claims in other namespaces; trying again");
            BTreeSet::new()
        }
    }
}

/// Looks for other namespaces with claims, and does `lead` for each one that it found from then on. Never returns.
pub(super) async fn run<F: Future<Output = ()>>(context: &Context, lead: impl Fn(Context) -> F) {
    let (mut known, mut led) = (BTreeSet::new(), FuturesUnordered::new());
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            biased; // The simulation replays a seed only if the branches are polled in a fixed order.
            _ = period.tick() => {
                let found = found(context, &known).await;
                led.extend(found.iter().map(|namespace| lead(context.elsewhere(namespace.clone()))));
                known.extend(found);
            }
            Some(()) = led.next() => {}
        }
    }
}

impl Context {
    /// The same for another namespace. Its metrics are not shown: the daemon's are those of its own namespace.
    fn elsewhere(&self, namespace: DnsLabel) -> Context {
        Context { namespace, metrics: Metrics::new().0, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leader::tests::server::Server;

    const CLAIMS: &str = "overlappingrangeipreservations";

    #[tokio::test(start_paused = true)]
    async fn a_claim_in_another_namespace_is_reclaimed_when_its_pod_is_gone() {
        let server = Server::default();
        let claim = json!({"spec": {"podref": "a/gone", "ifname": "net1", "containerid": "c"}});
        server.put(CLAIMS, "wa", "10.0.0.1", claim);
        let namespace = DnsLabel::new("kube-system").unwrap();
        let context =
            Context::new(server.client().await, namespace, Metrics::new().0, Duration::from_secs(60));
        let wa = DnsLabel::new("wa").unwrap();
        assert_eq!(namespaces(&context).await.unwrap(), BTreeSet::from([wa]));
        let gone = async {
            while server.get(CLAIMS, "wa", "10.0.0.1").is_some() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = run(&context, crate::leader::lead_elsewhere) => {}
            gone = tokio::time::timeout(Duration::from_secs(300), gone) => gone.unwrap(),
        }
    }
}
