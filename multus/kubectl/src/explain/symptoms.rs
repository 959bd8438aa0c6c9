//! Texts of errors, what they mean and what to do. `docs/troubleshooting.md` has the same list; a test compares both with the sources.

/// What one text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// A part of the text, as it stands in the source.
    pub text: &'static str,
    /// What it means.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// The known texts. The first that is in a message counts, so that a cause comes before what it leads to.
pub const SYMPTOMS: &[Symptom] = &[
    Symptom {
        text: "cannot find a network-attachment-definition (",
        cause: "the annotation names a NetworkAttachmentDefinition that does not exist",
        remedy: "create it, or correct the annotation: without a namespace it means the pod's own",
    },
    Symptom {
        text: "namespace isolation enabled, annotation violates permission",
        cause: "the nodes allow only networks of the pod's own namespace",
        remedy: "create the definition in the pod's namespace, or add its namespace to globalNamespaces on the nodes",
    },
    Symptom {
        text: "which only Antrea's agent attaches (feature gate SecondaryNetwork)",
        cause: "the definition is of CNI type antrea with a networkType, and the default network of the node is not Antrea",
        remedy: "remove the network from the annotation, or choose a node that runs Antrea",
    },
    Symptom {
        text: "failed to unmarshal Spec.Config",
        cause: "spec.config of the definition is not JSON",
        remedy: "correct it; kubectl multus check shows the place",
    },
    Symptom {
        text: "would both get the interface name",
        cause: "two networks of the pod have the same interface name",
        remedy: "give one of them another interface in the annotation",
    },
    Symptom {
        text: "multus does not support ECMP for default-route",
        cause: "the annotation asks for several default gateways of one family",
        remedy: "ask for one IPv4 and one IPv6 gateway at most",
    },
    Symptom {
        text: "failed to lookup master ",
        cause: "the node has no interface of the name in \"master\"; the text lists those that it has",
        remedy: "correct master; for nodes with different cards it can be a list of names, {\"mac\": ..} and {\"subnet\": ..}",
    },
    Symptom {
        text: "no default route interface found",
        cause: "the definition names no master, and the node has no default route",
        remedy: "set master in the definition",
    },
    Symptom {
        text: "must be [0, master MTU(",
        cause: "mtu of the definition is greater than that of the master",
        remedy: "lower mtu, or raise that of the node's interface",
    },
    Symptom {
        text: "chained master failure",
        cause: "the plugin stands behind another one, whose result has no interface or several that could be the master",
        remedy: "set master in the definition",
    },
    Symptom {
        text: "would change them all: use ",
        cause: "all ipvlan links of a master have one mode and flag, and pods of the node use another one already",
        remedy: "use the same mode and flag in all definitions with this master",
    },
    Symptom {
        text: "has no effect: remove it, set the master's address, or use another mode",
        cause: "a macvlan link of mode passthru has the MAC address of its master",
        remedy: "remove mac from the annotation and the definition, or use another mode",
    },
    Symptom {
        text: "ipvlan needs addresses: set ",
        cause: "the definition has no ipam, and ipvlan links of one master differ by their addresses only",
        remedy: "add ipam to the definition",
    },
    Symptom {
        text: "Could not allocate IP in range",
        cause: "the pool is full; the text names the namespaces that hold most addresses",
        remedy: "enlarge the range or remove pods; kubectl multus pools --holders shows who holds what",
    },
    Symptom {
        text: "is in use by another pod; request another address",
        cause: "the pod requests an address that another pod holds; the text names it",
        remedy: "request another address, or remove the other pod",
    },
    Symptom {
        text: "is in none of the network's ranges",
        cause: "the pod requests an address outside of the network's ranges",
        remedy: "request an address inside of them, or one with a prefix length",
    },
    Symptom {
        text: "requested address {ip} cannot be assigned",
        cause: "the pod requests an address that no pod can have",
        remedy: "request another address",
    },
    Symptom {
        text: "no allocated node slice for node",
        cause: "the node has no part of the range yet (node_slice_size)",
        remedy: "see that a whereabouts-daemon leads, and that the range has as many slices as the cluster has nodes",
    },
    Symptom {
        text: "config file not found; it is /etc/cni/net.d/whereabouts.d/whereabouts.conf",
        cause: "the node has no flat file of whereabouts",
        remedy: "install whereabouts on this node",
    },
    Symptom {
        text: "you have not configured the storage engine",
        cause: "no whereabouts-daemon answers on the node, and the flat file names no kubeconfig",
        remedy: "see that the daemon runs on this node",
    },
    Symptom {
        text: "is in use by another host",
        cause: "another host on the wire has the address of the pod",
        remedy: "exclude the address from the range, or find the other host",
    },
    Symptom {
        text: "failed to find plugin ",
        cause: "the node has no file for a plugin that the definition names",
        remedy: "correct the type in the definition, or install the plugin in /opt/cni/bin of every node",
    },
    Symptom {
        text: "incompatible CNI versions",
        cause: "a plugin does not know the cniVersion of the definition",
        remedy: "set cniVersion to \"1.0.0\", or update the plugin",
    },
    Symptom {
        text: "did not answer within its ",
        cause: "a plugin hung and was killed; the text names it",
        remedy: "see what it waits for: its own API server, a lock, DHCP",
    },
    Symptom {
        text: "does not accept the credentials of",
        cause: "the token of the node has expired, or its service account was deleted",
        remedy: "renew the token in the kubeconfig that the text names",
    },
    Symptom {
        text: "lacks a right (403",
        cause: "the service account of the nodes lacks a right, or a policy refuses the request",
        remedy: "apply deploy/rbac; if deploy/node-limits is applied, see its message",
    },
    Symptom {
        text: "the configuration has no kubeconfig with which multus could do without the daemon",
        cause: "no multus-daemon answers on the node",
        remedy: "see that the daemon runs on this node, or name a kubeconfig in the multus configuration",
    },
    Symptom {
        text: "have you checked that your default network is ready?",
        cause: "the default network has not written its readinessindicatorfile",
        remedy: "see why the pods of the default network do not run on this node",
    },
    Symptom {
        text: "interface name {if_name} already exists",
        cause: "a plugin before has made an interface of this name in the pod",
        remedy: "set another interface in the annotation",
    },
    Symptom {
        text: "the sandbox was deleted during its ADD",
        cause: "the runtime gave up on the ADD, which took too long",
        remedy: "none: the runtime tries again; if it repeats, see what is slow in the event before",
    },
    Symptom {
        text: "{expected:?} but got {found:?} from Kube API",
        cause: "another pod of the same name has replaced the pod of this sandbox",
        remedy: "none: the runtime sets up the new pod",
    },
    Symptom {
        text: " does not exist at the API server: it was deleted",
        cause: "the pod was deleted while its networks were set up",
        remedy: "none, if the pod was deleted",
    },
    Symptom {
        text: "record of the sandbox: ",
        cause: "the node cannot write to /var/lib/cni/multus",
        remedy: "see whether the disk is full or read-only",
    },
    Symptom {
        text: "the change may or may not have been made",
        cause: "the API server did not answer in time",
        remedy: "none: the runtime tries again; if it repeats, see how the node reaches the API server",
    },
];

/// What a message means, if one of the known texts is in it.
pub(super) fn find(message: &str) -> Option<&'static Symptom> {
    SYMPTOMS.iter().find(|symptom| symptom.parts().all(|part| message.contains(part)))
}

impl Symptom {
    /// The text without the names of its values: each part is in the message.
    fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.text.split(['{', '}']).step_by(2).filter(|part| !part.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// The crates whose errors are explained.
    const CRATES: &[&str] =
        &["files", "cni", "netlink", "node", "nad", "macvlan", "ipvlan", "whereabouts", "multus"];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// The sources below a folder, without those of this crate, with texts that span several lines in one.
    fn sources(folder: &Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("kubectl") && !path.ends_with("target") {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut parts = text.split("\\\n");
                all.push_str(parts.next().unwrap());
                parts.for_each(|part| all.push_str(part.trim_start()));
            }
        }
    }

    fn all_sources() -> String {
        let mut all = String::new();
        CRATES.iter().for_each(|folder| sources(&root().join(folder), &mut all));
        all
    }

    /// The text as the documentation quotes it.
    fn quoted(symptom: &Symptom) -> String {
        let mut shown = String::new();
        for (at, part) in symptom.text.split(['{', '}']).enumerate() {
            shown.push_str(if at % 2 == 0 { part } else { ".." });
        }
        shown.trim().to_owned()
    }

    #[test]
    fn every_text_stands_in_the_sources() {
        let all = all_sources();
        for Symptom { text, .. } in SYMPTOMS {
            assert!(all.contains(text), "no error has the text {text:?}");
        }
    }

    #[test]
    fn the_documentation_has_every_text_with_its_cause_and_its_remedy() {
        let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
        let rows: Vec<String> = SYMPTOMS
            .iter()
            .map(|symptom| format!("| `{}` | {} | {} |", quoted(symptom), symptom.cause, symptom.remedy))
            .collect();
        for row in &rows {
            assert!(text.contains(row), "docs/troubleshooting.md lacks\n{row}\nof\n{}", rows.join("\n"));
        }
        let table = text.lines().skip_while(|line| !line.starts_with("| the event has |"));
        let of_table = table.take_while(|line| line.starts_with('|')).filter(|line| line.starts_with("| `"));
        let of_table = of_table.count();
        assert_eq!(of_table, rows.len(), "docs/troubleshooting.md has a row that nothing checks");
    }

    #[test]
    fn a_message_is_found_by_all_parts_of_a_text() {
        let message = "x: validateIfName: interface name net1 already exists";
        assert!(find(message).unwrap().cause.starts_with("a plugin before"));
        assert_eq!(find("interface name net1 is wrong"), None);
        assert_eq!(find(""), None);
    }
}
