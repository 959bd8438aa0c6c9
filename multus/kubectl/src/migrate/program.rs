//! Which program of Multus and Whereabouts a container runs. Upstream's manifests of every release name it in their commands.

use serde::Serialize;

use super::image::base_name;

/// A program. The order is that of the change over: first those that would delete what ours has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// `ip-reconciler`: deletes reservations that it finds in no pool.
    Reconciler,
    /// `node-slice-controller`.
    SliceController,
    /// The installer and the control loop of the nodes.
    Whereabouts,
    /// The installer and the generator of `00-multus.conf`.
    MultusThin,
    /// `multus-daemon`.
    MultusThick,
    /// `cert-approver` and `kubeconfig_generator`: certificates for each node.
    Certificates,
}

/// What a container starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// This program of upstream's, by its command.
    Upstream(Program),
    /// This program, by the default of upstream's image: it has no command.
    ByDefault(Program),
    /// A program under a name that only our manifests use.
    OwnManifest(Program),
}

impl Program {
    /// For a table.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Reconciler => "ip-reconciler",
            Self::SliceController => "node-slice-controller",
            Self::Whereabouts => "Whereabouts",
            Self::MultusThin => "Multus, thin",
            Self::MultusThick => "Multus, thick",
            Self::Certificates => "certificates",
        }
    }
}

/// What a container with this image, command and arguments starts. `None` for programs of others.
pub fn started(image: &str, command: &[String], args: &[String]) -> Option<Started> {
    let name = base_name(image);
    if command.is_empty() {
        return match name {
            name if name.contains("whereabouts") => Some(Started::ByDefault(Program::Whereabouts)),
            name if name.contains("multus-cni") => Some(Started::ByDefault(Program::MultusThick)),
            _ => None,
        };
    }
    let words = command
        .iter()
        .chain(args)
        .flat_map(|text| text.split(|c: char| c.is_whitespace() || ";&|\"'".contains(c)));
    words.filter_map(|word| of_word(word, name)).max_by_key(|started| match started {
        Started::Upstream(program) | Started::ByDefault(program) | Started::OwnManifest(program) => *program,
    })
}

/// What a word of a command says. Names that other projects use too count only in an image of Multus.
fn of_word(word: &str, image: &str) -> Option<Started> {
    let (folder, file) = word.rsplit_once('/').unwrap_or(("", word));
    let upstream = |program| Some(Started::Upstream(program));
    let multus = image.contains("multus");
    match (folder, file) {
        ("", "whereabouts-daemon") if word.starts_with('/') => {
            Some(Started::OwnManifest(Program::Whereabouts))
        }
        ("", "multus-daemon") if word.starts_with('/') => Some(Started::OwnManifest(Program::MultusThick)),
        (_, "ip-reconciler") => upstream(Program::Reconciler),
        (_, "node-slice-controller") => upstream(Program::SliceController),
        (_, "ip-control-loop") => upstream(Program::Whereabouts),
        (_, "install-cni.sh" | "token-watcher.sh") if multus || image.contains("whereabouts") => {
            upstream(Program::Whereabouts)
        }
        (_, "thin_entrypoint") => upstream(Program::MultusThin),
        (_, "entrypoint.sh" | "install_multus") if multus => upstream(Program::MultusThin),
        (_, "cert-approver" | "kubeconfig_generator") if multus => upstream(Program::Certificates),
        ("/usr/src/multus-cni/bin", "multus-daemon") => upstream(Program::MultusThick),
        ("/usr/src/multus-cni/bin", _) => upstream(Program::MultusThin),
        _ => None,
    }
}
