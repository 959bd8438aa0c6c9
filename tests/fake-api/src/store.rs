//! Objects, all their earlier versions, and which write is allowed.

use std::collections::BTreeMap;
use std::ops::{Bound, Deref};
use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::patch::{self, PatchError};

/// An object. Clones share it.
#[derive(Clone, Debug)]
pub struct Object(Arc<Encoded>);

/// Its JSON is made once, because lists and watches send it many times.
#[derive(Debug)]
struct Encoded {
    value: Value,
    whole: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

impl From<Value> for Object {
    fn from(value: Value) -> Self {
        Object(Arc::new(Encoded { value, whole: OnceLock::new(), metadata: OnceLock::new() }))
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.value
    }
}

impl Object {
    /// All of it, as JSON.
    pub fn whole(&self) -> &Bytes {
        self.0.whole.get_or_init(|| self.to_string().into())
    }

    /// Its metadata, as JSON.
    pub fn metadata(&self) -> &Bytes {
        self.0.metadata.get_or_init(|| {
            let partial = json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": self["metadata"],
            });
            partial.to_string().into()
        })
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Plural and group, such as `pods` or `leases.coordination.k8s.io`.
    pub kind: String,
    /// Empty for kinds without namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key; `namespace` is empty for kinds without namespaces.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Key { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A write that changed an object.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The store's revision after it.
    pub revision: u64,
    /// Which object.
    pub key: Key,
    /// The object before; `None` if this created it.
    pub before: Option<Object>,
    /// The object after; `None` if this deleted it.
    pub after: Option<Object>,
}

/// The endpoint that a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The object's own.
    Object,
    /// Its `status` subresource.
    Status,
    /// Its `approval` subresource.
    Approval,
}

/// Why the server refuses a request. Each becomes a `Status` object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum StatusError {
    #[error("{0} not found")]
    NotFound(String),
    #[error("{0} already exists")]
    AlreadyExists(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Invalid(String),
    #[error("too old resource version")]
    Expired,
    #[error("{0}")]
    BadRequest(String),
    #[error("{0} is not supported here")]
    MethodNotAllowed(String),
    #[error("the body of the request was in an unknown format: {0:?}")]
    UnsupportedMediaType(String),
}

impl StatusError {
    /// HTTP status code and reason.
    pub const fn code(&self) -> (u16, &'static str) {
        match self {
            StatusError::NotFound(_) => (404, "NotFound"),
            StatusError::AlreadyExists(_) => (409, "AlreadyExists"),
            StatusError::Conflict(_) => (409, "Conflict"),
            StatusError::Expired => (410, "Expired"),
            StatusError::Invalid(_) => (422, "Invalid"),
            StatusError::BadRequest(_) => (400, "BadRequest"),
            StatusError::MethodNotAllowed(_) => (405, "MethodNotAllowed"),
            StatusError::UnsupportedMediaType(_) => (415, "UnsupportedMediaType"),
        }
    }
}

/// What a deletion requires of the object; `None` requires nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Its UID.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
}

struct Version {
    revision: u64,
    object: Option<Object>,
}

/// Receives each commit, in order.
pub type Observer = Box<dyn FnMut(&Commit) + Send>;

/// Removes from an object what the schema of its kind does not contain.
pub type Pruning = Box<dyn Fn(&mut Value) + Send>;

/// The objects.
pub struct Store {
    revision: u64,
    /// Lists and watches cannot begin at an earlier revision.
    oldest: u64,
    versions: BTreeMap<Key, Vec<Version>>,
    commits: Vec<Commit>,
    pruning: BTreeMap<String, Pruning>,
    observer: Observer,
}

/// The kinds whose `status` only the `status` endpoint writes. Of the custom resources that we use none has this endpoint.
const WITH_STATUS: [&str; 4] = [WITH_APPROVAL, "nodes", "pods", "resourceclaims.resource.k8s.io"];

/// The kind that has the `approval` endpoint. That writes the conditions, and no certificate.
const WITH_APPROVAL: &str = "certificatesigningrequests.certificates.k8s.io";

impl Store {
    /// An empty store.
    pub fn new(observer: Observer) -> Self {
        // Not 0: resourceVersion=0 in a request means any cached version.
        let first = 100;
        Store {
            revision: first,
            oldest: first,
            versions: BTreeMap::new(),
            commits: Vec::new(),
            pruning: BTreeMap::new(),
            observer,
        }
    }

    /// The latest revision.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Compacts the store: lists and watches can no longer begin before `revision`.
    pub fn compact(&mut self, revision: u64) {
        self.oldest = self.oldest.max(revision.min(self.revision));
    }

    /// The object.
    pub fn get(&self, key: &Key) -> Result<Object, StatusError> {
        self.get_at(key, self.revision)
    }

    /// The object as it was at `revision`.
    pub fn get_at(&self, key: &Key, revision: u64) -> Result<Object, StatusError> {
        let versions = self.versions.get(key);
        let found = versions.and_then(|versions| at(versions, revision));
        found.ok_or_else(|| StatusError::NotFound(format!("{} {:?}", key.kind, key.name)))
    }

    /// The objects of a kind, in one namespace or in all, as they were at `revision`, in order of namespace and name.
    pub fn list_at(&self, kind: &str, namespace: Option<&str>, revision: u64) -> Vec<(Key, Object)> {
        let from = Key::new(kind, namespace.unwrap_or_default(), "");
        let all = self.versions.range((Bound::Included(from), Bound::Unbounded));
        let wanted =
            |key: &Key| key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace);
        let all = all.take_while(|(key, _)| wanted(key));
        all.filter_map(|(key, versions)| Some((key.clone(), at(versions, revision)?))).collect()
    }

    /// Whether a list or watch can still begin at `revision`.
    pub fn check_age(&self, revision: u64) -> Result<(), StatusError> {
        if revision < self.oldest { Err(StatusError::Expired) } else { Ok(()) }
    }

    /// The commits after `revision`.
    pub fn commits_after(&self, revision: u64) -> &[Commit] {
        let first = self.commits.partition_point(|commit| commit.revision <= revision);
        &self.commits[first..]
    }

    /// From now on, writes of this kind drop what its CustomResourceDefinition does not contain.
    pub fn prune(&mut self, kind: &str, pruning: impl Fn(&mut Value) + Send + 'static) {
        self.pruning.insert(kind.to_owned(), Box::new(pruning));
    }

    /// Writes an object for a test, whatever there is. The object may choose its UID; its name and namespace are the key's.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Object {
        let before = self.get(key).ok();
        let chosen = object["metadata"]["uid"].as_str().map(str::to_owned);
        let uid = chosen.or_else(|| before.as_ref().map(|before| uid(before).to_owned()));
        let uid = uid.unwrap_or_else(|| self.new_uid());
        object["metadata"]["name"] = json!(key.name);
        self.write(key, before, object, &uid)
    }

    /// Creates an object. Its name is in `object`.
    pub fn create(&mut self, kind: &str, namespace: &str, object: Value) -> Result<Object, StatusError> {
        if !object.is_object() {
            return Err(StatusError::BadRequest("the body must be an object".to_owned()));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(StatusError::Invalid("metadata.name: Required value: name is required".to_owned()));
        }
        let key = Key::new(kind, namespace, name);
        check_namespace(&key, &object)?;
        if self.get(&key).is_ok() {
            return Err(StatusError::AlreadyExists(format!("{kind} {name:?}")));
        }
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(StatusError::BadRequest(text.to_owned()));
        }
        let uid = self.new_uid();
        Ok(self.write(&key, None, object, &uid))
    }

    /// Replaces an object if it still has the resourceVersion in `object`. Only kinds of the core group allow an `object` without one.
    pub fn replace(
        &mut self,
        key: &Key,
        endpoint: Endpoint,
        mut object: Value,
    ) -> Result<Object, StatusError> {
        let has_status = WITH_STATUS.contains(&key.kind.as_str());
        match endpoint {
            Endpoint::Status if !has_status => {
                return Err(StatusError::NotFound(format!("the status of {}", key.kind)));
            }
            Endpoint::Approval if key.kind != WITH_APPROVAL => {
                return Err(StatusError::NotFound(format!("the approval of {}", key.kind)));
            }
            Endpoint::Object | Endpoint::Status | Endpoint::Approval => {}
        }
        let before = self.get(key)?;
        if object["metadata"]["name"].as_str() != Some(&key.name) {
            return Err(StatusError::BadRequest("the name of the object does not match the URL".to_owned()));
        }
        check_namespace(key, &object)?;
        match object["metadata"]["resourceVersion"].as_str().unwrap_or_default() {
            "" if key.kind.contains('.') => {
                let text = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
                return Err(StatusError::Invalid(text.to_owned()));
            }
            "" => {}
            carried if Some(carried) == version(&before) => {}
            _ => return Err(modified(key)),
        }
        let uid = uid(&before);
        if object["metadata"]["uid"].as_str().is_some_and(|carried| !carried.is_empty() && carried != uid) {
            return Err(modified(key));
        }
        match endpoint {
            Endpoint::Object if has_status => keep("status", &before, &mut object),
            Endpoint::Object => {}
            Endpoint::Status => keep("spec", &before, &mut object),
            Endpoint::Approval => {
                keep("spec", &before, &mut object);
                keep("certificate", &before["status"], &mut object["status"]);
                check_approval(&object)?;
            }
        }
        Ok(self.write(key, Some(before.clone()), object, uid))
    }

    /// Changes an object by a merge patch. A resourceVersion in the patch must be the object's.
    pub fn merge_patch(
        &mut self,
        key: &Key,
        endpoint: Endpoint,
        patch: &Value,
    ) -> Result<Object, StatusError> {
        let carried = patch["metadata"]["resourceVersion"].as_str();
        let mut object = (*self.get(key)?).clone();
        if carried.is_some() && carried != version(&object) {
            return Err(modified(key));
        }
        patch::merge(&mut object, patch);
        self.replace(key, endpoint, object)
    }

    /// Changes an object by a JSON patch.
    pub fn json_patch(
        &mut self,
        key: &Key,
        endpoint: Endpoint,
        patch: &Value,
    ) -> Result<Object, StatusError> {
        let mut object = (*self.get(key)?).clone();
        patch::json(&mut object, patch).map_err(|error| match error {
            PatchError::Malformed(text) => StatusError::BadRequest(text),
            PatchError::DoesNotApply(text) => StatusError::Invalid(text),
        })?;
        self.replace(key, endpoint, object)
    }

    /// Deletes an object if the preconditions hold.
    pub fn delete(&mut self, key: &Key, preconditions: &Preconditions) -> Result<Object, StatusError> {
        let before = self.get(key)?;
        let holds = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        if !holds(&preconditions.uid, Some(uid(&before))) {
            return Err(StatusError::Conflict("Precondition failed: UID in precondition".to_owned()));
        }
        if !holds(&preconditions.resource_version, version(&before)) {
            let text = "Precondition failed: ResourceVersion in precondition";
            return Err(StatusError::Conflict(text.to_owned()));
        }
        self.commit(key, Some(before.clone()), None);
        Ok(before)
    }

    fn new_uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012}", self.revision + 1)
    }

    /// Writes an object that may be written.
    fn write(&mut self, key: &Key, before: Option<Object>, mut object: Value, uid: &str) -> Object {
        if let Some(pruning) = self.pruning.get(&key.kind) {
            pruning(&mut object);
        }
        let metadata = &mut object["metadata"];
        if !key.namespace.is_empty() {
            metadata["namespace"] = json!(key.namespace);
        }
        metadata["uid"] = json!(uid);
        if let Some(before) = before.as_ref() {
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            // A real server, too, ignores an update that changes nothing: no new resourceVersion, no event.
            if **before == object {
                return before.clone();
            }
        }
        object["metadata"]["resourceVersion"] = json!((self.revision + 1).to_string());
        let object = Object::from(object);
        self.commit(key, before, Some(object.clone()));
        object
    }

    fn commit(&mut self, key: &Key, before: Option<Object>, after: Option<Object>) {
        self.revision += 1;
        let version = Version { revision: self.revision, object: after.clone() };
        self.versions.entry(key.clone()).or_default().push(version);
        let commit = Commit { revision: self.revision, key: key.clone(), before, after };
        (self.observer)(&commit);
        self.commits.push(commit);
    }
}

fn at(versions: &[Version], revision: u64) -> Option<Object> {
    let known = versions.partition_point(|version| version.revision <= revision);
    versions.get(known.checked_sub(1)?)?.object.clone()
}

/// Gives `object` this field as it was before.
fn keep(field: &str, before: &Value, object: &mut Value) {
    match before.get(field) {
        Some(value) => object[field] = value.clone(),
        None => drop(object.as_object_mut().and_then(|fields| fields.shift_remove(field))),
    }
}

/// A request for a certificate is approved or denied, and once.
fn check_approval(object: &Value) -> Result<(), StatusError> {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let decided =
        conditions.filter(|condition| matches!(condition["type"].as_str(), Some("Approved" | "Denied")));
    if decided.count() > 1 {
        let text = "status.conditions: Invalid value: Approved and Denied conditions are mutually exclusive";
        return Err(StatusError::Invalid(text.to_owned()));
    }
    Ok(())
}

fn check_namespace(key: &Key, object: &Value) -> Result<(), StatusError> {
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) if namespace != key.namespace => {
            let text =
                "the namespace of the provided object does not match the namespace sent on the request";
            Err(StatusError::BadRequest(text.to_owned()))
        }
        _ => Ok(()),
    }
}

fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn modified(key: &Key) -> StatusError {
    let Key { kind, name, .. } = key;
    StatusError::Conflict(format!(
        "Operation cannot be fulfilled on {kind} {name:?}: the object has been modified; please apply your \
         changes to the latest version and try again"
    ))
}
