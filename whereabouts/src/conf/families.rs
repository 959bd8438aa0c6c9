//! The address families that a pod chooses, if its network declares the capability `ipFamilies`.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::error::{ConfError, JsonFile, wrong_type};
use super::resolved::Conf;

/// The families that a pod chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Both, or none: it gets an address of each range.
    All,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Families {
    /// Reads `runtimeConfig.ipFamilies`, a list of `IPv4` and `IPv6`.
    ///
    /// # Errors
    /// [`ConfError::Json`].
    pub fn of(runtime_config: &Map<String, Value>) -> Result<Self, ConfError> {
        let wrong =
            || wrong_type(JsonFile::Network, "runtimeConfig.ipFamilies", "a list of \"IPv4\" and \"IPv6\"");
        let names = match runtime_config.get("ipFamilies") {
            None | Some(Value::Null) => return Ok(Self::All),
            Some(Value::Array(names)) => names,
            Some(_) => return Err(wrong()),
        };
        if !names.iter().all(|name| name == "IPv4" || name == "IPv6") {
            return Err(wrong());
        }
        let has = |name: &str| names.iter().any(|one| one == name);
        Ok(match (has("IPv4"), has("IPv6")) {
            (true, false) => Self::V4,
            (false, true) => Self::V6,
            (true, true) | (false, false) => Self::All,
        })
    }

    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::All => "IPv4 or IPv6",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Conf {
    /// The network without the ranges, addresses and routes of other families.
    ///
    /// # Errors
    /// [`ConfError::NoSuchFamily`] if nothing is left.
    pub fn of_families(mut self, families: Families) -> Result<Self, ConfError> {
        self.ranges.retain(|range| families.has(range.net.addr()));
        self.addresses.retain(|fixed| families.has(fixed.address.addr()));
        self.routes.retain(|route| families.has(route.dst.addr()));
        if self.ranges.is_empty() && self.addresses.is_empty() {
            return Err(ConfError::NoSuchFamily { wanted: families.text() });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::path::Path;

    use super::*;
    use crate::conf::{FlatFile, Network};

    fn limited(ranges: &[&str], families: Value) -> Result<Conf, ConfError> {
        let ranges: Vec<Value> = ranges.iter().map(|range| json!({ "range": range })).collect();
        let routes = json!([{"dst": "10.9.0.0/16"}, {"dst": "fd09::/64"}]);
        let conf = json!({"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "whereabouts", "ipRanges": ranges, "routes": routes,
            "gateway": "10.1.0.1", "kubernetes": {"kubeconfig": "/etc/cni/net.d/x"}}});
        let flat = FlatFile { path: Path::new("/flat"), bytes: b"{}" };
        let conf = Network::parse(conf.as_object().unwrap()).unwrap().complete(Some(flat)).unwrap();
        let runtime_config = json!({ "ipFamilies": families });
        conf.of_families(Families::of(runtime_config.as_object().unwrap())?)
    }

    fn shown(conf: &Conf) -> (Vec<String>, Vec<String>) {
        let ranges = conf.ranges.iter().map(|range| range.net.to_string()).collect();
        (ranges, conf.routes.iter().map(|route| route.dst.to_string()).collect())
    }

    #[test]
    fn a_pod_gets_addresses_and_routes_of_the_families_that_it_chooses() {
        let dual = ["10.1.0.0/24", "fd01::/64"];
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (v4, v6) =
            ((texts(&dual[..1]), texts(&["10.9.0.0/16"])), (texts(&dual[1..]), texts(&["fd09::/64"])));
        let both = (texts(&dual), texts(&["10.9.0.0/16", "fd09::/64"]));
        for (families, want) in [
            (json!(["IPv4"]), v4),
            (json!(["IPv6"]), v6),
            (json!(["IPv6", "IPv4"]), both.clone()),
            (json!([]), both.clone()),
            (json!(null), both),
        ] {
            assert_eq!(shown(&limited(&dual, families.clone()).unwrap()), want, "{families}");
        }
    }

    #[test]
    fn a_family_that_the_network_lacks_is_refused_and_named() {
        let error = limited(&["10.1.0.0/24"], json!(["IPv6"])).unwrap_err();
        assert!(error.to_string().contains("family IPv6 (ipFamilies)"), "{error}");
        for wrong in [json!("IPv4"), json!(["ipv4"]), json!([4])] {
            let error = limited(&["10.1.0.0/24"], wrong).unwrap_err().to_string();
            assert!(error.contains("runtimeConfig.ipFamilies"), "{error}");
        }
    }
}
