use std::path::Path;

use serde_json::{Map, Value, json};

use super::request::{Claim, IpArgs, Requests};
use super::{Conf, ConfError, FlatFile, Network, OverlappingRanges, Warning};

const FLAT: &str = r#"{"kubernetes": {"kubeconfig": "/anywhere/whereabouts.kubeconfig"}}"#;

fn network(ipam: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam})
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn load_with(conf: &Value, flat: &str) -> Result<Conf, ConfError> {
    let flat = FlatFile { path: Path::new("/flat"), bytes: flat.as_bytes() };
    Network::parse(&object(conf))?.complete(Some(flat))
}

/// Loads an `ipam` object with type whereabouts.
fn load(mut ipam: Value) -> Result<Conf, ConfError> {
    ipam["type"] = json!("whereabouts");
    load_with(&network(&ipam), FLAT)
}

fn ranges(conf: &Conf) -> Vec<String> {
    conf.ranges
        .iter()
        .map(|range| {
            let found = range.allocatable().unwrap();
            format!("{} {}-{}", range.net, found.first(), found.last())
        })
        .collect()
}

#[test]
fn every_key_is_read() {
    let conf = load(json!({
        "range": "192.168.1.5-192.168.1.25/24",
        "gateway": "192.168.10.1",
        "network_name": "blue",
        "routes": [{"dst": "0.0.0.0/0", "gw": "192.168.1.1", "mtu": 1400, "table": 7, "scope": 253}],
        "addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"}, {"address": "3ffe:ffff::01/64"}],
        "dns": {"nameservers": ["8.8.8.8"], "domain": "d", "search": ["s"], "options": ["o"]},
        "node_slice_size": "/26",
        "kubernetes": {"kubeconfig": "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"},
    }))
    .unwrap();
    assert_eq!(ranges(&conf), ["192.168.1.0/24 192.168.1.5-192.168.1.25"]);
    assert_eq!(conf.gateway, Some("192.168.10.1".parse().unwrap()));
    assert_eq!(conf.network_name.as_deref(), Some("blue"));
    assert_eq!((conf.routes[0].mtu, conf.routes[0].table, conf.routes[0].scope), (1400, Some(7), Some(253)));
    assert_eq!(conf.addresses[0].gateway, Some("10.10.0.254".parse().unwrap()));
    assert_eq!(conf.addresses[1].address.to_string(), "3ffe:ffff::1/64");
    assert_eq!(conf.dns.search, ["s"]);
    assert_eq!(conf.slice_size.unwrap().prefix_len(), 26);
    assert_eq!(conf.overlapping, OverlappingRanges::Protected);
    assert_eq!(
        conf.kubeconfig().unwrap().to_str().unwrap(),
        "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"
    );
    assert_eq!((conf.name.as_str(), conf.warnings.len()), ("net", 0));
}

#[test]
fn a_flat_file_alone_names_the_kubeconfig_of_a_del() {
    let kubeconfig =
        |text: &str| FlatFile { path: Path::new("/flat/file"), bytes: text.as_bytes() }.kubeconfig();
    assert_eq!(kubeconfig(FLAT), Ok(Some("/anywhere/whereabouts.kubeconfig".into())));
    assert_eq!(kubeconfig("{}"), Ok(None));
    assert!(kubeconfig("no JSON").unwrap_err().to_string().contains("/flat/file"));
}

#[test]
fn without_a_flat_file_there_is_no_configuration() {
    let network = Network::parse(&object(&network(&json!({"type": "whereabouts"})))).unwrap();
    let error = network.complete(None).unwrap_err();
    assert!(error.to_string().starts_with("config file not found"), "{error}");
}

#[test]
fn empty_values_come_from_the_flat_file() {
    let flat = json!({
        "Range": "10.1.0.0/16", "exclude": ["10.1.0.0/24"], "gateway": "10.1.0.1", "network_name": "flat",
        "enable_overlapping_ranges": false, "log_level": "error", "dns": {"domain": "flat", "search": ["flat"]},
        "routes": [{"dst": "10.0.0.0/8"}], "kubernetes": {"kubeconfig": "/anywhere/kubeconfig"},
        "configuration_path": "/etc/cni/net.d/whereabouts.d", "reconciler_cron_expression": "1 * * * *",
    });
    let ipam = json!({
        "type": "whereabouts", "ipRanges": [{"range": "fd00::/64"}], "gateway": "", "network_name": "own",
        "dns": {"domain": "own"}, "routes": [],
    });
    let conf = load_with(&network(&ipam), &flat.to_string()).unwrap();
    assert_eq!(
        ranges(&conf),
        ["10.1.0.0/16 10.1.0.1-10.1.255.254", "fd00::/64 fd00::1-fd00::ffff:ffff:ffff:fffe"]
    );
    assert_eq!(conf.ranges[0].excludes, ["10.1.0.0/24", "10.1.0.1"], "the gateway is never allocated");
    assert_eq!(conf.gateway, Some("10.1.0.1".parse().unwrap()));
    assert_eq!(conf.network_name.as_deref(), Some("own"));
    assert_eq!((conf.dns.domain.as_str(), conf.dns.search[0].as_str()), ("own", "flat"));
    assert_eq!(conf.routes.len(), 1);
    assert_eq!(
        conf.overlapping,
        OverlappingRanges::Protected,
        "the flat file does not set enable_overlapping_ranges"
    );
    assert_eq!(conf.kubeconfig().unwrap(), Path::new("/anywhere/kubeconfig"));
    assert_eq!(conf.warnings, [], "keys without effect in the flat file cause no warning");
}

#[test]
fn enable_overlapping_ranges_false_makes_pools_separate() {
    let conf = load(json!({"range": "10.0.0.0/8", "enable_overlapping_ranges": false})).unwrap();
    assert_eq!(conf.overlapping, OverlappingRanges::Separate);
}

#[test]
fn keys_match_in_any_case_the_last_wins_and_null_is_absent() {
    let text = r#"{"TYPE": "whereabouts", "Range": "10.0.0.0/8", "RANGE": "10.9.0.0/16", "exclude": null,
        "GateWay": "10.9.0.1", "Gateway": "10.9.0.2", "iPrAnGeS": [{"RANGE": "fd00::/64"}],
        "datastore": "kubernetes", "etcd_host": 7, "unknown": {}}"#;
    let conf = load_with(&network(&serde_json::from_str(text).unwrap()), FLAT).unwrap();
    assert_eq!(ranges(&conf)[0], "10.9.0.0/16 10.9.0.1-10.9.255.254");
    assert_eq!(conf.ranges[1].net.to_string(), "fd00::/64");
    assert_eq!(conf.gateway, Some("10.9.0.2".parse().unwrap()));
}

#[test]
fn leading_zeros_in_addresses_are_decimal() {
    let table = [
        json!({"range": "00192.00168.1.5-000000192.168.1.25/24"}),
        json!({"range": "192.168.1.0/24", "range_start": "00192.00168.1.5", "range_end": "000192.168.1.25"}),
    ];
    for ipam in table {
        assert_eq!(ranges(&load(ipam).unwrap()), ["192.168.1.0/24 192.168.1.5-192.168.1.25"]);
    }
    let start = load(json!({"range": "00192.00168.1.0/24", "range_start": "00192.00168.1.44"})).unwrap();
    assert_eq!(ranges(&start), ["192.168.1.0/24 192.168.1.44-192.168.1.254"]);
}

#[test]
fn errors_have_upstreams_texts() {
    let table = [
        (
            json!({"range": "192.168.1.5-192.168.1.25/28"}),
            "invalid range start for CIDR 192.168.1.16/28: 192.168.1.5",
        ),
        (json!({"ipRanges": [{"range": "x"}]}), "invalid CIDR x: invalid CIDR address: x"),
        (json!({"range": "10.0.0.0/8", "gateway": "x"}), "couldn't parse gateway IP: x"),
        (
            json!({"addresses": [{"address": "10.0.0.1"}]}),
            "invalid CIDR in addresses 10.0.0.1: invalid CIDR address: 10.0.0.1",
        ),
        (json!({"log_level": 7}), "LoadIPAMConfig - JSON Parsing Error: ipam.log_level must be a string"),
        (json!({"range": 7}), "LoadIPAMConfig - JSON Parsing Error: ipam.range must be a string"),
        (
            json!({"ipRanges": [{"range_start": "010.0.0.1"}]}),
            "LoadIPAMConfig - JSON Parsing Error: ipam.ipRanges.range_start must be an IP address",
        ),
        (
            json!({"enable_overlapping_ranges": "yes"}),
            "LoadIPAMConfig - JSON Parsing Error: ipam.enable_overlapping_ranges must be true or false",
        ),
        (
            json!({"routes": [{"dst": "10.0.0.0"}]}),
            "LoadIPAMConfig - JSON Parsing Error: ipam.routes.dst must be an address with prefix length",
        ),
        (
            json!({"node_slice_size": "x"}),
            "invalid node_slice_size \"x\": it must be a prefix length such as \"/26\"",
        ),
    ];
    for (ipam, expected) in table {
        assert_eq!(load(ipam).unwrap_err().to_string(), expected);
    }
    let parse = |conf: Value| Network::parse(&object(&conf)).unwrap_err();
    assert_eq!(parse(json!({"name": "net"})), ConfError::NoIpam);
    let other = parse(network(&json!({"type": "host-local"}))).to_string();
    assert_eq!(
        other,
        "only interested in networks whose IPAM type is 'whereabouts'. This one was: host-local"
    );
    assert!(matches!(parse(network(&json!("x"))), ConfError::Json { .. }));
}

#[test]
fn a_flat_file_error_names_the_file_and_does_not_quote_it() {
    let ipam = network(&json!({"type": "whereabouts"}));
    for flat in ["{\"secret\"", "[]", "", "{\"range\": [\"secret\"]}"] {
        let error = load_with(&ipam, flat).unwrap_err().to_string();
        assert!(error.starts_with("LoadIPAMConfig Flatfile (/flat) - JSON Parsing Error: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_missing_kubeconfig_is_an_error_only_when_it_is_needed() {
    let conf = load_with(&network(&json!({"type": "whereabouts", "range": "10.0.0.0/8"})), "{}").unwrap();
    let error = conf.kubeconfig().unwrap_err().to_string();
    assert!(error.contains("invalid `kubernetes.kubeconfig` parameter"), "{error}");
}

#[test]
fn a_network_may_name_files_in_cni_directories_only() {
    let with = |path: &str| {
        let by_path = load(json!({"range": "10.0.0.0/8", "configuration_path": path}));
        let by_kubeconfig = load(json!({"range": "10.0.0.0/8", "kubernetes": {"kubeconfig": path}}));
        assert_eq!(by_path.is_ok(), by_kubeconfig.is_ok(), "{path}");
        by_path
    };
    for good in [
        "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
        "/etc/kubernetes/cni/net.d/x",
        "/var/lib/rancher/k3s/agent/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    ] {
        assert_eq!(with(good).unwrap().configuration_path.unwrap().to_str(), Some(good));
    }
    for bad in [
        "/srv/kubeconfig",
        "/etc/cni/net.d/../../shadow",
        "/etc/cni/net.dx/a",
        "etc/cni/net.d/a",
        "../a",
        "/",
        "\n",
    ] {
        assert!(matches!(with(bad), Err(ConfError::ForbiddenPath { .. })), "{bad:?}");
    }
}

#[test]
fn keys_without_effect_cause_a_warning() {
    let conf = load(json!({
        "range": "10.0.0.0/8", "log_file": "/etc/passwd", "sleep_for_race": 5, "leader_lease_duration": 1500,
        "log_level": "debug", "reconciler_cron_expression": "30 4 * * *", "range_start": "x", "range_end": "10.255.255.255",
    }))
    .unwrap();
    assert_eq!(
        conf.warnings,
        [
            Warning::Ignored("log_file"),
            Warning::Ignored("log_level"),
            Warning::Ignored("sleep_for_race"),
            Warning::Ignored("reconciler_cron_expression"),
            Warning::Ignored("leader_lease_duration"),
            Warning::NotAnAddress { key: "range_start", text: "x".to_owned() },
        ]
    );
    let empty = load(json!({"range": "10.0.0.0/8", "log_file": "", "sleep_for_race": 0})).unwrap();
    assert!(empty.warnings.is_empty());
}

#[test]
fn a_key_of_host_local_names_the_key_that_was_meant() {
    let conf =
        load(json!({"range": "10.0.0.0/8", "rangeStart": "10.0.0.9", "subnet": "10.0.0.0/8"})).unwrap();
    let texts: Vec<String> = conf.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "ipam.subnet is a key of host-local and has no effect here: use \"range\"",
            "ipam.rangeStart is a key of host-local and has no effect here: use \"range_start\"",
        ]
    );
}

#[test]
fn a_network_without_any_range_is_refused() {
    assert_eq!(load(json!({"subnet": "10.0.0.0/24"})).unwrap_err(), ConfError::NoRange);
    assert!(load(json!({"addresses": [{"address": "10.0.0.9/24"}]})).is_ok());
}

#[test]
fn a_gateway_in_the_range_is_never_allocated_and_cannot_be_requested() {
    let conf = load(json!({"range": "10.0.0.0/29", "gateway": "10.0.0.1"})).unwrap();
    let free = conf.ranges[0].allocatable().unwrap();
    assert!(!free.contains("10.0.0.1".parse().unwrap()));
    assert_eq!(free.first().to_string(), "10.0.0.1", "the window stays as it is configured");
    let requests = gather(IpArgs::default(), &json!({"ips": ["10.0.0.1"]}), &json!({})).unwrap();
    let error = requests.assign(&conf).unwrap_err().to_string();
    assert_eq!(
        error,
        "requested address 10.0.0.1 cannot be assigned: it is the network's gateway; request another address"
    );
}

#[test]
fn an_address_that_no_host_can_have_is_refused() {
    let conf = load(json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00:66::/64"}]})).unwrap();
    let assign =
        |ip: &str| gather(IpArgs::default(), &json!({"ips": [ip]}), &json!({})).unwrap().assign(&conf);
    for unusable in [
        "10.0.0.0/24",
        "10.0.0.255/24",
        "10.0.0.255",
        "fd00:66::/64",
        "172.16.0.0/16",
        "172.16.255.255/16",
        "0.0.0.0/0",
        "127.0.0.1/8",
        "224.0.0.1/4",
        "255.255.255.255/8",
        "::/0",
        "::1/64",
        "ff02::1/64",
    ] {
        let refused = matches!(assign(unusable), Err(ConfError::RequestedUnusable { .. }));
        assert!(refused, "{unusable}: {:?}", assign(unusable));
    }
    for usable in
        ["fd00:66::ffff:ffff:ffff:ffff/64", "10.0.0.254", "172.16.0.9/16", "172.16.0.0/31", "172.16.0.1/32"]
    {
        assert!(assign(usable).is_ok(), "{usable}: {:?}", assign(usable));
    }
}

#[test]
fn a_del_ignores_a_path_that_an_add_refuses() {
    let conf = object(&network(
        &json!({"type": "whereabouts", "range": "10.0.0.0/8", "configuration_path": "/srv/x"}),
    ));
    assert!(matches!(Network::parse(&conf), Err(ConfError::ForbiddenPath { .. })));
    let (network, refused) = Network::parse_for_removal(&conf).unwrap();
    assert!(matches!(refused, Some(ConfError::ForbiddenPath { .. })));
    assert_eq!(network.configuration_path(), None);
}

#[test]
fn an_ignored_bound_is_reported() {
    let conf = load(json!({"range": "10.0.0.0/24", "range_start": "10.0.9.1"})).unwrap();
    let [warning @ Warning::OutsideRange { .. }] = &conf.warnings[..] else { panic!("{:?}", conf.warnings) };
    let text = warning.to_string();
    assert!(text.starts_with("range_start 10.0.9.1 is not a usable address of 10.0.0.0/24"), "{text}");
}

#[test]
fn the_first_whereabouts_plugin_of_a_list_counts() {
    let nad = |plugins: Value| {
        let config = object(&json!({"cniVersion": "0.4.0", "name": "list", "plugins": plugins}));
        Network::parse_nad(&config)
    };
    let ours = json!({"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/8"}});
    let tuning = json!({"type": "tuning"});
    let found = nad(json!([tuning, ours])).unwrap();
    let flat = FlatFile { path: Path::new("/flat"), bytes: FLAT.as_bytes() };
    let conf = found.complete(Some(flat)).unwrap();
    assert_eq!((conf.name.as_str(), conf.cni_version.as_str(), conf.ranges.len()), ("list", "0.4.0", 1));
    assert_eq!(nad(json!([])).unwrap_err(), ConfError::NoIpam);
    let other = nad(json!([{"type": "x", "ipam": {"type": "dhcp"}}, tuning])).unwrap_err();
    assert_eq!(other, ConfError::OtherIpam("dhcp".to_owned()));
    assert!(Network::parse_nad(&object(&network(&json!({"type": "whereabouts"})))).is_ok());
}

#[test]
fn cni_0_2_0_allows_one_static_address_per_family() {
    let conf = |version: &str, addresses: Value| {
        let ipam = json!({"type": "whereabouts", "addresses": addresses});
        load_with(&json!({"cniVersion": version, "name": "net", "ipam": ipam}), FLAT)
    };
    let two = json!([{"address": "10.0.0.1/8"}, {"address": "10.0.0.2/8"}]);
    let dual = json!([{"address": "10.0.0.1/8"}, {"address": "fd00::1/8"}]);
    for version in ["", "0.1.0", "0.2.0"] {
        let error = conf(version, two.clone()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("CNI version {version} does not support more than 1 address per family")
        );
        assert!(conf(version, dual.clone()).is_ok());
    }
    assert!(conf("0.3.1", two).is_ok());
}

fn gather(args: IpArgs<'_>, runtime: &Value, cni: &Value) -> Result<Requests, ConfError> {
    Requests::gather(args, &object(runtime), &object(cni))
}

#[test]
fn requested_addresses_are_claimed_in_their_range_and_outside_of_every_range() {
    let conf = load(
        json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}, {"range": "10.9.0.0/24"}]}),
    )
    .unwrap();
    let args = IpArgs { ip: Some("10.0.0.7/24,172.16.0.9/16"), gateway: Some("172.16.0.1,10.0.0.1") };
    let requests =
        gather(args, &json!({"ips": ["10.0.0.7/24", "fd00::7"]}), &json!({"ips": ["fd00::7/64", "fd00::8"]}))
            .unwrap();
    let assignment = requests.assign(&conf).unwrap();
    let must = |range, ip: &str| Claim { range, requested: Some(ip.parse().unwrap()) };
    assert_eq!(
        assignment.claims,
        [
            must(0, "10.0.0.7"),
            must(1, "fd00::7"),
            must(1, "fd00::8"),
            Claim { range: 2, requested: None },
            must(3, "172.16.0.9"),
        ]
    );
    assert!(assignment.addresses.is_empty());
    let outside = &assignment.outside[..];
    assert_eq!((outside.len(), outside[0].address.to_string().as_str()), (1, "172.16.0.9/16"));
    assert_eq!(outside[0].gateway, Some("172.16.0.1".parse().unwrap()));
}

#[test]
fn without_requests_any_address_of_each_range_is_claimed() {
    let conf = load(json!({"range": "10.0.0.0/24", "addresses": [{"address": "10.5.0.1/24"}]})).unwrap();
    let assignment = Requests::default().assign(&conf).unwrap();
    assert_eq!(assignment.claims, [Claim { range: 0, requested: None }]);
    assert_eq!(assignment.addresses, conf.addresses);
}

#[test]
fn invalid_requests_are_errors() {
    let none = json!({});
    let ip = |ip| IpArgs { ip: Some(ip), gateway: None };
    let error = gather(ip("banana"), &none, &none).unwrap_err();
    assert_eq!(error.to_string(), "invalid CIDR banana: invalid CIDR address: banana");
    let gateway = IpArgs { ip: None, gateway: Some("x") };
    assert_eq!(gather(gateway, &none, &none).unwrap_err().to_string(), "invalid gateway address: x");
    assert!(gather(IpArgs::default(), &json!({"ips": "10.0.0.7"}), &none).is_err());
    assert!(gather(IpArgs::default(), &json!({"ips": ["../x"]}), &none).is_err());
    let conf = load(json!({"range": "10.0.0.0/24"})).unwrap();
    let outside = gather(IpArgs::default(), &json!({"ips": ["10.7.0.1"]}), &none).unwrap();
    let error = outside.assign(&conf).unwrap_err().to_string();
    assert!(
        error.starts_with("requested address 10.7.0.1 is in none of the network's ranges (10.0.0.0/24)"),
        "{error}"
    );
}
