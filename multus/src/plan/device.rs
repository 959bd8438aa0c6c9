//! Where a plugin describes the device of an attachment (device information spec 1.1.0).

use std::path::{Path, PathBuf};

use cni::names::{ContainerId, IfName};

/// The folder of the files that plugins write, or get from a device plugin.
const OF_PLUGINS: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni";

/// The folder of the files that device plugins write.
const OF_DEVICE_PLUGINS: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";

/// The device file of one attachment. `label` is the label of the network. Upstream's name, because device plugins know it.
pub(crate) fn device_file(label: &str, container_id: &ContainerId, if_name: &IfName) -> PathBuf {
    let name = format!("{label}-{container_id}_{if_name}").replace('/', "-");
    Path::new(OF_PLUGINS).join(name)
}

/// The file in which a device plugin describes a device of `resource`.
pub(crate) fn device_plugin_file(resource: &str, id: &str) -> PathBuf {
    Path::new(OF_DEVICE_PLUGINS).join(format!("{resource}-{id}-device.json").replace('/', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_has_no_slash() {
        let (id, if_name) = (ContainerId::parse("c1").unwrap(), IfName::parse("net1").unwrap());
        let path = device_file("default/sriov-net", &id, &if_name);
        assert_eq!(path.to_str(), Some("/var/run/k8s.cni.cncf.io/devinfo/cni/default-sriov-net-c1_net1"));
        let path = device_plugin_file("example.com/nic", "../0000:01:00.1");
        let want = "/var/run/k8s.cni.cncf.io/devinfo/dp/example.com-nic-..-0000:01:00.1-device.json";
        assert_eq!(path.to_str(), Some(want));
    }
}
