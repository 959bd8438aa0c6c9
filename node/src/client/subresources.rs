//! Writes of subresources.
//!
//! The API server answers a write with the whole object, 10 KB for a pod. No caller reads it, so each request asks for the object's metadata alone.

use http::HeaderValue;
use http::header::ACCEPT;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::api::ApiClient;
use super::error::ApiError;
use super::exchange::{encode, unreadable};
use super::objects::{patch_of, urls, write};
use super::query::Patch;
use super::resource::{ObjectPath, RequestName, Verb};
use crate::deadline::Deadline;

/// Asks for the metadata of an object, and for the whole object where the server has no such form.
const METADATA: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json",
);

impl ApiClient {
    /// Replaces an object's `status` subresource. For pods this writes annotations too, so the right to update `pods/status` is enough.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the object has changed since; others.
    pub async fn replace_status(
        &self,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        self.replace_subresource("status", object, new, deadline).await
    }

    /// Replaces the `approval` subresource of a certificate signing request. This writes only the conditions `Approved` and `Denied`.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the object has changed since; others.
    pub async fn replace_approval(
        &self,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        self.replace_subresource("approval", object, new, deadline).await
    }

    async fn replace_subresource(
        &self,
        subresource: &'static str,
        object: &ObjectPath,
        new: &impl Serialize,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        let request =
            RequestName { subresource: Some(subresource), ..RequestName::of_object(Verb::Update, object) };
        let body = encode(&request, new)?;
        let name = object.name().as_str();
        let http = urls(object.collection()).replace_subresource(subresource, name, &write(), body);
        let http = http.map_err(|error| unreadable(&request, &error))?;
        self.send_write(request, http, deadline).await
    }

    /// Changes a part of an object's `status` subresource. As with [`replace_status`](Self::replace_status), this changes annotations of pods
    /// too.
    ///
    /// # Errors
    /// As [`patch`](Self::patch).
    pub async fn patch_status(
        &self,
        object: &ObjectPath,
        patch: &Patch,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        let request =
            RequestName { subresource: Some("status"), ..RequestName::of_object(Verb::Patch, object) };
        let http = patch_of(&request, object, patch)?.map_err(|error| unreadable(&request, &error))?;
        self.send_write(request, http, deadline).await
    }

    async fn send_write(
        &self,
        request: RequestName,
        mut http: http::Request<Vec<u8>>,
        deadline: Deadline,
    ) -> Result<(), ApiError> {
        http.headers_mut().insert(ACCEPT, METADATA);
        self.send::<IgnoredAny, http::Error>(request, Ok(http), deadline).await.map(drop)
    }
}
