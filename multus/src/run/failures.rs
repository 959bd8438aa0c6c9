//! Failures that do not stop a verb.

use cni::CniError;

/// Several failures as one: the code of the first, the messages of all.
pub(super) fn join(errors: Vec<CniError>) -> Option<CniError> {
    errors.into_iter().reduce(|first, next| CniError { msg: format!("{} / {next}", first.msg), ..first })
}
