mod primaries;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::primary::settings::{Form, InlineForm, Isolation, LogTarget, NameRule, VersionRule};

/// A runtime's folder of configurations, and a keeper for it.
struct Node {
    folder: TempDir,
    keeper: Keeper,
}

impl Node {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Auto)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({"cniConfigDir": folder.path(), "multusAutoconfigDir": folder.path()});
        let mut settings = Settings::of_daemon_config(config.as_object().unwrap()).unwrap();
        if let Source::Auto(auto) = &mut settings.source {
            change(auto);
        }
        Self { folder, keeper: Keeper::new(settings) }
    }

    fn write(&self, name: &str, text: &str) {
        write_atomic(&self.folder.path().join(name), text.as_bytes(), 0o644).unwrap();
    }

    fn primary(&self, version: &str) {
        let conf = json!({"cniVersion": version, "name": "p", "type": "t"});
        self.write("10-p.conflist", &conf.to_string());
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    fn conf(&self) -> Value {
        serde_json::from_str(&self.read("00-multus.conf").unwrap()).unwrap()
    }

    fn round(&mut self) -> Round {
        self.keeper.round().unwrap()
    }
}

#[test]
fn it_waits_for_the_default_network_and_then_writes_once() {
    let mut node = Node::new();
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Waiting, None));
    node.primary("0.3.0");
    assert_eq!((node.round(), node.round()), (Round::Written, Round::Unchanged));
    assert_eq!(node.conf()["cniVersion"], "0.3.0");
    let path = node.folder.path().join("00-multus.conf");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_change_is_followed_and_a_half_written_file_is_not_taken() {
    let mut node = Node::new();
    node.primary("0.3.1");
    node.round();
    let before = node.read("00-multus.conf");
    for half in ["", "{\"cniVersion\": \"0.4"] {
        node.write("10-p.conflist", half);
        assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Unchanged, before.clone()));
    }
    node.primary("0.4.0");
    assert_eq!((node.round(), &node.conf()["cniVersion"]), (Round::Written, &json!("0.4.0")));
}

#[test]
fn an_earlier_default_network_that_appears_is_elected() {
    let mut node = Node::new();
    node.primary("0.3.1");
    node.round();
    node.write("05-q.conf", r#"{"cniVersion":"0.3.1","name":"q","type":"q"}"#);
    assert_eq!(node.round(), Round::Written);
    let path = node.folder.path().join("05-q.conf");
    assert_eq!(node.conf()["clusterNetwork"], json!(path));
}

#[test]
fn an_empty_foreign_or_removed_file_is_replaced() {
    let mut node = Node::new();
    node.write("00-multus.conf", "");
    node.primary("0.3.1");
    assert_eq!(node.round(), Round::Written);
    let right = node.read("00-multus.conf");
    node.write("00-multus.conf", r#"{"cniVersion":"0.3.1","name":"other","type":"bridge"}"#);
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Written, right.clone()));
    node.remove("00-multus.conf");
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Written, right));
}

#[test]
fn the_last_good_file_stays_while_the_default_network_is_away_and_is_restored() {
    let mut node = Node::new();
    node.primary("0.3.1");
    node.round();
    let right = node.read("00-multus.conf");
    node.remove("10-p.conflist");
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Unchanged, right.clone()));
    node.remove("00-multus.conf");
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Written, right));
}

#[test]
fn after_a_reboot_the_file_stays_until_the_default_network_is_back() {
    let mut node = Node::new();
    node.primary("0.3.1");
    node.round();
    let right = node.read("00-multus.conf");
    node.remove("10-p.conflist");
    node.keeper = Keeper::new(node.keeper.settings.clone());
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Waiting, right));
}

#[test]
fn the_file_of_the_other_form_is_removed() {
    let inline = |auto: &mut Auto| {
        auto.form = Form::Inline(InlineForm {
            isolation: Isolation::Off,
            global_namespaces: String::new(),
            log_target: LogTarget::Stderr,
            log_level: None,
            log_file: String::new(),
            bin_dir: String::new(),
            cni_conf: String::new(),
            readiness_file: String::new(),
            kubeconfig: "/k".into(),
        });
    };
    let mut node = Node::with(inline);
    node.primary("0.3.1");
    node.round();
    assert!(node.read("00-multus.conf").is_some());
    node.primary("1.0.0");
    assert_eq!(node.round(), Round::Written);
    assert_eq!((node.read("00-multus.conf"), node.read("00-multus.conflist").is_some()), (None, true));
}

#[test]
fn wrong_settings_are_an_error_at_the_start_and_a_warning_later() {
    let same = |auto: &mut Auto| auto.version = VersionRule::Same(cni::Version::V0_3_1);
    let mut node = Node::with(same);
    node.primary("0.4.0");
    assert!(matches!(node.keeper.round(), Err(KeepError::Refused(_))));
    node.primary("0.3.1");
    node.round();
    let right = node.read("00-multus.conf");
    node.primary("0.4.0");
    assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Unchanged, right));
}

#[test]
fn the_readiness_file_is_waited_for_once() {
    let gate = tempfile::tempdir().unwrap();
    let path = gate.path().join("ready");
    let mut node = Node::with(|auto| auto.readiness = Some(path.clone()));
    node.primary("0.3.1");
    assert_eq!(node.round(), Round::Waiting);
    write_atomic(&path, b"", 0o600).unwrap();
    assert_eq!(node.round(), Round::Written);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(node.round(), Round::Unchanged);
}

#[test]
fn the_default_networks_file_is_renamed_if_asked_for() {
    let mut node = Node::with(|auto| auto.master = Master::Renamed);
    node.primary("0.3.1");
    assert_eq!((node.round(), node.round()), (Round::Written, Round::Unchanged));
    assert_eq!((node.read("10-p.conflist"), node.read("10-p.conflist.old").is_some()), (None, true));
}

#[test]
fn a_file_of_the_operator_is_copied_under_its_name() {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("70-multus.conf");
    write_atomic(&path, b"{\"name\": \"x\"}", 0o600).unwrap();
    let mut node = Node::new();
    node.keeper.settings.source = Source::File(path.clone());
    assert_eq!((node.round(), node.round()), (Round::Written, Round::Unchanged));
    assert_eq!(node.read("70-multus.conf").as_deref(), Some("{\"name\": \"x\"}"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(node.round(), Round::Waiting);
    // The end of the daemon makes a keeper of its own.
    Keeper::new(node.keeper.settings.clone()).remove().unwrap();
    assert_eq!(node.read("70-multus.conf"), None);
}

#[test]
fn remove_leaves_the_default_networks_own_file() {
    let mut node = Node::with(|auto| auto.name = NameRule::OfPrimary);
    node.primary("0.3.1");
    node.round();
    node.keeper.remove().unwrap();
    assert_eq!((node.read("00-multus.conf"), node.read("10-p.conflist").is_some()), (None, true));
}

#[test]
fn a_missing_folder_is_an_error_at_the_start() {
    let mut node = Node::with(|auto| auto.folder = "/no/such/folder".into());
    assert!(node.keeper.round().unwrap_err().to_string().contains("/no/such/folder"));
}

#[test]
fn folders_are_no_configurations() {
    let mut node = Node::new();
    std::fs::create_dir(node.folder.path().join("05-folder.conf")).unwrap();
    node.primary("0.3.1");
    assert_eq!(node.round(), Round::Written);
}
