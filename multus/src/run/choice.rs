//! Whether a network kept to what its pod chose.

use cni::result::CniResult;
use cni::{CniError, Code};

use crate::request::{AttachmentRequest, Family};

/// Compares the result of a network with the `routes` and `ipFamilies` of its pod. A plugin of another project may ignore a capability that its
/// configuration declares; then the pod would run without what it asks for.
pub(super) fn check(request: &AttachmentRequest, result: &CniResult) -> Result<(), CniError> {
    let ignored = |key: &str, what: String| {
        let msg = format!(
            "{what}, although the pod chooses {key:?} and the network declares it: its plugins ignore it. Use macvlan or ipvlan of multus-rs\
             , or remove {key:?} from \"capabilities\" and annotation"
        );
        Err(CniError::new(Code::InvalidConfig, msg))
    };
    for route in &request.routes {
        if !result.routes.iter().any(|made| made.dst.trunc() == route.dst) {
            return ignored("routes", format!("the result has no route to {}", route.dst));
        }
    }
    let others = result.ips.iter().map(|ip| ip.address.addr());
    let mut others = others.filter(|ip| !request.families.contains(&Family::of(*ip)));
    match others.next() {
        Some(ip) if !request.families.is_empty() => {
            ignored("ipFamilies", format!("the result has the address {ip}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(request: Value) -> Result<(), String> {
        let text = Value::Array(vec![request]).to_string();
        let element = crate::request::parse(&text, &node::names::DnsLabel::new("default").unwrap()).unwrap();
        let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}], "routes": [{"dst": "10.9.0.0/16"}]});
        let raw = cni::result::RawResult::from_value(result, cni::Version::CURRENT).unwrap();
        check(&element[0].request, &raw.parse().unwrap()).map_err(|e| e.msg)
    }

    #[test]
    fn a_result_without_the_pods_choice_is_refused_and_the_key_is_named() {
        assert_eq!(checked(json!({"name": "a"})), Ok(()));
        assert_eq!(
            checked(json!({"name": "a", "routes": [{"dst": "10.9.0.0/16"}], "ipFamilies": ["IPv4"]})),
            Ok(())
        );
        let routes = checked(json!({"name": "a", "routes": [{"dst": "10.8.0.0/16"}]})).unwrap_err();
        assert!(routes.contains("10.8.0.0/16") && routes.contains("\"routes\""), "{routes}");
        let families = checked(json!({"name": "a", "ipFamilies": ["IPv6"]})).unwrap_err();
        assert!(families.contains("10.1.2.3") && families.contains("\"ipFamilies\""), "{families}");
    }
}
