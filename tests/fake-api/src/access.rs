//! Requests as RBAC sees them.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::received::Received;
use super::request::Target;

/// What a request needs a right for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The verb of an RBAC rule, such as `list`.
    pub verb: String,
    /// Plural, group and subresource: `pods/status`, `leases.coordination.k8s.io`.
    pub resource: String,
    /// Whether the request is about one namespace, so that a Role can grant it.
    pub reach: Reach,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Objects of one namespace: a Role grants it, or a ClusterRole.
    Namespace,
    /// The whole cluster: only a ClusterRole grants it.
    Cluster,
}

impl Access {
    /// The access that a request needs; `None` if its path or method is unknown.
    pub fn of(request: &Received) -> Option<Self> {
        let target = Target::read(&request.path)?;
        let verb = match (request.method.as_str(), target.is_one) {
            ("GET", true) => "get",
            ("GET", false) if request.parameter("watch").is_some() => "watch",
            ("GET", false) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "delete",
            _ => return None,
        };
        let reach = if target.in_namespace { Reach::Namespace } else { Reach::Cluster };
        Some(Access { verb: verb.to_owned(), resource: target.resource, reach })
    }

    /// Appends each access, once in this process, to the file that the variable names: `verb resource`.
    pub(crate) fn log(&self) {
        static LOGGED: Mutex<BTreeSet<Access>> = Mutex::new(BTreeSet::new());
        let Some(path) = std::env::var_os(LOG) else { return };
        if LOGGED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.clone()) {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(format!("{} {}\n", self.verb, self.resource).as_bytes()).unwrap();
        }
    }
}

/// The variable that names the log of accesses.
const LOG: &str = "FAKE_API_ACCESS_LOG";

/// Runs the tests of the calling test program whose names contain one of `filters`, in another process, and returns which accesses their
/// requests need, as `verb resource`. `log` is a file that does not exist yet. `None` inside that process, so that it does not start others.
///
/// A request whose test fails counts too: that test reports its failure by itself.
// The rule is for plugins; this is a test that runs tests.
#[allow(clippy::disallowed_methods)]
pub fn used_by_tests(filters: &[&str], log: &Path) -> Option<BTreeSet<String>> {
    if std::env::var_os(LOG).is_some() {
        return None;
    }
    let program = std::env::current_exe().unwrap();
    let mut tests = Command::new(program);
    tests.args(filters).env(LOG, log).stdout(Stdio::null()).stderr(Stdio::null());
    tests.status().unwrap();
    let used = std::fs::read_to_string(log).unwrap_or_default();
    Some(used.lines().map(str::to_owned).collect())
}
