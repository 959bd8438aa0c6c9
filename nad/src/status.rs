//! The annotation [`NETWORK_STATUS`](crate::NETWORK_STATUS) (spec 1.3, "Network Status"), byte for byte as Multus writes it.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

/// One interface of one network. The order of the fields is the order in the annotation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkStatus {
    /// The network: `<namespace>/<name>` of its definition, or the name in its configuration.
    pub name: String,
    /// The interface in the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The addresses, without a prefix length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU in bytes; 0 is unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Whether the pod's address for Kubernetes is on it.
    #[serde(skip_serializing_if = "is_false")]
    pub default: bool,
    /// Name resolution on this network. Present even if it is empty.
    pub dns: Dns,
    /// The description of the device (device information spec 1.1.0).
    #[serde(rename = "device-info", skip_serializing_if = "Option::is_none")]
    pub device_info: Option<Map<String, Value>>,
    /// The gateways of the default routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}

/// Name resolution on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// The addresses of the name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The domains to search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// The value of the annotation, from entries or from JSON objects that are entries. `None` without entries: Multus leaves the annotation as it
/// is then.
pub fn render<T: Serialize>(entries: &[T]) -> Option<String> {
    if entries.is_empty() {
        return None;
    }
    // Multus indents each entry on its own and joins the entries without a space.
    let texts: Vec<String> = entries.iter().filter_map(pretty).collect();
    Some(escape_html(&format!("[{}]", texts.join(","))))
}

/// `entry` as JSON with an indent of four spaces. Never `None`: only a map whose keys are not strings cannot be written to memory.
fn pretty(entry: &impl Serialize) -> Option<String> {
    let mut out = Vec::new();
    entry.serialize(&mut Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "))).ok()?;
    String::from_utf8(out).ok()
}

/// Escapes the characters that Go's JSON encoder escapes and ours does not. Outside of strings JSON has none of them.
fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            other => out.push(other),
        }
    }
    out
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !b
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_has_its_place() {
        let device = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:01:00.0"}});
        let entry = NetworkStatus {
            name: "n".into(),
            interface: "net1".into(),
            ips: vec!["fd00::1".into()],
            mac: "02:00:00:00:00:01".into(),
            mtu: 1400,
            default: true,
            dns: Dns {
                nameservers: vec!["1.1.1.1".into()],
                domain: "d".into(),
                search: vec!["s".into()],
                options: vec!["o".into()],
            },
            device_info: device.as_object().cloned(),
            gateway: vec!["fd00::ff".into()],
        };
        let want = r#"[{
    "name": "n",
    "interface": "net1",
    "ips": [
        "fd00::1"
    ],
    "mac": "02:00:00:00:00:01",
    "mtu": 1400,
    "default": true,
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "domain": "d",
        "search": [
            "s"
        ],
        "options": [
            "o"
        ]
    },
    "device-info": {
        "type": "pci",
        "version": "1.1.0",
        "pci": {
            "pci-address": "0000:01:00.0"
        }
    },
    "gateway": [
        "fd00::ff"
    ]
}]"#;
        assert_eq!(render(&[entry]).unwrap(), want);
    }

    #[test]
    fn empty_values_are_left_out_but_for_name_and_dns() {
        let entry = |name: &str| NetworkStatus { name: name.into(), ..NetworkStatus::default() };
        let want = "[{\n    \"name\": \"a\",\n    \"dns\": {}\n},{\n    \"name\": \"\",\n    \"dns\": {}\n}]";
        assert_eq!(render(&[entry("a"), entry("")]).unwrap(), want);
        assert_eq!(render::<NetworkStatus>(&[]), None);
    }

    #[test]
    fn characters_are_escaped_as_go_does() {
        let entry = NetworkStatus { name: "a<b>&c\u{2028}".into(), ..NetworkStatus::default() };
        assert!(render(&[entry]).unwrap().contains(r#""name": "a\u003cb\u003e\u0026c\u2028""#));
    }
}
