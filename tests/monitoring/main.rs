//! What `deploy/monitoring` says about metrics is true of the code: names, labels, ports. `check` beside this file has promtool read the expressions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod expressions;
mod metrics;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::place;

fn read(path: &str) -> String {
    std::fs::read_to_string(place::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every object of a file.
fn objects(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// The alerts with their names.
fn alerts() -> BTreeMap<String, Value> {
    let rules = yaml("deploy/monitoring/rules.yaml");
    let rules = list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]));
    rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone())).collect()
}

/// The expressions of the dashboard, with the title of their panel.
fn panels() -> Vec<(String, Value)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let of = |panel: &Value| (panel["title"].as_str().unwrap().to_owned(), panel.clone());
    list(&dashboard["panels"]).iter().map(of).collect()
}

fn all_expressions() -> Vec<String> {
    let mut all: Vec<String> =
        alerts().values().map(|alert| alert["expr"].as_str().unwrap().to_owned()).collect();
    for (_, panel) in panels() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        all.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let variables = list(&dashboard["templating"]["list"]).iter();
    all.extend(variables.filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned)));
    all
}

#[test]
fn the_operators_rules_are_those_of_the_plain_file() {
    let operator = yaml("deploy/monitoring/prometheusrule.yaml");
    assert_eq!(operator["kind"], "PrometheusRule");
    assert_eq!(operator["spec"]["groups"], yaml("deploy/monitoring/rules.yaml")["groups"]);
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to_fire_and_has_a_remedy_in_the_manual() {
    let tests = yaml("tests/monitoring/rules.test.yaml");
    let (mut fires, mut stays_silent) = (BTreeSet::new(), BTreeSet::new());
    for case in list(&tests["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])) {
        let name = case["alertname"].as_str().unwrap().to_owned();
        if case["exp_alerts"].is_null() { &mut stays_silent } else { &mut fires }.insert(name);
    }
    let names: BTreeSet<String> = alerts().into_keys().collect();
    assert_eq!((&fires, &stays_silent), (&names, &names));
    let manual = read("docs/monitoring.md");
    let headings = manual.lines().filter_map(|line| line.strip_prefix("### "));
    let explained: BTreeSet<String> = headings.map(str::to_owned).collect();
    assert_eq!(explained, names);
}

#[test]
fn alerts_have_a_severity_and_texts() {
    for (name, alert) in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["info", "warning", "critical"].contains(&severity), "{name}");
        for text in ["summary", "description"] {
            let text = alert["annotations"][text].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{name}: {text}");
        }
    }
}

#[test]
fn every_metric_of_an_expression_is_one_of_the_code_with_such_labels() {
    let known = metrics::of_the_code();
    for expression in all_expressions() {
        let used = expressions::metrics(&expression);
        assert!(!used.is_empty(), "{expression}");
        for metric in used.iter().filter(|metric| *metric != "up") {
            assert!(known.samples.contains(metric), "no such metric: {metric} in {expression}");
        }
        for value in expressions::label_values(&expression) {
            let is_job = ["multus-daemon", "whereabouts-daemon"].contains(&value.as_str());
            assert!(is_job || known.texts.contains(&value), "no label has the value {value}: {expression}");
        }
    }
}

#[test]
fn the_manuals_list_every_metric_and_no_other() {
    let known = metrics::of_the_code();
    let mut listed = BTreeSet::new();
    for line in ["docs/multus.md", "docs/whereabouts.md"].map(read).iter().flat_map(|text| text.lines()) {
        let Some(cell) = line.strip_prefix("| `").and_then(|rest| rest.split(" | ").next()) else { continue };
        let names = cell.split(", ").map(|name| name.trim_matches('`').split('{').next().unwrap());
        let is_metric = |name: &&str| name.starts_with("multus_") || name.starts_with("whereabouts_");
        listed.extend(names.filter(is_metric).map(str::to_owned));
    }
    assert_eq!(listed, known.names);
}

#[test]
fn panels_say_what_they_show_and_do_not_overlap() {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (title, panel) in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is used twice");
        let is_row = panel["type"] == "row";
        assert!(is_row || panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && places.insert((x, y)), "{title}: at {x},{y}");
            }
        }
    }
}

/// The address of each daemon's metrics, by the name of its DaemonSet.
fn ports() -> BTreeMap<String, String> {
    let mut ports = BTreeMap::new();
    for object in
        ["multus", "whereabouts"].iter().flat_map(|name| objects(&format!("deploy/daemons/{name}.yaml")))
    {
        let Some(argument) = object["spec"]["template"]["spec"]["containers"][0]["args"][0].as_str() else {
            continue;
        };
        let port = argument.strip_prefix("--listen=127.0.0.1:").unwrap_or_else(|| panic!("{argument}"));
        let label = object["spec"]["template"]["metadata"]["labels"]["name"].as_str().unwrap();
        ports.insert(label.to_owned(), port.to_owned());
    }
    assert_eq!(ports.len(), 2);
    ports
}

#[test]
fn what_is_scraped_is_where_the_daemons_listen() {
    let ports = ports();
    let monitors = objects("deploy/monitoring/podmonitors.yaml");
    let jobs = yaml("deploy/monitoring/scrape.yaml");
    for (label, port) in &ports {
        let job = format!("{label}-daemon");
        let monitor = monitors.iter().find(|monitor| monitor["metadata"]["name"] == *job).unwrap();
        assert_eq!(monitor["spec"]["selector"]["matchLabels"]["name"], *label);
        let relabelings = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"].to_string();
        let plain = list(&jobs["scrape_configs"]).iter().find(|other| other["job_name"] == *job).unwrap();
        for text in [relabelings, plain["relabel_configs"].to_string()] {
            assert!(
                text.contains(&format!("\"$1:{port}\"")) && text.contains(&format!("\"[$1]:{port}\"")),
                "{text}"
            );
        }
        let reachable = read("deploy/monitoring/reachable/kustomization.yaml");
        assert!(reachable.contains(&format!("value: '--listen=[::]:{port}'")), "{port}");
        assert!(reachable.contains(&format!("prometheus.io/port: \"{port}\"")), "{port}");
    }
}
