//! The requests that the API server received, by verb and resource.

use std::collections::BTreeMap;

use crate::api::kubectl;

/// The resources that plugins use. Not leases, which the API server itself renews.
const RESOURCES: &[&str] = &[
    "events",
    "ippools",
    "network-attachment-definitions",
    "nodeslicepools",
    "overlappingrangeipreservations",
    "pods",
];

/// Numbers of requests, by text such as `GET pods`, or `POST pods 409` if it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<String, u64>);

impl Requests {
    /// The requests since the start of the API server.
    pub fn now() -> Requests {
        let mut requests = Requests::default();
        let metrics = kubectl(&["get", "--raw", "/metrics"]);
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |key: &str| line.split(&format!("{key}=\"")).nth(1)?.split('"').next();
            let (Some(verb), Some(code), Some(resource)) = (label("verb"), label("code"), label("resource"))
            else {
                continue;
            };
            if !RESOURCES.contains(&resource) || verb == "WATCH" {
                continue;
            }
            let failed = if code.starts_with('2') { String::new() } else { format!(" {code}") };
            let count = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
            *requests.0.entry(format!("{verb} {resource}{failed}")).or_default() += count as u64;
        }
        requests
    }

    /// The requests since `before`.
    pub fn since(&self, before: &Requests) -> Requests {
        let count = |(key, count): (&String, &u64)| {
            (key.clone(), count - before.0.get(key).copied().unwrap_or_default())
        };
        Requests(self.0.iter().map(count).filter(|(_, count)| *count > 0).collect())
    }

    /// Adds requests of other calls.
    pub fn add(&mut self, more: &Requests) {
        for (key, count) in &more.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// Their number for each of `calls`, and what they were: `5.0: 1.0 GET pods, ...`.
    pub fn text(&self, calls: usize) -> String {
        let each = |count: u64| count as f64 / calls as f64;
        let all: Vec<String> =
            self.0.iter().map(|(key, count)| format!("{:.1} {key}", each(*count))).collect();
        format!("{:.1}: {}", each(self.0.values().sum()), all.join(", "))
    }
}
