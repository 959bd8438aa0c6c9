//! `NodeSlicePool`: which node has which slice of a range.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

/// `NodeSlicePool`: which node has which slice of a range.
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
    /// What is cut, and how.
    #[serde(default)]
    pub spec: NodeSlicePoolSpec,
    /// Whose is what.
    #[serde(default)]
    pub status: NodeSlicePoolStatus,
}

/// What is cut, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlicePoolSpec {
    /// The range, without host bits.
    #[serde(default)]
    pub range: String,
    /// The prefix length of a slice, as it was typed: "/22" or "22".
    #[serde(default)]
    pub slice_size: String,
}

/// The slices of the nodes. It is a plain field, not a subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSlicePoolStatus {
    /// In order; Whereabouts lists the free ones too.
    #[serde(default)]
    pub allocations: Vec<NodeSlice>,
}

/// One slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlice {
    /// The node; empty where the slice is free.
    #[serde(default)]
    pub node_name: String,
    /// The slice, without host bits.
    #[serde(default)]
    pub slice_range: String,
}
