//! The annotations of a pod.

/// Names the networks that a pod gets besides the default network (spec 1.3, "Pod Attachment Annotation").
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// Lists the interfaces that a pod got (spec 1.3, "Network Status").
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Names the network that a pod gets in place of the cluster's default network. Multus defines it, not the spec.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
