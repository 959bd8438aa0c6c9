//! The multus configuration of the node: the file by which the runtime runs multus.

use std::path::{Path, PathBuf};

use cni::args::CniArgs;
use cni::conf::NetConf;
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::plugin::Call;
use cni::{CniError, Code};
use node::files::read_bounded;
use serde_json::{Map, Value};

use crate::conf::Conf;
use crate::network::{OnDiskError, files_of, is_self};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// The folder of plugins beside the configuration's `binDir`.
const PLUGINS: &str = "/opt/cni/bin";

/// There is no multus configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeConfError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] OnDiskError),
    /// No file of the folder has a plugin of type multus.
    #[error("no file in {} has a plugin of type multus: is multus installed on this node?", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The file is not a configuration.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CniError,
    },
}

/// Reads the configuration from the first file with a plugin of type multus, in the order in which a runtime reads them.
pub(super) fn read(folder: &Path) -> Result<Conf, NodeConfError> {
    for path in files_of(folder)? {
        // A file of another program that cannot be read is none of ours.
        let Some(object) = multus_object(&path) else { continue };
        return conf(&object).map_err(|source| NodeConfError::Invalid { path, source });
    }
    Err(NodeConfError::Missing { folder: folder.to_owned() })
}

/// The configuration of multus in a file, with the name and the version of its list.
fn multus_object(path: &Path) -> Option<Map<String, Value>> {
    let object = cni::json::parse_object(&read_bounded(path, MAX_FILE).ok()?).ok()?;
    let list = NetworkList::from_object(object).ok()?;
    let multus = list.plugins.iter().find(|plugin| is_self(plugin.plugin_type.as_str()))?;
    Some(multus.request(&list, &Map::new(), None))
}

fn conf(object: &Map<String, Value>) -> Result<Conf, CniError> {
    let stdin = serde_json::to_vec(object).map_err(|e| CniError::new(Code::Decoding, e.to_string()))?;
    let conf = NetConf::parse(&stdin)?;
    let call = Call { conf, stdin, args: CniArgs::default(), path: SearchPath::parse(PLUGINS) };
    let mut conf = Conf::read(&call)?;
    conf.check_keys()?;
    // The program that stays must not use the plugin's credentials: it goes without a daemon that is away.
    conf.kubeconfig = None;
    Ok(conf)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        node::files::write_atomic(&folder.join(name), text.as_bytes(), 0o600).unwrap();
    }

    #[test]
    fn the_first_file_with_multus_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(NodeConfError::Missing { .. })));
        assert!(matches!(read(&folder.path().join("x")), Err(NodeConfError::Missing { .. })));
        write(folder.path(), "00-broken.conf", "{");
        write(folder.path(), "00-multus.conf.bak", &json!({"name": "z", "type": "multus"}).to_string());
        write(folder.path(), "10-primary.conflist", r#"{"name":"p","plugins":[{"type":"bridge"}]}"#);
        let list = json!({"cniVersion": "1.0.0", "name": "in-list", "plugins": [{"type": "other"},
            {"type": "multus-shim", "clusterNetwork": "c", "cniDir": "/x"}]});
        write(folder.path(), "50-multus.conflist", &list.to_string());
        let conf = read(folder.path()).unwrap();
        assert_eq!((conf.name.as_str(), conf.cni_dir.as_path()), ("in-list", Path::new("/x")));
        let single =
            json!({"cniVersion": "0.3.1", "name": "single", "type": "multus", "clusterNetwork": "c"});
        write(folder.path(), "00-multus.conf", &single.to_string());
        assert_eq!(read(folder.path()).unwrap().name.as_str(), "single");
    }

    #[test]
    fn a_wrong_configuration_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = json!({"name": "m", "type": "multus", "clusterNetwork": "c", "clusterCIDRs": ["x"]});
        write(folder.path(), "00-multus.conf", &wrong.to_string());
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("00-multus.conf: ") && error.contains("clusterCIDRs"), "{error}");
    }
}
