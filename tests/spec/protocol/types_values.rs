//! Addresses, errors, arguments, names and versions: the cases of the reference implementation's packages `types`, `utils` and `version`.

use std::io::Read;
use std::process::ExitCode;

use cni::args::CniArgs;
use cni::conf::NetConf;
use cni::names::{ContainerId, IfName, NetworkName};
use cni::result::{Ip, Route};
use cni::version::parse_parts;
use cni::{CniError, Code, Version};
use serde_json::{Value, json};

fn address(text: &str) -> Result<Ip, serde_json::Error> {
    serde_json::from_value(json!({"address": text}))
}

#[test]
fn types_an_address_of_each_family_keeps_its_host_bits() {
    for text in ["10.1.2.3/24", "abcd:1234:ffff::cdde/64", "10.1.2.3/32", "::/0"] {
        let ip = address(text).unwrap();
        assert_eq!(serde_json::to_value(&ip).unwrap(), json!({"address": text}));
    }
}

#[test]
fn types_text_that_is_no_address_with_prefix_is_refused() {
    for text in
        ["", "10.1.2.0", "10.1.2.0/33", "10.1.2.0.0/24", "abcd::/129", "bcd:bcd:bcd/64", "10.1.2.3/24 "]
    {
        assert!(address(text).is_err(), "{text:?}");
    }
    for value in [json!({"address": 7}), json!({"address": null}), json!({})] {
        assert!(serde_json::from_value::<Ip>(value.clone()).is_err(), "{value}");
    }
}

#[test]
fn types_a_route_survives_a_round_trip() {
    for route in [
        json!({"dst": "1.2.3.0/24", "gw": "1.2.3.1"}),
        json!({"dst": "1.2.3.4/24"}),
        json!({"dst": "::/0", "gw": "fd00::1", "mtu": 1500, "advmss": 1460, "priority": 1, "table": 0, "scope": 0}),
    ] {
        let read: Route = serde_json::from_value(route.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), route);
    }
    // 0 means "not set" for these three keys; for table and scope it is a value.
    let read: Route =
        serde_json::from_value(json!({"dst": "::/0", "mtu": 0, "advmss": 0, "priority": 0})).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), json!({"dst": "::/0"}));
    for bad in [json!({}), json!({"dst": ""}), json!({"dst": "1.2.3.4"}), json!({"dst": "::/0", "gw": "x"})] {
        assert!(serde_json::from_value::<Route>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn types_an_error_reads_with_and_without_its_details() {
    let error = CniError::new(Code::Other(1234), "some message");
    assert_eq!(error.to_string(), "some message");
    assert_eq!(error.clone().with_details("some details").to_string(), "some message; some details");
    let object: Value = serde_json::from_str(&error.to_json(Version::V1_0_0)).unwrap();
    assert_eq!(object, json!({"cniVersion": "1.0.0", "code": 1234, "msg": "some message"}));
}

#[test]
fn types_every_code_of_the_spec_has_its_number() {
    for number in (1..=8).chain([11, 50, 51, 100, 999]) {
        assert_eq!(Code::from_number(number).number(), number);
    }
}

#[test]
fn args_a_boolean_is_true_in_three_spellings_only() {
    for (text, want) in [
        ("1", true),
        ("true", true),
        ("True", true),
        ("0", false),
        ("false", false),
        ("TRUE", false),
        ("yes", false),
    ] {
        let args = CniArgs::parse(&format!("IgnoreUnknown={text}")).unwrap();
        assert_eq!(args.ignores_unknown(), want, "{text}");
    }
}

#[test]
fn args_text_is_kept_unchanged() {
    let args = CniArgs::parse("MAC=02:00:00:00:00:01;K8S_POD_NAME=a b/ü;EMPTY=").unwrap();
    assert_eq!(args.get("K8S_POD_NAME"), Some("a b/ü"));
    assert_eq!((args.get("EMPTY"), args.get("mac")), (Some(""), None));
}

#[test]
fn args_unknown_keys_are_refused_unless_ignore_unknown_is_set() {
    let known = ["MAC"];
    for text in ["", "MAC=x", "IgnoreUnknown=true;NOPE=1", "NOPE=1;IgnoreUnknown=1"] {
        CniArgs::parse(text).unwrap().only(&known).unwrap();
    }
    for (text, named) in
        [("NOPE=1", r#"["NOPE=1"]"#), ("IgnoreUnknown=0;MAC=x;NOPE=1;mac=2", r#"["NOPE=1" "mac=2"]"#)]
    {
        let error = CniArgs::parse(text).unwrap().only(&known).unwrap_err();
        assert_eq!(
            (error.code, error.msg),
            (Code::InvalidEnvironment, format!("ARGS: unknown args {named}"))
        );
    }
}

#[test]
fn args_a_malformed_pair_is_refused() {
    for text in ["NOPE", "K=V;NOPE", "K=V=W", "=V"] {
        let error = CniArgs::parse(text).unwrap_err();
        assert!(error.msg.starts_with("ARGS: invalid pair "), "{text}: {error}");
    }
}

#[test]
fn utils_a_container_id_is_checked() {
    for good in ["containerid", "1containerid_.-", "A", "0123456789abcdef0123456789abcdef"] {
        ContainerId::parse(good).unwrap();
    }
    for bad in ["_abc", "-abc", ".abc", "a%b", "a b", "a/b", "abc\n", "ä"] {
        let error = ContainerId::parse(bad).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str(), error.details.contains(bad.trim())),
            (Code::InvalidEnvironment, "invalid characters in containerID", true),
            "{bad:?}"
        );
    }
    let error = ContainerId::parse("").unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (Code::UnknownContainer, "missing containerID"));
}

#[test]
fn utils_a_network_name_is_checked() {
    for good in ["test", "eth-net_0.1", "9"] {
        NetworkName::parse(good).unwrap();
    }
    for bad in ["te%%st", ".hidden", "a/b", "a b", "../up"] {
        let error = NetworkName::parse(bad).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::InvalidConfig, "invalid characters found in network name"),
            "{bad}"
        );
    }
    let error = NetworkName::parse("").unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (Code::InvalidConfig, "missing network name"));
}

#[test]
fn utils_an_interface_name_is_checked() {
    for good in ["eth0", "a", "fifteen-bytes-x", "eth0.100"] {
        IfName::parse(good).unwrap();
    }
    for (bad, msg) in [
        ("", "interface name is empty"),
        ("1234567890123456", "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("tes/t", "interface name contains / or : or whitespace characters"),
        ("tes:t", "interface name contains / or : or whitespace characters"),
        ("tes t", "interface name contains / or : or whitespace characters"),
        ("tes\tt", "interface name contains / or : or whitespace characters"),
    ] {
        let error = IfName::parse(bad).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code::InvalidEnvironment, msg), "{bad:?}");
    }
}

fn conf_version(version: &str) -> Result<Version, CniError> {
    let text = format!(r#"{{"name": "n"{version}}}"#);
    NetConf::parse(text.as_bytes()).map(|conf| conf.cni_version)
}

#[test]
fn version_of_a_conf_is_read_and_defaults_to_0_1_0() {
    assert_eq!(conf_version(r#", "cniVersion": "0.4.0""#), Ok(Version::V0_4_0));
    for missing in ["", r#", "cniVersion": """#, r#", "cniVersion": null"#] {
        assert_eq!(conf_version(missing), Ok(Version::V0_1_0), "{missing}");
    }
}

#[test]
fn version_of_a_conf_that_is_malformed_is_refused() {
    assert_eq!(conf_version(r#", "cniVersion": 4"#).unwrap_err().code, Code::Decoding);
    assert_eq!(NetConf::parse(b"{{{{").unwrap_err().code, Code::Decoding);
    assert_eq!(conf_version(r#", "cniVersion": "1.0""#).unwrap_err().code, Code::IncompatibleVersion);
}

#[test]
fn version_parts_are_numbers_separated_by_dots() {
    for (text, parts) in
        [("1.2.3", (1, 2, 3)), ("1.2", (1, 2, 0)), ("1", (1, 0, 0)), ("", (0, 1, 0)), ("0.3.14", (0, 3, 14))]
    {
        assert_eq!(parse_parts(text), Ok(parts), "{text}");
    }
    for bad in ["asdf.", ".asdf.", ".asdf", "asdf", "0.", "..", "1.2.3.4.5", "1.2.x", "-1.0", "1..2"] {
        assert!(parse_parts(bad).is_err(), "{bad}");
    }
}

#[test]
fn version_order_is_that_of_the_numbers() {
    let known = [("0.3.0", "0.2.0"), ("0.3.1", "0.3.0"), ("1.0.0", "0.4.0"), ("1.1.0", "1.0.0")];
    // As text, 0.10.0 would come before 0.9.0.
    for (greater, less) in known.into_iter().chain([("0.10.0", "0.9.0")]) {
        assert!(parse_parts(greater).unwrap() > parse_parts(less).unwrap(), "{greater} > {less}");
    }
    for (greater, less) in known {
        assert!(greater.parse::<Version>().unwrap() > less.parse::<Version>().unwrap(), "{greater} > {less}");
    }
}

#[test]
fn version_that_a_plugin_does_not_support_is_refused_with_the_list_it_supports() {
    struct Nothing;
    impl cni::plugin::Plugin for Nothing {
        fn about(&self) -> cni::plugin::About {
            cni::plugin::About { text: "nothing", versions: &[Version::V0_3_1, Version::V0_4_0] }
        }
        fn add(
            &self,
            _: &cni::env::Attachment,
            _: &cni::plugin::Call,
        ) -> Result<cni::result::RawResult, CniError> {
            panic!("ADD was called")
        }
        fn del(&self, _: &cni::env::Detachment, _: &cni::plugin::Call) -> Result<(), CniError> {
            panic!("DEL was called")
        }
        fn check(&self, _: &cni::env::Attachment, _: &cni::plugin::Call) -> Result<(), CniError> {
            panic!("CHECK was called")
        }
        fn gc(
            &self,
            _: Option<&[cni::plugin::ValidAttachment]>,
            _: &cni::plugin::Call,
        ) -> Result<(), CniError> {
            panic!("GC was called")
        }
        fn status(&self, _: &cni::plugin::Call) -> Result<(), CniError> {
            panic!("STATUS was called")
        }
    }
    let lookup = |name: &str| match name {
        "CNI_COMMAND" => Some("DEL".to_owned()),
        "CNI_ARGS" => None,
        _ => Some("x".to_owned()),
    };
    let mut stdin: &[u8] = br#"{"name": "n", "cniVersion": "1.0.0"}"#;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let stdin: &mut dyn Read = &mut stdin;
    let code = cni::plugin::run(&Nothing, &lookup, stdin, &mut stdout, &mut stderr);
    assert_eq!(code, ExitCode::FAILURE);
    let error = CniError::from_json(&stdout).unwrap();
    assert_eq!((error.code, error.msg.as_str()), (Code::IncompatibleVersion, "incompatible CNI versions"));
    assert_eq!(error.details, r#"config is "1.0.0", plugin supports ["0.3.1" "0.4.0"]"#);
}

fn prev_result(version: &str, result: Value) -> Result<Option<cni::result::CniResult>, CniError> {
    let conf = json!({"name": "n", "cniVersion": version, "prevResult": result});
    NetConf::parse(conf.to_string().as_bytes()).unwrap().prev_result()
}

#[test]
fn version_prev_result_is_read_in_its_own_version_or_the_confs() {
    let ips = json!([{"address": "10.1.2.3/24", "version": "4"}]);
    for result in [
        json!({"cniVersion": "0.3.1", "ips": ips}),
        json!({"ips": ips}),
        json!({"CNIVersion": "0.4.0", "ips": ips}),
    ] {
        let read = prev_result("0.4.0", result).unwrap().unwrap();
        assert_eq!(read.ips[0].address.to_string(), "10.1.2.3/24");
    }
}

#[test]
fn version_prev_result_of_an_unknown_version_or_shape_is_refused() {
    for bad in [json!({"cniVersion": "5678.456"}), json!({"cniVersion": "0.4.0", "ips": 7}), json!("x")] {
        let error = prev_result("0.4.0", bad.clone()).unwrap_err();
        assert_eq!(error.code, Code::Decoding, "{bad}");
        assert!(error.msg.starts_with("could not parse prevResult: "), "{error}");
    }
}

#[test]
fn version_prev_result_may_be_absent() {
    assert_eq!(prev_result("0.4.0", Value::Null), Ok(None));
}
