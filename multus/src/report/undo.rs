//! The error of an ADD whose undoing failed too.

use cni::CniError;

/// What stands before the reason in the message of a plugin's failed DEL, as libcni writes it.
const DEL_FAILED: &str = "failed (delete): ";

/// Returns `error` with the failure of its undoing, `left`, in its message. The runtime shows the message in one event of the pod, so a reason
/// that both have is written once.
pub(crate) fn with_failed_undo(error: CniError, left: &CniError) -> CniError {
    let reason = error.msg.rsplit_once("failed (add): ").map(|(_, reason)| reason);
    let left = reason.filter(|reason| !reason.is_empty()).map_or_else(
        || left.to_string(),
        |reason| {
            let with_details = CniError::new(error.code, reason).with_details(&error.details).to_string();
            let once = |text: String, reason: &str| {
                text.replace(&format!("{DEL_FAILED}{reason}"), &format!("{DEL_FAILED}for the same reason"))
            };
            once(once(left.to_string(), &with_details), reason)
        },
    );
    let CniError { code, msg, details } = error;
    CniError { code, msg: format!("{msg}; undoing it failed too, DEL must do it: {left}"), details }
}

#[cfg(test)]
mod tests {
    use cni::Code;

    use super::*;

    fn failed(what: &str, reason: &str, details: &str) -> CniError {
        let msg = format!(
            "[p:a]: error with network \"a\": plugin type=\"a\" name=\"a\" failed ({what}): {reason}"
        );
        CniError::new(Code::Other(120), msg).with_details(details)
    }

    fn left(reason: &str, details: &str) -> String {
        let error = with_failed_undo(failed("add", "no /24", "see it"), &failed("delete", reason, details));
        assert_eq!((error.code, error.details.as_str()), (Code::Other(120), "see it"));
        error.msg.split_once("undoing it failed too, DEL must do it: ").unwrap().1.to_owned()
    }

    #[test]
    fn a_reason_that_add_and_undo_have_is_written_once() {
        let start = "[p:a]: error with network \"a\": plugin type=\"a\" name=\"a\" failed (delete): ";
        assert_eq!(left("no /24", ""), format!("{start}for the same reason"));
        assert_eq!(left("no /24", "see it"), format!("{start}for the same reason"));
        assert_eq!(left("stuck", "here"), format!("{start}stuck; here"));
    }

    #[test]
    fn an_error_without_a_plugin_keeps_both_reasons() {
        let error =
            with_failed_undo(CniError::new(Code::Io, "no record"), &failed("delete", "no record", ""));
        assert!(
            error.msg.starts_with("no record; undoing it failed too, DEL must do it: [p:a]: "),
            "{error}"
        );
        assert!(error.msg.ends_with("failed (delete): no record"), "{error}");
    }
}
