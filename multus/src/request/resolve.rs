//! From the requested networks to their configurations.

use std::collections::BTreeSet;
use std::path::Path;

use cni::{CniError, Code};
use nad::{Definitions, Lookup, NETWORKS, NadRef, NetworkAttachmentDefinition, Pod};

use super::error::RequestError;
use super::network_request::{NetworkRequest, Origin};
use crate::conf::Conf;
use crate::network::{self, DefinitionError, Network, OnDiskError};

/// The definitions that these requests need, each once.
pub(crate) fn needed_definitions(requests: &[NetworkRequest]) -> Vec<NadRef> {
    let named = |request: &NetworkRequest| match &request.origin {
        Origin::Named(nad_ref) | Origin::Definition(nad_ref) => Some(nad_ref.clone()),
        Origin::Inline(_) | Origin::Path(_) | Origin::OnDisk(_) => None,
    };
    let all: BTreeSet<NadRef> = requests.iter().filter_map(named).collect();
    all.into_iter().collect()
}

/// Returns the network of one request. Reads files of the node where the request or the definition says so. `pod` is for messages.
pub(crate) fn resolve(
    request: &NetworkRequest,
    definitions: &Definitions,
    conf_dir: &Path,
    pod: Option<&Pod>,
) -> Result<Network, RequestError> {
    match &request.origin {
        Origin::Inline(network) => Ok(network.clone()),
        Origin::Path(path) if path.is_relative() && !path.exists() => {
            Err(RequestError::NotAPath { network: path.to_string_lossy().into_owned() })
        }
        Origin::Path(path) => network::by_path(path).map_err(in_file(&path.to_string_lossy())),
        Origin::OnDisk(name) => network::by_name(conf_dir, name).map_err(in_file(name)),
        Origin::Named(nad_ref) => match definitions.get(nad_ref) {
            Some(Lookup::Found(definition)) => of_definition(nad_ref, definition, conf_dir),
            // The cluster's own networks may be files, also without an API server.
            Some(Lookup::Absent(_)) | None => {
                let name = nad_ref.name.as_str();
                network::by_name(conf_dir, name).map_err(in_file(name))
            }
        },
        Origin::Definition(nad_ref) => match definitions.get(nad_ref) {
            Some(Lookup::Found(definition)) => {
                let network = of_definition(nad_ref, definition, conf_dir)?;
                network.with_cni_args(&request.attachment.cni_args).map_err(|e| {
                    let source = DefinitionError::NotANetwork { reason: e.to_string() };
                    RequestError::Definition { nad_ref: nad_ref.clone(), source }
                })
            }
            Some(Lookup::Absent(reason)) => Err(missing(nad_ref, reason, pod)),
            None => Err(missing(nad_ref, "there is no access to the API server", pod)),
        },
    }
}

/// Returns the network of `auxiliaryCNIChainName`, if its folder has plugins.
pub(crate) fn auxiliary_network(conf: &Conf) -> Result<Option<Network>, CniError> {
    let Some(chain) = conf.auxiliary_chain()? else { return Ok(None) };
    network::auxiliary(&chain.folder, &chain.name, conf.cni_version)
        .map_err(|e| CniError::new(Code::InvalidConfig, format!("auxiliaryCNIChainName {}: {e}", chain.name)))
}

fn of_definition(
    nad_ref: &NadRef,
    definition: &NetworkAttachmentDefinition,
    conf_dir: &Path,
) -> Result<Network, RequestError> {
    network::of_definition(nad_ref, definition, conf_dir)
        .map_err(|source| RequestError::Definition { nad_ref: nad_ref.clone(), source })
}

fn in_file(network: &str) -> impl FnOnce(OnDiskError) -> RequestError + '_ {
    move |source| RequestError::File { network: network.to_owned(), source }
}

fn missing(nad_ref: &NadRef, reason: &str, pod: Option<&Pod>) -> RequestError {
    let pod = pod.map_or_else(|| "the pod".to_owned(), |pod| format!("pod {}", pod.pod_ref));
    let advice = format!("create it or correct the annotation {NETWORKS} of {pod}");
    RequestError::Missing { nad_ref: nad_ref.clone(), reason: reason.to_owned(), advice }
}
