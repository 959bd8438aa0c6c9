//! A MAC address derived from the pod's name, so that a recreated pod of a StatefulSet has the same one.

use std::hash::Hasher;

use cni::args::CniArgs;
use cni::names::IfName;
use cni::{CniError, Code};
use netlink::Mac;
use siphasher::sip::SipHasher24;

/// The address for interface `if_name` of the pod that `CNI_ARGS` names. Code 4 if they name none.
pub fn derive(args: &CniArgs, if_name: &IfName) -> Result<Mac, CniError> {
    let text = |key: &str| {
        args.get(key).filter(|value| !value.is_empty()).ok_or_else(|| {
            CniError::new(
                Code::InvalidEnvironment,
                format!("\"stableMAC\" needs the pod's name, but CNI_ARGS has no {key}"),
            )
            .with_details(
                "Kubernetes runtimes send it; without Kubernetes set the address by \"mac\" or CNI_ARGS MAC",
            )
        })
    };
    Ok(hash(text("K8S_POD_NAMESPACE")?, text("K8S_POD_NAME")?, if_name.as_str()))
}

/// 46 bits of a hash, as a locally administered unicast address. Must not change between releases: DHCP reservations and switch tables
/// refer to it.
fn hash(namespace: &str, pod: &str, if_name: &str) -> Mac {
    let mut hasher = SipHasher24::new();
    for part in [namespace, pod, if_name] {
        hasher.write(part.as_bytes());
        // Names contain no NUL: with it as a terminator, different names never give the same bytes.
        hasher.write(&[0]);
    }
    let [first, b, c, d, e, f, ..] = hasher.finish().to_be_bytes();
    // Of the first byte, bit 0 marks multicast addresses and bit 1 locally administered ones.
    Mac([first & 0xfc | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn mac(args: &str) -> Result<Mac, CniError> {
        derive(&CniArgs::parse(args).unwrap(), &IfName::parse("net1").unwrap())
    }

    #[test]
    fn the_same_pod_has_the_same_address_in_every_release() {
        let first = mac("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1").unwrap();
        assert_eq!(first, mac("K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop;K8S_POD_UID=2").unwrap());
        assert_eq!(first.to_string(), "de:dd:eb:e8:97:02");
    }

    #[test]
    fn different_names_have_different_locally_administered_unicast_addresses() {
        let mut seen = HashSet::new();
        for number in 0..1000 {
            for (namespace, pod, if_name) in
                [("a", "bc", "net1"), ("ab", "c", "net1"), ("a", "bc", "net2"), ("a", "b", "cnet1")]
            {
                let mac = hash(namespace, &format!("{pod}-{number}"), if_name);
                assert_eq!(mac.0[0] & 3, 2, "{mac}");
                assert!(seen.insert(mac), "{mac} twice");
            }
        }
    }

    #[test]
    fn without_a_pod_name_the_error_names_the_missing_argument() {
        for (args, missing) in [
            ("", "K8S_POD_NAMESPACE"),
            ("K8S_POD_NAMESPACE=a", "K8S_POD_NAME"),
            ("K8S_POD_NAMESPACE=a;K8S_POD_NAME=", "K8S_POD_NAME"),
        ] {
            let error = mac(args).unwrap_err();
            assert_eq!(error.code, Code::InvalidEnvironment);
            assert!(error.msg.ends_with(&format!("CNI_ARGS has no {missing}")), "{error}");
        }
    }
}
