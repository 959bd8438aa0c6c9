//! Failures that do not stop a verb.

use std::io::Write as _;

use cni::CniError;

/// Several failures as one: the code of the first, the messages of all.
pub(super) fn join(errors: Vec<CniError>) -> Option<CniError> {
    errors.into_iter().reduce(|first, next| CniError { msg: format!("{} / {next}", first.msg), ..first })
}

/// Writes a failure that is no reason to fail to the log of the runtime.
pub(crate) fn warn(what: &dyn std::fmt::Display) {
    // If stderr is closed, there is no other place for it.
    let _ = writeln!(std::io::stderr(), "multus: {what}");
}
