//! The API server, asked with checked names only and never without a deadline.
//!
//! One [`ApiClient`] serves plugins that live for milliseconds ([`block_on`]) and daemons alike. Objects are any
//! type that serde can read and write. A request is never repeated here; [`retry`] does that, where it is safe, and
//! [`reflect`] for ever.

mod connect;
mod error;
mod exchange;
mod lines;
mod mirror;
mod reflect;
mod resource;
mod retry;
mod watch;

use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::client::Body;
use kube::core::Request as Urls;
use kube::core::params::{
    DeleteParams, GetParams, ListParams, PostParams, Preconditions as KubePreconditions,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use connect::{ConnectError, namespace_in};
pub use error::{ApiError, Cause, Credentials, Denial};
pub use mirror::{Applied, Mirror};
pub use reflect::{Change, Selection, reflect};
pub use resource::{Collection, ObjectPath, RequestName, ResourceKind, Verb};
pub use retry::{OnUnknown, RetryPolicy, retry};
pub use watch::{ListPage, Parts, WatchEvent, WatchQuery};

use crate::deadline::Deadline;
use crate::names::{DnsLabel, PodUid};
use exchange::encode;

/// How long to wait for the API server at most, whatever the caller's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included. Default 5 s.
    pub connect: Duration,
    /// For one request and its answer. Default 15 s.
    pub request: Duration,
}

/// How current a list must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What the API server has in its cache: cheap, possibly some moments old.
    Cached,
    /// Everything written before the call. May wait for the server's cache to catch up.
    Latest,
}

/// Which objects to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// How current.
    pub freshness: Freshness,
    /// Only those with these labels, such as `app=web`.
    pub labels: Option<String>,
    /// Only those with these fields, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
}

impl ListQuery {
    /// All of them.
    pub const fn all(freshness: Freshness) -> Self {
        Self { freshness, labels: None, fields: None }
    }
}

/// What a list answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct ObjectList<T> {
    /// The list's own version, among others.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects. The API server writes an empty list of metadata as `null`.
    #[serde(deserialize_with = "null_is_none")]
    pub items: Vec<T>,
}

fn null_is_none<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A change to a part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: the given keys are set, or removed where null.
    Merge(Value),
    /// RFC 6902: a list of operations, each of which must hold.
    Json(Value),
}

/// What must still hold of an object for it to be deleted. Without any, the name alone decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// It is this very object, not a later one of the same name.
    pub uid: Option<PodUid>,
    /// It has not changed since this version.
    pub resource_version: Option<String>,
}

/// A connection to the API server. Clones share it.
#[derive(Clone)]
pub struct ApiClient {
    client: kube::Client,
    namespace: Option<DnsLabel>,
    credentials: Credentials,
    request_timeout: Duration,
}

impl fmt::Debug for ApiClient {
    /// Without anything secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// Reads the credentials; connects with the first request. A token in a file is read now, and again at
    /// least every minute. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(credentials: Credentials, timeouts: Timeouts) -> Result<Self, ConnectError> {
        connect::connect(credentials, timeouts).await
    }

    /// A client whose requests go to `service`, for tests that inject faults. Must run inside a tokio runtime.
    pub async fn from_service<S, B>(service: S, timeouts: Timeouts) -> Self
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let client = kube::Client::new(service, "default");
        Self::assemble(client, None, Credentials::InCluster, timeouts.request)
    }

    const fn assemble(
        client: kube::Client,
        namespace: Option<DnsLabel>,
        credentials: Credentials,
        request_timeout: Duration,
    ) -> Self {
        Self { client, namespace, credentials, request_timeout }
    }

    /// The namespace of the kubeconfig's current context, or the pod's own.
    pub const fn namespace(&self) -> Option<&DnsLabel> {
        self.namespace.as_ref()
    }

    /// Whose credentials are used.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Reads one object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_object(Verb::Get, object);
        let http = urls(object.collection()).get(object.name().as_str(), &GetParams::default());
        self.send(request, http, deadline).await
    }

    /// Reads one object's metadata only, which costs the same whatever the object's size.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_metadata(
        &self,
        object: &ObjectPath,
        deadline: Deadline,
    ) -> Result<ObjectMeta, ApiError> {
        let request = RequestName::of_object(Verb::Get, object);
        let http = urls(object.collection()).get_metadata(object.name().as_str(), &GetParams::default());
        let partial: MetadataOnly = self.send(request, http, deadline).await?;
        Ok(partial.metadata)
    }

    /// Reads many objects.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        collection: &Collection,
        query: &ListQuery,
        deadline: Deadline,
    ) -> Result<ObjectList<T>, ApiError> {
        let request = RequestName::of_collection(Verb::List, collection);
        let http = urls(collection).list(&list_params(query));
        self.send(request, http, deadline).await
    }

    /// Reads many objects' metadata only.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list_metadata(
        &self,
        collection: &Collection,
        query: &ListQuery,
        deadline: Deadline,
    ) -> Result<Vec<ObjectMeta>, ApiError> {
        let request = RequestName::of_collection(Verb::List, collection);
        let http = urls(collection).list_metadata(&list_params(query));
        let list: ObjectList<MetadataOnly> = self.send(request, http, deadline).await?;
        Ok(list.items.into_iter().map(|partial| partial.metadata).collect())
    }

    /// Makes an object. Of several callers with one name exactly one succeeds.
    ///
    /// # Errors
    /// [`ApiError::AlreadyExists`] if the name is taken; others.
    pub async fn create<T: DeserializeOwned>(
        &self,
        collection: &Collection,
        object: &impl Serialize,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_collection(Verb::Create, collection);
        let body = encode(&request, object)?;
        let http = urls(collection).create(&PostParams::default(), body);
        self.send(request, http, deadline).await
    }

    /// Replaces an object; `new` carries the `resourceVersion` it was read with.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if it has changed since; others.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_object(Verb::Update, object);
        let body = encode(&request, new)?;
        let http = urls(object.collection()).replace(object.name().as_str(), &PostParams::default(), body);
        self.send(request, http, deadline).await
    }

    /// Replaces an object's `status` subresource; for pods this writes annotations too, with the right to
    /// `pods/status` alone.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if it has changed since; others.
    pub async fn replace_status<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request =
            RequestName { subresource: Some("status"), ..RequestName::of_object(Verb::Update, object) };
        let body = encode(&request, new)?;
        let name = object.name().as_str();
        let http =
            urls(object.collection()).replace_subresource("status", name, &PostParams::default(), body);
        self.send(request, http, deadline).await
    }

    /// Changes a part of an object.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with code 422 if a `test` of a JSON patch does not hold; others.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        patch: &Patch,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_object(Verb::Patch, object);
        let (content_type, value) = match patch {
            Patch::Merge(value) => ("application/merge-patch+json", value),
            Patch::Json(value) => ("application/json-patch+json", value),
        };
        let body = encode(&request, value)?;
        let url = format!("{}/{}", object.collection().url_path(), object.name());
        let http = http::Request::patch(url).header(http::header::CONTENT_TYPE, content_type).body(body);
        self.send(request, http, deadline).await
    }

    /// Deletes an object at once, if the preconditions hold.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]; [`ApiError::Conflict`] if a precondition does not hold; others.
    pub async fn delete(
        &self,
        object: &ObjectPath,
        preconditions: &Preconditions,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        let request = RequestName::of_object(Verb::Delete, object);
        let preconditions = KubePreconditions {
            uid: preconditions.uid.as_ref().map(PodUid::to_string),
            resource_version: preconditions.resource_version.clone(),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        let http = urls(object.collection()).delete(object.name().as_str(), &params);
        // The answer is the object or a Status; neither matters.
        self.send::<serde::de::IgnoredAny, _>(request, http, deadline).await.map(drop)
    }
}

/// What a list or watch of [`Parts::Metadata`] carries of each object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MetadataOnly {
    /// Name, labels, annotations, versions.
    pub metadata: ObjectMeta,
}

fn urls(collection: &Collection) -> Urls {
    Urls::new(collection.url_path())
}

fn list_params(query: &ListQuery) -> ListParams {
    let params = ListParams {
        label_selector: query.labels.clone(),
        field_selector: query.fields.clone(),
        ..Default::default()
    };
    match query.freshness {
        Freshness::Cached => params.match_any(),
        Freshness::Latest => params,
    }
}

/// The work did not end.
#[derive(Debug, thiserror::Error)]
pub enum BlockOnError {
    /// The deadline passed. What was under way was dropped where it stood.
    #[error("the operation took longer than {:.1} s and was given up", .0.as_secs_f64())]
    DeadlinePassed(Duration),
    /// The kernel gave no epoll or timer.
    #[error("cannot start the runtime: {0}; see the limits on open files")]
    Runtime(#[from] std::io::Error),
}

/// Runs `work` on a runtime of this thread's own, until `deadline` at most. For plugins.
///
/// # Errors
/// [`BlockOnError`].
pub fn block_on<T>(deadline: Deadline, work: impl Future<Output = T>) -> Result<T, BlockOnError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let limit = deadline.remaining();
    let result = runtime.block_on(async { tokio::time::timeout(limit, work).await });
    // Name resolution runs on a thread of its own that must not be waited for.
    runtime.shutdown_background();
    result.map_err(|_| BlockOnError::DeadlinePassed(limit))
}

#[cfg(test)]
mod tests;
