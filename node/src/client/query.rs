//! Parameters and results of requests.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::core::params::ListParams;
use serde::Deserialize;
use serde_json::Value;

use crate::names::PodUid;

/// How current a list must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever the API server has in its watch cache (`resourceVersion=0`): cheap, possibly out of date.
    Cached,
    /// Everything written before the request (no `resourceVersion`). The API server may wait until its cache has caught up with etcd.
    Latest,
}

/// Which objects to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// How current the list must be.
    pub freshness: Freshness,
    /// A label selector, such as `app=web`.
    pub labels: Option<String>,
    /// A field selector, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
}

impl ListQuery {
    /// Selects all objects of the collection.
    pub const fn all(freshness: Freshness) -> Self {
        Self { freshness, labels: None, fields: None }
    }

    pub(super) fn params(&self) -> ListParams {
        let params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            ..Default::default()
        };
        match self.freshness {
            Freshness::Cached => params.match_any(),
            Freshness::Latest => params,
        }
    }
}

/// How much of each object to transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The whole object.
    Whole,
    /// Its metadata only, as [`MetadataOnly`] reads it.
    Metadata,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The largest number of objects in the page. The API server may ignore it.
    pub limit: u32,
    /// `metadata.continue` of the page before, or `None` for the first page.
    pub token: Option<String>,
    /// How much of each object to transfer.
    pub parts: Parts,
}

/// The response to a list request.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct ObjectList<T> {
    /// The resourceVersion of the list, and the token of the next page.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects. The API server writes an empty list of metadata as `null`.
    #[serde(deserialize_with = "null_is_empty")]
    pub items: Vec<T>,
}

fn null_is_empty<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object of which only the metadata was requested (`PartialObjectMetadata`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MetadataOnly {
    /// Name, labels, annotations, versions.
    pub metadata: ObjectMeta,
}

/// A change to a part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: sets the given keys, and removes those whose value is null.
    Merge(Value),
    /// RFC 6902: a list of operations. If one fails, none is applied.
    Json(Value),
}

/// Conditions of a deletion. Without any, the name alone decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// The object has this UID: it is not a later object of the same name.
    pub uid: Option<PodUid>,
    /// The object has not changed since this resourceVersion.
    pub resource_version: Option<String>,
}
