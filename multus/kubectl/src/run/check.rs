//! `kubectl multus check`.

use std::collections::BTreeMap;
use std::io::Read;

use k8s_openapi::api::core::v1::{Event, Node};
use multus::explain::json;
use nad::{NadRef, NetworkAttachmentDefinition};
use node::client::ApiError;
use node::names::DnsLabel;

use super::answer::{Answer, DEFAULT_NAMESPACE, Outcome};
use super::files;
use crate::check::{Documents, Input, Report, check, render};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::finding::{Finding, Severity};
use crate::options::{Against, Format, Options, Source};
use crate::overlap::{NodeFacts, Surroundings, present_on_node};

/// Checks files for which no cluster is needed. `None` if one is.
pub(super) fn without_cluster(
    options: &Options,
    source: &Source,
    links: Option<&[String]>,
    stdin: &mut dyn Read,
) -> Result<Option<Answer>, Failure> {
    let Source::Files { paths, against: Against::Themselves } = source else { return Ok(None) };
    let documents = files::read(paths, namespace(options, None), stdin)?;
    let surroundings = Surroundings { nodes: Vec::new(), links: links.map(<[String]>::to_vec) };
    Ok(Some(answer(options, &checked(documents, &[], &surroundings))))
}

/// Checks the definitions of the cluster, or files beside them.
pub(super) async fn with_cluster(
    options: &Options,
    source: &Source,
    links: Option<&[String]>,
    cluster: Cluster<'_>,
    stdin: &mut dyn Read,
) -> Result<Answer, Failure> {
    let mut notes = Vec::new();
    let surroundings =
        Surroundings { nodes: nodes(cluster, &mut notes).await, links: links.map(<[String]>::to_vec) };
    let (mut documents, others) = match source {
        Source::Cluster => of_namespace(options.namespace.as_ref(), cluster, &mut notes).await?,
        Source::Files { paths, .. } => {
            let documents = files::read(paths, namespace(options, cluster.client.namespace()), stdin)?;
            let mut others = inputs(cluster.definitions(None).await?);
            // The files replace them.
            others.retain(|other| documents.inputs.iter().all(|input| input.nad_ref != other.nad_ref));
            (documents, others)
        }
    };
    documents.findings.extend(notes);
    Ok(answer(options, &checked(documents, &others, &surroundings)))
}

/// The definitions of a namespace, or of all, and the others of the cluster, which they are compared with.
async fn of_namespace(
    namespace: Option<&DnsLabel>,
    cluster: Cluster<'_>,
    notes: &mut Vec<Finding>,
) -> Result<(Documents, Vec<Input>), Failure> {
    let inputs_of = |inputs| Documents { inputs, ..Documents::default() };
    let own = inputs(cluster.definitions(namespace).await?);
    let Some(namespace) = namespace else { return Ok((inputs_of(own), Vec::new())) };
    let without = "definitions of other namespaces are not compared with";
    let mut others = inputs(readable(cluster.definitions(None).await, notes, without));
    others.retain(|other| other.nad_ref.namespace != *namespace);
    Ok((inputs_of(own), others))
}

fn namespace<'a>(options: &'a Options, of_context: Option<&'a DnsLabel>) -> &'a str {
    options.namespace.as_ref().or(of_context).map_or(DEFAULT_NAMESPACE, DnsLabel::as_str)
}

fn inputs(definitions: Vec<(NadRef, NetworkAttachmentDefinition)>) -> Vec<Input> {
    definitions
        .into_iter()
        .map(|(nad_ref, definition)| Input { nad_ref, config: definition.spec.config })
        .collect()
}

fn checked(documents: Documents, others: &[Input], surroundings: &Surroundings) -> Report {
    let Documents { inputs, mut findings, others: skipped } = documents;
    if skipped > 0 {
        let message = format!("the files have {skipped} other objects, which are not checked");
        findings.push(Finding::new(Severity::Note, &[], message, ""));
    }
    check(&inputs, others, surroundings, findings)
}

fn answer(options: &Options, report: &Report) -> Answer {
    let text = match options.format {
        Format::Table => render(report),
        Format::Json => json(report),
    };
    let outcome = if report.count(Severity::Error) > 0 { Outcome::Wrong } else { Outcome::Right };
    Answer { text, outcome }
}

/// What is known of the nodes. Who may not read them gets a note, and the rest of the check.
async fn nodes(cluster: Cluster<'_>, notes: &mut Vec<Finding>) -> Vec<NodeFacts> {
    let nodes = readable(cluster.nodes().await, notes, "addresses of nodes are not compared with the ranges");
    let events = readable(
        cluster.refused_adds().await,
        notes,
        "masters are not compared with what refused ADDs say about nodes",
    );
    let mut facts: BTreeMap<String, NodeFacts> =
        nodes.iter().map(facts_of).map(|facts| (facts.name.clone(), facts)).collect();
    // The newest event of a node counts.
    let mut events = events;
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    for event in events {
        let Some(links) = event.message.as_deref().and_then(present_on_node) else { continue };
        let Some(node) = node_of(&event) else { continue };
        let facts =
            facts.entry(node.clone()).or_insert_with(|| NodeFacts { name: node, ..NodeFacts::default() });
        facts.links = Some(links);
    }
    facts.into_values().collect()
}

fn readable<T>(read: Result<Vec<T>, ApiError>, notes: &mut Vec<Finding>, without: &str) -> Vec<T> {
    read.unwrap_or_else(|error| {
        notes.push(Finding::new(Severity::Note, &[], format!("{without}: {error}"), ""));
        Vec::new()
    })
}

/// The node that an event comes from.
fn node_of(event: &Event) -> Option<String> {
    let host = event
        .source
        .as_ref()
        .and_then(|source| source.host.clone())
        .or_else(|| event.reporting_instance.clone());
    host.filter(|host| !host.is_empty())
}

fn facts_of(node: &Node) -> NodeFacts {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let ranges = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    NodeFacts {
        name: node.metadata.name.clone().unwrap_or_default(),
        addresses: addresses.iter().filter_map(|address| address.address.parse().ok()).collect(),
        pod_ranges: ranges.iter().filter_map(|range| range.parse().ok()).collect(),
        links: None,
    }
}
