//! What `kubectl multus migrate` reads.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use nad::NadRef;
use node::client::{ApiError, MetadataOnly, ObjectPath, ResourceKind};
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::Value;
use whereabouts::crd::ip_pool::POOLS;
use whereabouts::crd::reservation::RESERVATIONS;
use whereabouts::crd::rights::LEASE;

use super::pace::Pace;
use crate::check::{Input, check};
use crate::cluster::Cluster;
use crate::definition::read;
use crate::failure::Failure;
use crate::migrate::{
    Facts, LeaseFacts, NEEDED, Roles, Workload, clashes, custom_resource, lacks_status, of_cron_job,
    of_daemon_set, of_deployment,
};
use crate::overlap::Surroundings;
use crate::write::{CRON_JOBS, DAEMON_SETS, DEPLOYMENTS};

const CUSTOM_RESOURCES: ResourceKind =
    ResourceKind::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
const NODE_SLICE_POOLS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "nodeslicepools");
const CONFIG_MAPS: ResourceKind = ResourceKind::new("", "v1", "configmaps");

/// The name of Whereabouts' own lease.
const LEASE_OF_WHEREABOUTS: &str = "whereabouts";

const fn rbac(plural: &'static str) -> ResourceKind {
    ResourceKind::new("rbac.authorization.k8s.io", "v1", plural)
}

/// Everything that a decision needs. What only informs may be unreadable; what decides may not.
pub(super) async fn facts(cluster: Cluster<'_>, pace: Pace) -> Result<Facts, Failure> {
    let mut facts = Facts { workloads: workloads(cluster).await?, ..Facts::default() };
    let all = match cluster.definitions(None).await {
        // Multus was never there.
        Err(ApiError::NotFound { .. }) => Vec::new(),
        all => all?,
    };
    let config = |(nad_ref, definition): (NadRef, nad::NetworkAttachmentDefinition)| Input {
        nad_ref,
        config: definition.spec.config,
    };
    let inputs: Vec<Input> = all.into_iter().map(config).collect();
    facts.definitions = inputs.iter().map(|input| read(&input.nad_ref, &input.config)).collect();
    facts.findings = check(&inputs, &[], &Surroundings::default(), Vec::new()).findings;
    read_addresses(cluster, &mut facts).await?;
    if !clashes(&facts.pools, &facts.claims, &facts.definitions).is_empty() {
        // An address may have changed hands between the two lists.
        tokio::time::sleep(pace.settle).await;
        read_addresses(cluster, &mut facts).await?;
    }
    let slices: Vec<MetadataOnly> = cluster.all(NODE_SLICE_POOLS).await?;
    let name = |object: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        format!(
            "{}/{}",
            object.namespace.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default()
        )
    };
    facts.slices = slices.iter().map(|slice| name(&slice.metadata)).collect();
    let pods = readable(cluster.pod_metadata().await, &mut facts.unread);
    let lacking = pods.unwrap_or_default().into_iter().filter(|pod| {
        pod.metadata.deletion_timestamp.is_none() && lacks_status(pod.metadata.annotations.as_ref())
    });
    facts.without_status = lacking.map(|pod| name(&pod.metadata)).collect();
    further(cluster, &mut facts).await?;
    Ok(facts)
}

/// The workloads that run programs of Multus and Whereabouts.
pub(super) async fn workloads(cluster: Cluster<'_>) -> Result<Vec<Workload>, Failure> {
    let mut all: Vec<Workload> = cluster.all(DAEMON_SETS).await?.iter().filter_map(of_daemon_set).collect();
    all.extend(cluster.all(DEPLOYMENTS).await?.iter().filter_map(of_deployment));
    all.extend(cluster.all(CRON_JOBS).await?.iter().filter_map(of_cron_job));
    Ok(all)
}

/// Pools before claims: an entry without a claim that the second list would have is waited for, and a claim that is not in the first list too.
pub(super) async fn read_addresses(cluster: Cluster<'_>, facts: &mut Facts) -> Result<(), Failure> {
    facts.pools = cluster.all(POOLS).await?;
    facts.claims = cluster.all(RESERVATIONS).await?;
    Ok(())
}

/// Custom resource definitions, leases, rights and settings: they inform.
async fn further(cluster: Cluster<'_>, facts: &mut Facts) -> Result<(), Failure> {
    for needed in NEEDED {
        let path = CUSTOM_RESOURCES.in_cluster().object(&DnsSubdomain::new(needed)?);
        let object = readable(cluster.object::<Value>(&path).await, &mut facts.unread).flatten();
        facts.resources.extend(object.map(|object| custom_resource(needed, &object)));
    }
    let mut namespaces: Vec<String> =
        facts.workloads.iter().map(|workload| workload.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    for namespace in namespaces {
        let namespace = DnsLabel::new(namespace)?;
        for name in [LEASE_OF_WHEREABOUTS, LEASE] {
            let found = readable(cluster.object::<Lease>(&lease(&namespace, name)?).await, &mut facts.unread);
            let holder = |lease: Lease| lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
            let one = |lease| LeaseFacts { lease: format!("{namespace}/{name}"), holder: holder(lease) };
            facts.leases.extend(found.flatten().map(one));
        }
        let path = CONFIG_MAPS.in_namespace(&namespace).object(&DnsSubdomain::new("multus-daemon-config")?);
        let settings = readable(cluster.object::<ConfigMap>(&path).await, &mut facts.unread).flatten();
        let text = settings.and_then(|settings| settings.data?.remove("daemon-config.json"));
        facts.daemon_configs.extend(text.map(|text| (namespace.to_string(), text)));
    }
    facts.roles = readable(roles(cluster).await, &mut facts.unread);
    Ok(())
}

fn lease(namespace: &DnsLabel, name: &str) -> Result<ObjectPath, Failure> {
    Ok(ResourceKind::LEASES.in_namespace(namespace).object(&DnsSubdomain::new(name)?))
}

async fn roles(cluster: Cluster<'_>) -> Result<Roles, ApiError> {
    Ok(Roles {
        cluster_roles: cluster.all(rbac("clusterroles")).await?,
        roles: cluster.all(rbac("roles")).await?,
        cluster_bindings: cluster.all(rbac("clusterrolebindings")).await?,
        bindings: cluster.all(rbac("rolebindings")).await?,
    })
}

fn readable<T>(read: Result<T, ApiError>, unread: &mut Vec<String>) -> Option<T> {
    read.map_err(|error| unread.push(error.to_string())).ok()
}

/// The images of the workloads by their names, for a comparison after the change.
pub(super) fn by_name(workloads: Vec<Workload>) -> BTreeMap<String, Workload> {
    workloads.into_iter().map(|workload| (workload.shown(), workload)).collect()
}
