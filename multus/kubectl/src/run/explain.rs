//! `kubectl multus explain`.

use std::collections::BTreeMap;

use multus::explain::json;
use multus::request::parse;
use nad::{NadRef, NetworkAttachmentDefinition, PodRef};
use node::client::ApiError;
use node::names::{DnsLabel, DnsSubdomain};

use super::answer::{Answer, DEFAULT_NAMESPACE};
use crate::cluster::Cluster;
use crate::explain::{ClaimFacts, EventFacts, Facts, Lookup, PodFacts, explain, render};
use crate::failure::Failure;
use crate::options::{Format, Options, OptionsError};

/// Explains a pod. `stated` is the namespace of the argument.
pub(super) async fn pod(
    options: &Options,
    stated: Option<&DnsLabel>,
    name: &DnsSubdomain,
    cluster: Cluster<'_>,
) -> Result<Answer, Failure> {
    let namespace = stated.or(options.namespace.as_ref()).or(cluster.client.namespace()).cloned();
    let namespace = namespace
        .map_or_else(|| DnsLabel::new(DEFAULT_NAMESPACE), Ok)
        .map_err(|source| OptionsError::Name { what: "the default namespace", source })?;
    let pod_ref = PodRef { namespace, name: name.clone(), uid: None };
    let Some(pod) = cluster.pod(&pod_ref).await? else {
        return Err(Failure::NoSuchPod { pod: pod_ref.to_string() });
    };
    let now = node::clock::now();
    let explanation = explain(&facts(PodFacts::of(pod_ref, &pod), cluster).await, now);
    let text = match options.format {
        Format::Table => render(&explanation),
        Format::Json => json(&explanation),
    };
    Ok(Answer::right(text))
}

/// Reads what is known of a pod. What the user may not read is noted.
async fn facts(pod: PodFacts, cluster: Cluster<'_>) -> Facts {
    let pod_ref = pod.pod_ref.clone();
    // An annotation that is wrong names nothing.
    let elements = parse(&pod.networks, &pod_ref.namespace).unwrap_or_default();
    let named: Vec<NadRef> =
        elements.into_iter().map(|e| NadRef { namespace: e.namespace, name: e.name }).collect();
    let all = if named.is_empty() { Ok(Vec::new()) } else { cluster.definitions(None).await };
    let (definitions, namesakes) = match all {
        Ok(all) => of_all(&named, all),
        // One namespace may still be readable.
        Err(_) => (one_by_one(&named, cluster).await, Vec::new()),
    };
    let podref = pod_ref.to_string();
    let claims = cluster.claims(None).await.map(|claims| {
        claims.iter().filter(|claim| claim.spec.podref == podref).map(ClaimFacts::of).collect()
    });
    let events = cluster.events_of(&pod_ref).await;
    let is_its = |uid: Option<&str>| uid.is_none_or(|uid| pod.identity.is(uid));
    let events = events.map(|events| {
        let its = events.iter().filter(|event| is_its(event.involved_object.uid.as_deref()));
        its.map(EventFacts::of).collect()
    });
    Facts {
        definitions,
        namesakes,
        claims: claims.map_err(|error| error.to_string()),
        events: events.map_err(|error| error.to_string()),
        pod,
    }
}

fn of_all(
    named: &[NadRef],
    all: Vec<(NadRef, NetworkAttachmentDefinition)>,
) -> (BTreeMap<NadRef, Lookup>, Vec<NadRef>) {
    let mut definitions: BTreeMap<NadRef, Lookup> =
        named.iter().map(|nad_ref| (nad_ref.clone(), Lookup::Absent)).collect();
    let mut namesakes = Vec::new();
    for (nad_ref, definition) in all {
        match definitions.get_mut(&nad_ref) {
            Some(lookup) => *lookup = Lookup::Found(definition.spec.config),
            None if named.iter().any(|named| named.name == nad_ref.name) => namesakes.push(nad_ref),
            None => {}
        }
    }
    (definitions, namesakes)
}

async fn one_by_one(named: &[NadRef], cluster: Cluster<'_>) -> BTreeMap<NadRef, Lookup> {
    let mut definitions = BTreeMap::new();
    for nad_ref in named {
        let found: Result<_, ApiError> = cluster.definition(nad_ref).await;
        let lookup = match found {
            Ok(Some(definition)) => Lookup::Found(definition.spec.config),
            Ok(None) => Lookup::Absent,
            Err(error) => Lookup::Unreadable(error.to_string()),
        };
        definitions.insert(nad_ref.clone(), lookup);
    }
    definitions
}
