//! A MAC address that a pod has again when it is made anew under the same name, as pods of a StatefulSet are.

use std::hash::Hasher;

use cni::args::CniArgs;
use cni::names::IfName;
use cni::{CniError, Code};
use netlink::Mac;
use siphasher::sip::SipHasher24;

/// The address of interface `if_name` of the pod that `CNI_ARGS` names; code 4 where they name none.
pub fn of(args: &CniArgs, if_name: &IfName) -> Result<Mac, CniError> {
    let text = |key: &str| {
        args.get(key).filter(|value| !value.is_empty()).ok_or_else(|| {
            CniError::new(
                Code::InvalidEnvironment,
                format!("\"stableMAC\" needs the pod's name, and CNI_ARGS has no {key}"),
            )
            .with_details(
                "Kubernetes runtimes send it; elsewhere give the address by \"mac\" or CNI_ARGS MAC",
            )
        })
    };
    Ok(derive(text("K8S_POD_NAMESPACE")?, text("K8S_POD_NAME")?, if_name.as_str()))
}

/// Forty-six bits of a hash, made a locally administered unicast address. It must stay the same in every release.
fn derive(namespace: &str, pod: &str, if_name: &str) -> Mac {
    let mut hasher = SipHasher24::new();
    for part in [namespace, pod, if_name] {
        hasher.write(part.as_bytes());
        // No name holds a NUL, so that no two triples are the same bytes.
        hasher.write(&[0]);
    }
    let [first, b, c, d, e, f, ..] = hasher.finish().to_be_bytes();
    Mac([first & 0xfc | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn mac(args: &str) -> Result<Mac, CniError> {
        of(&CniArgs::parse(args).unwrap(), &IfName::parse("net1").unwrap())
    }

    #[test]
    fn the_same_pod_has_the_same_address_in_every_release() {
        let web = mac("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1").unwrap();
        assert_eq!(web, mac("K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop;K8S_POD_UID=2").unwrap());
        assert_eq!(web.to_string(), "de:dd:eb:e8:97:02");
    }

    #[test]
    fn other_names_have_other_addresses_all_of_them_local_and_unicast() {
        let mut seen = HashSet::new();
        for number in 0..1000 {
            for (namespace, pod, if_name) in
                [("a", "bc", "net1"), ("ab", "c", "net1"), ("a", "bc", "net2"), ("a", "b", "cnet1")]
            {
                let mac = derive(namespace, &format!("{pod}-{number}"), if_name);
                assert_eq!(mac.0[0] & 3, 2, "{mac}");
                assert!(seen.insert(mac), "{mac} twice");
            }
        }
    }

    #[test]
    fn without_a_pods_name_it_is_an_error_that_says_so() {
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
