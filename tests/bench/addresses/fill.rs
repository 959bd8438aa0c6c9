//! Many allocated addresses: claims created directly at the API server, and a pool as Whereabouts writes it.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiClient, ApiError, Credentials, MetadataOnly, Preconditions, Timeouts, block_on};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};
use whereabouts::crd::ip_pool::POOLS;
use whereabouts::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use whereabouts::pool::naming;
use whereabouts::pool::naming::ClaimScope;

use crate::api::NAMESPACE;
use crate::node::{KUBECONFIG, Node};

/// The numbers of clients, and of concurrent requests of each. More of either do not make the API server faster.
const CLIENTS: u32 = 2;
const AT_ONCE: usize = 16;

/// The deadline of every request: longer than any takes.
const LIMIT: Duration = Duration::from_secs(600);

/// Creates the claims of the addresses with these numbers in a range; returns the claims a second.
pub fn claims(node: &Node, range: &str, numbers: Range<u32>) -> f64 {
    each(node, range, numbers, async |api, claim| {
        let collection = RESERVATIONS.in_namespace(&namespace());
        api.create::<MetadataOnly>(&collection, &claim, Deadline::after(LIMIT)).await.map(drop)
    })
}

/// Creates the claims with these numbers one after the other on one connection; returns the time of each.
pub fn one_by_one(node: &Node, range: &str, numbers: Range<u32>) -> Vec<Duration> {
    let net: IpNet = range.parse().expect("a range");
    let all = async move |api: ApiClient| {
        let collection = RESERVATIONS.in_namespace(&namespace());
        let mut times = Vec::new();
        for number in numbers {
            let (claim, began) = (claim(net, number), Instant::now());
            let made = api.create::<MetadataOnly>(&collection, &claim, Deadline::after(LIMIT)).await;
            made.expect("the API server creates a claim");
            times.push(began.elapsed());
        }
        times
    };
    node.run(move || with_api(all))
}

/// Deletes the claims with these numbers.
pub fn remove(node: &Node, range: &str, numbers: Range<u32>) {
    each(node, range, numbers, async |api, claim| {
        let name = DnsSubdomain::new(claim.metadata.name.expect("its name")).expect("a name");
        let path = RESERVATIONS.in_namespace(&namespace()).object(&name);
        api.delete(&path, &Preconditions::default(), Deadline::after(LIMIT)).await
    });
}

/// Runs `work` for the claim of each number; returns the calls a second.
fn each<W>(node: &Node, range: &str, numbers: Range<u32>, work: W) -> f64
where
    W: AsyncFn(&ApiClient, Reservation) -> Result<(), ApiError> + Copy + Send + 'static,
{
    let net: IpNet = range.parse().expect("a range");
    let began = Instant::now();
    let part = |client: u32| {
        let mine = numbers.clone().filter(move |number| number % CLIENTS == client);
        let all = move |api| async move {
            let one = |number| work(&api, claim(net, number));
            let results = stream::iter(mine.map(one)).buffer_unordered(AT_ONCE);
            results.for_each(async |result| result.expect("the API server serves the request")).await;
        };
        node.spawn(move || with_api(all))
    };
    let clients: Vec<_> = (0..CLIENTS).map(part).collect();
    clients.into_iter().for_each(|client| client.join().expect("a client ends without a panic"));
    f64::from(numbers.len() as u32) / began.elapsed().as_secs_f64()
}

fn claim(net: IpNet, number: u32) -> Reservation {
    let IpAddr::V4(first) = net.network() else { panic!("an IPv4 range") };
    let ip = Ipv4Addr::from(u32::from(first) + 1 + number);
    let pool = naming::pool(&net, None).expect("a pool's name");
    let name = naming::claim(ip.into(), ClaimScope::Shared { network: None }).expect("a claim's name");
    let spec = ReservationSpec {
        podref: format!("default/filled-{number}"),
        ifname: "net1".to_owned(),
        containerid: format!("{number:064x}"),
    };
    let uid = format!("00000000-0000-4000-9000-{number:012x}");
    Reservation::new(
        name.as_str(),
        ReservationOwner {
            pool: pool.as_str(),
            whole: pool.as_str(),
            range: net,
            pod_uid: Some(&uid),
            node: Some("filled"),
            spec,
        },
    )
}

/// Creates or replaces the pool of a range with this many entries, as Whereabouts writes them; false if the API server refuses the object.
pub fn pool(node: &Node, range: &str, entries: usize) -> bool {
    let net: IpNet = range.parse().expect("a range");
    let entry = |n: usize| {
        let held =
            json!({ "id": format!("{n:064x}"), "podref": format!("default/filled-{n}"), "ifname": "net1" });
        (n.to_string(), held)
    };
    let allocations: serde_json::Map<String, Value> = (1..=entries).map(entry).collect();
    let name = naming::pool(&net, None).expect("a pool's name");
    let mut pool = json!({
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": { "name": name.as_str() },
        "spec": { "range": range, "allocations": allocations },
    });
    node.run(move || with_api(async move |api| written(&api, &name, &mut pool).await.is_ok()))
}

async fn written(api: &ApiClient, name: &DnsSubdomain, pool: &mut Value) -> Result<MetadataOnly, ApiError> {
    let collection = POOLS.in_namespace(&namespace());
    let (path, deadline) = (collection.object(name), Deadline::after(LIMIT));
    match api.get_metadata(&path, deadline).await {
        Ok(metadata) => {
            pool["metadata"]["resourceVersion"] = metadata.resource_version.into();
            api.replace(&path, pool, deadline).await
        }
        Err(_) => api.create(&collection, pool, deadline).await,
    }
}

fn namespace() -> DnsLabel {
    DnsLabel::new(NAMESPACE).expect("a namespace")
}

fn with_api<T>(work: impl AsyncFnOnce(ApiClient) -> T) -> T {
    let credentials = Credentials::Kubeconfig(PathBuf::from(KUBECONFIG));
    let whole = async {
        let api = ApiClient::connect(credentials, Timeouts::default()).await.expect("the node's credentials");
        work(api).await
    };
    block_on(Deadline::after(LIMIT), whole).expect("time enough")
}
