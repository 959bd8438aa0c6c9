//! Objects and all their earlier versions.

use std::collections::BTreeMap;
use std::ops::{Bound, Deref};
use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use super::patch::{self, PatchError};

/// An object, shared by everyone who read it.
#[derive(Clone, Debug)]
pub struct Object(Arc<Written>);

/// What is said often is written out once.
#[derive(Debug)]
struct Written {
    value: Value,
    whole: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

impl From<Value> for Object {
    fn from(value: Value) -> Self {
        Object(Arc::new(Written { value, whole: OnceLock::new(), metadata: OnceLock::new() }))
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

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Plural and group, such as `pods` or `leases.coordination.k8s.io`.
    pub kind: String,
    /// Empty for kinds without namespaces.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of these parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Key { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The revision it made.
    pub revision: u64,
    /// The object.
    pub key: Key,
    /// As it was; `None` if there was none.
    pub before: Option<Object>,
    /// As it is now; `None` if it was deleted.
    pub after: Option<Object>,
}

/// A request that changes nothing because it may not, or cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refused {
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
}

impl Refused {
    /// HTTP status code and reason.
    pub const fn code(&self) -> (u16, &'static str) {
        match self {
            Refused::NotFound(_) => (404, "NotFound"),
            Refused::AlreadyExists(_) => (409, "AlreadyExists"),
            Refused::Conflict(_) => (409, "Conflict"),
            Refused::Expired => (410, "Expired"),
            Refused::Invalid(_) => (422, "Invalid"),
            Refused::BadRequest(_) => (400, "BadRequest"),
        }
    }
}

/// What must hold of an object that is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteIf {
    /// Its uid.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
}

struct Version {
    revision: u64,
    object: Option<Object>,
}

/// Told of each commit, in order.
pub type Observer = Box<dyn FnMut(&Commit) + Send>;

/// The objects.
pub struct Store {
    revision: u64,
    /// Reads and watches from before it are refused.
    oldest: u64,
    versions: BTreeMap<Key, Vec<Version>>,
    commits: Vec<Commit>,
    observer: Observer,
}

impl Store {
    /// An empty store.
    pub fn new(observer: Observer) -> Self {
        // A real server's first revision is not 0, which asks for anything in the cache.
        Store { revision: 100, oldest: 100, versions: BTreeMap::new(), commits: Vec::new(), observer }
    }

    /// The latest revision.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets what was before `revision`.
    pub fn compact(&mut self, revision: u64) {
        self.oldest = self.oldest.max(revision.min(self.revision));
    }

    /// The object.
    pub fn get(&self, key: &Key) -> Result<Object, Refused> {
        self.get_at(key, self.revision)
    }

    /// The object as it was at `revision`.
    pub fn get_at(&self, key: &Key, revision: u64) -> Result<Object, Refused> {
        let versions = self.versions.get(key);
        let found = versions.and_then(|versions| at(versions, revision));
        found.ok_or_else(|| Refused::NotFound(format!("{} {:?}", key.kind, key.name)))
    }

    /// The objects of a kind, of one namespace or all, as they were at `revision`, by namespace and name.
    pub fn list_at(&self, kind: &str, namespace: Option<&str>, revision: u64) -> Vec<(Key, Object)> {
        let from = Key::new(kind, namespace.unwrap_or_default(), "");
        let all = self.versions.range((Bound::Included(from), Bound::Unbounded));
        let meant =
            |key: &Key| key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace);
        let all = all.take_while(|(key, _)| meant(key));
        all.filter_map(|(key, versions)| Some((key.clone(), at(versions, revision)?))).collect()
    }

    /// Whether a list or watch may still begin at `revision`.
    pub fn check_age(&self, revision: u64) -> Result<(), Refused> {
        if revision < self.oldest { Err(Refused::Expired) } else { Ok(()) }
    }

    /// What was changed after `revision`.
    pub fn commits_after(&self, revision: u64) -> &[Commit] {
        let first = self.commits.partition_point(|commit| commit.revision <= revision);
        &self.commits[first..]
    }

    /// Makes an object. `object` names it.
    pub fn create(&mut self, kind: &str, namespace: &str, object: Value) -> Result<Object, Refused> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(Refused::Invalid("metadata.name: Required value: name is required".to_owned()));
        }
        let key = Key::new(kind, namespace, name);
        if self.get(&key).is_ok() {
            return Err(Refused::AlreadyExists(format!("{kind} {name:?}")));
        }
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(Refused::BadRequest(text.to_owned()));
        }
        let uid = format!("00000000-0000-4000-8000-{:012}", self.revision + 1);
        self.put(key, object, &uid)
    }

    /// Replaces an object, if it still has the version that `object` carries; without one whatever it is now.
    pub fn replace(&mut self, key: &Key, object: Value) -> Result<Object, Refused> {
        let before = self.get(key)?;
        if object["metadata"]["name"].as_str() != Some(&key.name) {
            return Err(Refused::BadRequest("the name of the object does not match the URL".to_owned()));
        }
        let carried = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !carried.is_empty() && Some(carried) != version(&before) {
            return Err(changed(key));
        }
        let uid = before["metadata"]["uid"].as_str().unwrap_or_default();
        if object["metadata"]["uid"].as_str().is_some_and(|carried| !carried.is_empty() && carried != uid) {
            return Err(changed(key));
        }
        self.put(key.clone(), object, uid)
    }

    /// Changes an object by RFC 7386. A `resourceVersion` in the patch must be the object's.
    pub fn merge_patch(&mut self, key: &Key, patch: &Value) -> Result<Object, Refused> {
        let carried = patch["metadata"]["resourceVersion"].as_str();
        let mut object = (*self.get(key)?).clone();
        if carried.is_some() && carried != object["metadata"]["resourceVersion"].as_str() {
            return Err(changed(key));
        }
        patch::merge(&mut object, patch);
        self.replace(key, object)
    }

    /// Changes an object by RFC 6902.
    pub fn json_patch(&mut self, key: &Key, patch: &Value) -> Result<Object, Refused> {
        let mut object = (*self.get(key)?).clone();
        patch::json(&mut object, patch).map_err(|error| match error {
            PatchError::Malformed(text) => Refused::BadRequest(text),
            PatchError::DoesNotApply(text) => Refused::Invalid(text),
        })?;
        self.replace(key, object)
    }

    /// Deletes an object, if the preconditions hold.
    pub fn delete(&mut self, key: &Key, only: &DeleteIf) -> Result<Object, Refused> {
        let before = self.get(key)?;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        if !is(&only.uid, before["metadata"]["uid"].as_str()) {
            return Err(Refused::Conflict("Precondition failed: UID in precondition".to_owned()));
        }
        if !is(&only.resource_version, version(&before)) {
            return Err(Refused::Conflict("Precondition failed: ResourceVersion in precondition".to_owned()));
        }
        self.commit(key.clone(), None);
        Ok(before)
    }

    fn put(&mut self, key: Key, mut object: Value, uid: &str) -> Result<Object, Refused> {
        let Some(fields) = object.as_object_mut() else {
            return Err(Refused::BadRequest("the object is no JSON object".to_owned()));
        };
        let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata["namespace"] = json!(key.namespace);
        metadata["uid"] = json!(uid);
        metadata["resourceVersion"] = json!((self.revision + 1).to_string());
        let object = Object::from(object);
        self.commit(key, Some(object.clone()));
        Ok(object)
    }

    fn commit(&mut self, key: Key, after: Option<Object>) {
        self.revision += 1;
        let versions = self.versions.entry(key.clone()).or_default();
        let before = versions.last().and_then(|version| version.object.clone());
        versions.push(Version { revision: self.revision, object: after.clone() });
        let commit = Commit { revision: self.revision, key, before, after };
        (self.observer)(&commit);
        self.commits.push(commit);
    }
}

fn at(versions: &[Version], revision: u64) -> Option<Object> {
    let known = versions.partition_point(|version| version.revision <= revision);
    versions.get(known.checked_sub(1)?)?.object.clone()
}

fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

fn changed(key: &Key) -> Refused {
    let Key { kind, name, .. } = key;
    Refused::Conflict(format!(
        "Operation cannot be fulfilled on {kind} {name:?}: the object has been modified; please apply your \
         changes to the latest version and try again"
    ))
}
