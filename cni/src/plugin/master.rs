//! The key `master`: the interface below a macvlan or ipvlan link, as configurations name it.

use ipnet::IpNet;
use serde::Deserialize;

/// One way to name an interface. The interface crates look it up in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Master {
    /// `"eth1"`: by name.
    Name(String),
    /// `{"mac": "02:00:00:00:00:01"}`: by MAC address.
    Mac {
        /// The address as written; not checked yet.
        mac: String,
    },
    /// `{"subnet": "10.1.0.0/16"}`: by the subnet of one of its addresses.
    Subnet {
        /// The subnet; host bits are ignored.
        subnet: IpNet,
    },
}

/// The value of `master`, one interface or a list in order of preference. Empty names are left out: they mean no interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Masters(pub Vec<Master>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = r#"expected an interface's name, {"mac": ADDRESS}, {"subnet": ADDRESS/LENGTH}, or a list of these"#
)]
enum Wire {
    One(Master),
    Several(Vec<Master>),
}

impl From<Wire> for Masters {
    fn from(wire: Wire) -> Self {
        let mut masters = match wire {
            Wire::One(master) => vec![master],
            Wire::Several(masters) => masters,
        };
        masters.retain(|master| !matches!(master, Master::Name(name) if name.is_empty()));
        Masters(masters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(text: &str) -> Vec<Master> {
        serde_json::from_str::<Masters>(text).unwrap().0
    }

    #[test]
    fn a_master_is_one_or_a_list_of_names_macs_and_subnets() {
        let name = Master::Name("ens192".into());
        assert_eq!(masters(r#""ens192""#), std::slice::from_ref(&name));
        assert_eq!(
            masters(r#"["ens192",{"mac":"x"},{"subnet":"10.1.0.0/16"}]"#),
            [
                name,
                Master::Mac { mac: "x".into() },
                Master::Subnet { subnet: "10.1.0.0/16".parse().unwrap() }
            ]
        );
    }

    #[test]
    fn empty_names_are_left_out() {
        assert!(masters(r#""""#).is_empty());
        assert!(masters(r#"["",""]"#).is_empty());
    }

    #[test]
    fn other_values_are_errors() {
        for bad in ["7", r#"{"mac":7}"#, r#"{"subnet":"x"}"#, r#"[["eth0"]]"#, "{}"] {
            assert!(serde_json::from_str::<Masters>(bad).is_err(), "{bad}");
        }
    }
}
