//! Where a plugin describes the device of an attachment (device information spec 1.1.0).

use std::path::{Path, PathBuf};

use cni::names::{ContainerId, IfName};

const FOLDER: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni";

/// The device file of one attachment. `label` is the label of the network. Upstream's name, because device plugins know it.
pub(crate) fn device_file(label: &str, container_id: &ContainerId, if_name: &IfName) -> PathBuf {
    let name = format!("{label}-{container_id}_{if_name}").replace('/', "-");
    Path::new(FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_has_no_slash() {
        let (id, if_name) = (ContainerId::parse("c1").unwrap(), IfName::parse("net1").unwrap());
        let path = device_file("default/sriov-net", &id, &if_name);
        assert_eq!(path.to_str(), Some("/var/run/k8s.cni.cncf.io/devinfo/cni/default-sriov-net-c1_net1"));
    }
}
