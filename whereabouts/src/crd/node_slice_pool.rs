//! `NodeSlicePool`: the slices of a range and the nodes that they belong to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

/// The resource kind of `NodeSlicePool`.
pub const NODE_SLICE_POOLS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "nodeslicepools");

/// The slices of one network's range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlicePool {
    /// API version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Name, owners.
    pub metadata: ObjectMeta,
    /// The range and the size of its slices.
    #[serde(default)]
    pub spec: NodeSlicePoolSpec,
    /// The nodes' slices.
    #[serde(default)]
    pub status: NodeSlicePoolStatus,
}

/// The range and the size of its slices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlicePoolSpec {
    /// The range, without host bits.
    #[serde(default)]
    pub range: String,
    /// The prefix length of a slice, as configured: "/22" or "22".
    #[serde(default)]
    pub slice_size: String,
}

/// The nodes' slices. The definition has no status subresource: a write of the object writes this field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSlicePoolStatus {
    /// Sorted by address. Whereabouts lists free slices too.
    #[serde(default)]
    pub allocations: Vec<NodeSlice>,
}

/// One slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlice {
    /// The node; empty if the slice is free.
    #[serde(default)]
    pub node_name: String,
    /// The slice, without host bits.
    #[serde(default)]
    pub slice_range: String,
}
