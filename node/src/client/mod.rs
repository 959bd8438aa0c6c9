//! The API server, asked with checked names only and never without a deadline.
//!
//! One [`ApiClient`] serves plugins that live for milliseconds ([`block_on`]) and daemons alike. Objects are any
//! type that serde can read and write. A request is never repeated here; [`retry`] does that, where it is safe.

mod connect;
mod error;
mod resource;
mod retry;

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

pub use connect::ConnectError;
pub use error::{ApiError, Cause, Credentials, Denial};
pub use resource::{Collection, ObjectPath, RequestName, ResourceKind, Verb};
pub use retry::{OnUnknown, RetryPolicy, retry};

use crate::deadline::Deadline;
use crate::names::{DnsLabel, PodUid};
use error::{Refusal, no_verdict, refused, transport};

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
pub struct ObjectList<T> {
    /// The list's own version, among others.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects.
    pub items: Vec<T>,
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
    pub async fn from_service<S>(service: S, timeouts: Timeouts) -> Self
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
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

    async fn send<T, E>(
        &self,
        request: RequestName,
        http: Result<http::Request<Vec<u8>>, E>,
        deadline: Deadline,
    ) -> Result<T, ApiError>
    where
        T: DeserializeOwned,
        E: std::error::Error,
    {
        let http = http.map_err(|error| unreadable(&request, &error))?;
        let limit = self.request_timeout.min(deadline.remaining());
        if limit.is_zero() {
            return Err(no_verdict(Box::new(request), None, Cause::DeadlinePassed));
        }
        let answer = tokio::time::timeout(limit, self.exchange(http)).await;
        let answer = match answer.unwrap_or(Err(Cause::TimedOut(limit))) {
            Ok(answer) => answer,
            Err(cause) => return Err(no_verdict(Box::new(request), None, cause)),
        };
        if !(200..300).contains(&answer.code) {
            let refusal = Refusal { code: answer.code, after: answer.after, body: &answer.body };
            return Err(refused(request, &refusal, &self.credentials));
        }
        serde_json::from_slice(&answer.body).map_err(|error| unreadable(&request, &error))
    }

    /// Sends a request and reads the whole answer.
    async fn exchange(&self, http: http::Request<Vec<u8>>) -> Result<Answer, Cause> {
        let response = self.client.send(http.map(Body::from)).await.map_err(|error| transport(&error))?;
        let code = response.status().as_u16();
        let after = response
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
        let body = response.into_body().collect_bytes().await;
        let body = body.map_err(|error| Cause::Lost(error::chain(&error)))?.to_vec();
        Ok(Answer { code, after, body })
    }
}

struct Answer {
    code: u16,
    after: Option<Duration>,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
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

fn encode(request: &RequestName, object: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(object).map_err(|error| unreadable(request, &error))
}

fn unreadable(request: &RequestName, error: &dyn std::error::Error) -> ApiError {
    let reason = crate::text::printable(&error.to_string(), 300);
    ApiError::Unreadable { request: Box::new(request.clone()), reason }
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
