//! Definitions in a file that is not applied yet.

use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Map, Value};

use super::report::Input;
use crate::finding::{Finding, Severity};

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// Its definitions.
    pub inputs: Vec<Input>,
    /// What the API server will not accept.
    pub findings: Vec<Finding>,
    /// How many objects of other kinds it has.
    pub others: usize,
}

const API_VERSION: &str = "k8s.cni.cncf.io/v1";
const KIND: &str = "NetworkAttachmentDefinition";

/// Reads a file: YAML with one document or several, or JSON. `namespace` is that of definitions without one. The error is what is wrong with
/// the text.
pub fn parse(text: &str, namespace: &str) -> Result<Documents, String> {
    let mut documents = Documents::default();
    for object in objects(text)? {
        documents.add(object, namespace);
    }
    Ok(documents)
}

fn objects(text: &str) -> Result<Vec<Value>, String> {
    // JSON is nearly YAML: only tabs and some escapes differ.
    if let Ok(object) = serde_json::from_str(text) {
        return Ok(vec![object]);
    }
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

impl Documents {
    fn add(&mut self, object: Value, namespace: &str) {
        let Value::Object(mut object) = object else {
            self.others += 1;
            return;
        };
        match object.get("kind").and_then(Value::as_str) {
            Some(KIND) => self.add_definition(&object, namespace),
            Some(kind) if kind.ends_with("List") => {
                if let Some(Value::Array(items)) = object.remove("items") {
                    items.into_iter().for_each(|item| self.add(item, namespace));
                }
            }
            _ => self.others += 1,
        }
    }

    fn add_definition(&mut self, object: &Map<String, Value>, namespace: &str) {
        let text =
            |[part, key]: [&str; 2]| object.get(part).and_then(|part| part.get(key)).and_then(Value::as_str);
        let stated = text(["metadata", "namespace"]).unwrap_or(namespace);
        let name = text(["metadata", "name"]).unwrap_or_default();
        let shown = format!("{stated}/{name}");
        let mut error = |message: String, remedy: &str| {
            self.findings.push(Finding::new(Severity::Error, &[&shown], message, remedy));
        };
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if version != API_VERSION {
            error(format!("apiVersion is {version:?}"), "set apiVersion to \"k8s.cni.cncf.io/v1\"");
        }
        let nad_ref = match (DnsLabel::new(stated), DnsSubdomain::new(name)) {
            (Ok(namespace), Ok(name)) => NadRef { namespace, name },
            (Err(wrong), _) | (_, Err(wrong)) => return error(wrong.to_string(), "correct metadata"),
        };
        let spec = object.get("spec").and_then(Value::as_object);
        let config = match spec.and_then(|spec| spec.get("config")) {
            None | Some(Value::Null) => "",
            Some(Value::String(config)) => config,
            Some(_) => {
                return error(
                    "spec.config is not text".to_owned(),
                    "write the JSON as text: after \"config: |\", or in quotes",
                );
            }
        };
        let unknown: Vec<&str> =
            spec.into_iter().flat_map(Map::keys).map(String::as_str).filter(|key| *key != "config").collect();
        if !unknown.is_empty() {
            error(
                format!("spec has keys that a definition does not have: {}", unknown.join(", ")),
                "a definition has spec.config only",
            );
        }
        if self.inputs.iter().any(|input| input.nad_ref == nad_ref) {
            let message = "it is there twice, and the last one counts";
            self.findings.push(Finding::new(Severity::Warning, &[&shown], message, "remove one of them"));
            self.inputs.retain(|input| input.nad_ref != nad_ref);
        }
        self.inputs.push(Input { nad_ref, config: config.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Documents {
        parse(text, "default").unwrap()
    }

    /// The findings, as `definition: message`.
    fn found(text: &str) -> Vec<String> {
        read(text)
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.definitions.join(","), finding.message))
            .collect()
    }

    const TWO: &str = "
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: a}
spec:
  config: |
    {\"type\": \"macvlan\"}
---
apiVersion: v1
kind: ConfigMap
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: net.b, namespace: web}
spec: {config: '{}'}
";

    #[test]
    fn yaml_has_several_documents_and_other_kinds_are_counted() {
        let documents = read(TWO);
        let inputs: Vec<String> = documents
            .inputs
            .iter()
            .map(|input| format!("{} {}", input.nad_ref, input.config.trim()))
            .collect();
        assert_eq!(inputs, ["default/a {\"type\": \"macvlan\"}", "web/net.b {}"]);
        assert_eq!((documents.others, documents.findings.len()), (1, 0));
    }

    #[test]
    fn a_json_list_is_read_as_kubectl_prints_it() {
        let list = serde_json::json!({"kind": "List", "items": [
            {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "a"}, "spec": {"config": "{\t}"}},
            {"kind": "Pod"}]});
        let documents = read(&list.to_string());
        assert_eq!((documents.inputs.len(), documents.others), (1, 1));
    }

    #[test]
    fn what_the_api_server_will_not_accept_is_an_error() {
        let definition =
            |rest: &str| format!("apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n{rest}");
        assert_eq!(
            found(&definition("metadata: {name: a}\nspec: {config: {type: macvlan}}")),
            ["default/a: spec.config is not text"]
        );
        assert_eq!(
            found(&definition("metadata: {name: a}\nspec: {conf: '{}'}")),
            ["default/a: spec has keys that a definition does not have: conf"]
        );
        assert!(
            found(&definition("metadata: {name: A_b}\nspec: {}"))[0].contains("is not a valid object name")
        );
        assert_eq!(
            found(&definition("metadata: {name: a}").replace("cncf.io/v1", "cncf.io/v2")),
            ["default/a: apiVersion is \"k8s.cni.cncf.io/v2\""]
        );
        let twice = definition("metadata: {name: a}\n---\n") + &definition("metadata: {name: a}");
        assert_eq!(found(&twice), ["default/a: it is there twice, and the last one counts"]);
        assert_eq!(read(&twice).inputs.len(), 1);
    }

    #[test]
    fn a_text_that_is_no_yaml_is_refused() {
        assert!(parse("a: [", "default").is_err());
        assert_eq!(parse("", "default").unwrap(), Documents::default());
        assert_eq!(parse("just text", "default").unwrap().others, 1);
    }
}
