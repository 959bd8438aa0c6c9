//! What `kubectl kustomize` makes of deploy/ and its overlays, for the features of kustomize that they use. The tests on clusters apply the same
//! folders with kubectl.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::place;

/// Every folder that a user applies, with its objects: `deploy` and each overlay.
pub fn all() -> Vec<(String, Vec<Value>)> {
    let deploy = place::root().join("deploy");
    let mut folders = vec![deploy.clone()];
    let overlays = std::fs::read_dir(deploy.join("overlays")).unwrap();
    folders.extend(overlays.map(|entry| entry.unwrap().path()));
    folders.sort();
    let name = |folder: &Path| folder.strip_prefix(place::root()).unwrap().display().to_string();
    folders.iter().map(|folder| (name(folder), of_folder(folder))).collect()
}

/// The objects of a folder with a kustomization.
pub fn of_folder(folder: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    build(folder, &mut objects);
    objects
}

/// Adds the objects of a folder to those that are there, and changes all of them by its patches. A component's patches change those of the
/// folder that names it.
fn build(folder: &Path, objects: &mut Vec<Value>) {
    let names = ["kustomization.yaml", "Kustomization"];
    let path = names.map(|name| folder.join(name)).into_iter().find(|path| path.exists()).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let known = ["apiVersion", "kind", "resources", "components", "patches"];
    for key in kustomization.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{}: this test does not know {key}", path.display());
    }
    for resource in list(&kustomization["resources"]) {
        let resource: PathBuf = folder.join(resource.as_str().unwrap()).canonicalize().unwrap();
        if resource.is_dir() {
            objects.extend(of_folder(&resource));
        } else {
            let text = std::fs::read_to_string(&resource).unwrap();
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            objects.extend(documents);
        }
    }
    for component in list(&kustomization["components"]) {
        build(&folder.join(component.as_str().unwrap()), objects);
    }
    for patch in list(&kustomization["patches"]) {
        apply(patch, objects, &path.display().to_string());
    }
}

fn apply(patch: &Value, objects: &mut Vec<Value>, file: &str) {
    let target = &patch["target"];
    let is_meant = |object: &Value| {
        object["kind"] == target["kind"]
            && (target["name"].is_null() || object["metadata"]["name"] == target["name"])
    };
    let change: Value = serde_saphyr::from_str(patch["patch"].as_str().unwrap()).unwrap();
    let meant = objects.iter().filter(|object| is_meant(object)).count();
    assert!(meant > 0, "{file}: no object is {target}");
    if change["$patch"] == "delete" {
        objects.retain(|object| !is_meant(object));
        return;
    }
    for object in objects.iter_mut().filter(|object| is_meant(object)) {
        fake_api::patch::json(object, &change).unwrap_or_else(|error| panic!("{file}: {target}: {error}"));
    }
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}
