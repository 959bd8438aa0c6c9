//! Requests about single objects, and lists: one method per verb. Those about subresources are in `subresources`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Request as Urls;
use kube::core::params::{DeleteParams, GetParams, PostParams, Preconditions as KubePreconditions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::ApiClient;
use super::error::ApiError;
use super::exchange::encode;
use super::query::{ListPage, ListQuery, MetadataOnly, ObjectList, Parts, Patch, Preconditions};
use super::resource::{Collection, ObjectPath, RequestName, Verb};
use super::transport::FIELD_MANAGER;
use crate::deadline::Deadline;
use crate::names::PodUid;

impl ApiClient {
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

    /// Reads the metadata of one object. The response stays small, however large the object is.
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

    /// Lists objects.
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
        let http = urls(collection).list(&query.params());
        self.send(request, http, deadline).await
    }

    /// Lists the metadata of objects.
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
        let http = urls(collection).list_metadata(&query.params());
        let list: ObjectList<MetadataOnly> = self.send(request, http, deadline).await?;
        Ok(list.items.into_iter().map(|partial| partial.metadata).collect())
    }

    /// Reads one page of a list. `metadata.continue_` of the result is the token of the next page; it is empty or absent on the last page.
    ///
    /// # Errors
    /// [`ApiError::Gone`] if the token has expired (etcd compacts old versions after some minutes): start with the first page. Others.
    pub async fn list_page<T: DeserializeOwned>(
        &self,
        collection: &Collection,
        query: &ListQuery,
        page: &ListPage,
        deadline: Deadline,
    ) -> Result<ObjectList<T>, ApiError> {
        let request = RequestName::of_collection(Verb::List, collection);
        let mut params = query.params().limit(page.limit);
        if let Some(token) = &page.token {
            params = params.continue_token(token);
            // The token contains the resourceVersion. The API server rejects a request with both (400).
            (params.resource_version, params.version_match) = (None, None);
        }
        let http = match page.parts {
            Parts::Whole => urls(collection).list(&params),
            Parts::Metadata => urls(collection).list_metadata(&params),
        };
        self.send(request, http, deadline).await
    }

    /// Creates an object. If several callers use one name, exactly one of them succeeds.
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
        let http = urls(collection).create(&write(), body);
        self.send(request, http, deadline).await
    }

    /// Replaces an object. `new` contains the resourceVersion that the caller read.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the object has changed since; others.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_object(Verb::Update, object);
        let body = encode(&request, new)?;
        let http = urls(object.collection()).replace(object.name().as_str(), &write(), body);
        self.send(request, http, deadline).await
    }

    /// Changes a part of an object.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with code 422 if a `test` operation of a JSON patch fails; others.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        object: &ObjectPath,
        patch: &Patch,
        deadline: Deadline,
    ) -> Result<T, ApiError> {
        let request = RequestName::of_object(Verb::Patch, object);
        let http = patch_of(&request, object, patch)?;
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
        // The response is the object or a Status, and nobody needs either.
        self.send::<serde::de::IgnoredAny, _>(request, http, deadline).await.map(drop)
    }
}

/// A patch of an object, or of the subresource that `request` names.
pub(super) fn patch_of(
    request: &RequestName,
    object: &ObjectPath,
    patch: &Patch,
) -> Result<http::Result<http::Request<Vec<u8>>>, ApiError> {
    let (content_type, value) = match patch {
        Patch::Merge(value) => ("application/merge-patch+json", value),
        Patch::Json(value) => ("application/json-patch+json", value),
    };
    let body = encode(request, value)?;
    let sub = request.subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
    let path = format!("{}/{}{sub}", object.collection().url_path(), object.name());
    let url = format!("{path}?fieldManager={FIELD_MANAGER}");
    Ok(http::Request::patch(url).header(http::header::CONTENT_TYPE, content_type).body(body))
}

/// The parameters of a create or a replace.
pub(super) fn write() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() }
}

pub(super) fn urls(collection: &Collection) -> Urls {
    Urls::new(collection.url_path())
}
