//! Which plugins need a DEL, which failure of a DEL still counts as done, and when a sandbox is let go: the rule "DEL always ends" of
//! ARCHITECTURE.md.

use std::time::Duration;

use cni::{CniError, Code};

use crate::record::{Moment, Reached, Words};

/// The time from the first DEL of a sandbox until what still fails is let go.
const LIMIT: Duration = Duration::from_secs(120);

/// Plugins of the CNI project that change nothing but the pod's network namespace. All other plugins may have made something on the host,
/// or hold an address.
const INSIDE_ONLY: &[&str] = &["loopback", "sbr", "tuning", "vrf"];

/// Plugins of the CNI project that move an interface, and whose DEL releases its address before it looks for the interface.
const ADDRESS_FIRST: &[&str] = &["host-device"];

/// What the errors of Go's plugins say of an interface that is not there.
const NO_INTERFACE: &str = "Link not found";

/// What the errors of a lost connection say, in lower case. Plugins that know no code 11 send them with code 999.
const TRANSIENT: &[&str] = &["deadline exceeded", "timeout", "timed out", "time limit exceeded"];

/// Whether the pod's network namespace still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// It exists, or that cannot be found out.
    MayExist,
    /// The runtime names none, or a path that is none.
    Gone,
}

/// Why a plugin whose DEL failed has nothing left to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// ADD was refused with the same words.
    RefusedAlike,
    /// It says that it does not know the container (code 3).
    Unknown,
    /// All that it made was in the namespace, and ended with it.
    WithNamespace,
    /// It made nothing outside of the pod's interface, which is not there.
    WithInterface,
}

impl Done {
    /// The reason, for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Done::RefusedAlike => {
                "ADD was refused in the same words, so at most the network namespace has something of it"
            }
            Done::Unknown => "the plugin does not know the container, so there is nothing to delete",
            Done::WithNamespace => "what the plugin made ended with the network namespace",
            Done::WithInterface => "the plugin changes nothing but the interface, which is not there",
        }
    }
}

/// Whether a plugin needs a DEL.
pub(super) fn needs_del(reached: &Reached) -> bool {
    !matches!(reached, Reached::NotBegun | Reached::Deleted)
}

/// Why a plugin counts as deleted although its DEL failed with `cause`; `None` if it does not.
pub(super) fn counts_as_done(
    reached: &Reached,
    plugin_type: &str,
    namespace: Namespace,
    cause: &CniError,
) -> Option<Done> {
    match reached {
        Reached::Refused(words) if !is_transient(cause) && *words == Words::from(cause) => {
            Some(Done::RefusedAlike)
        }
        _ if cause.code == Code::UnknownContainer => Some(Done::Unknown),
        _ if namespace == Namespace::Gone && INSIDE_ONLY.contains(&plugin_type) => Some(Done::WithNamespace),
        _ if lacks_interface(reached, plugin_type, cause) => Some(Done::WithInterface),
        _ => None,
    }
}

/// Whether a plugin failed only because the pod's interface is not there: it never was, or the pod has deleted it. What the plugin then leaves, such
/// as a rule for routes, ends with the namespace. A device that `host-device` has moved may have another name now, so it counts only if its ADD was
/// refused.
fn lacks_interface(reached: &Reached, plugin_type: &str, cause: &CniError) -> bool {
    let was_refused = matches!(reached, Reached::Refused(_));
    let changes_it_only =
        INSIDE_ONLY.contains(&plugin_type) || (was_refused && ADDRESS_FIRST.contains(&plugin_type));
    changes_it_only && cause.msg.contains(NO_INTERFACE)
}

/// Whether an error may come from a lost connection. It is no refusal: the ADD may have sent its request before.
fn is_transient(error: &CniError) -> bool {
    let msg = error.msg.to_lowercase();
    error.code == Code::TryAgainLater || TRANSIENT.iter().any(|words| msg.contains(words))
}

/// What a DEL does with what it could not delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It fails, and the runtime repeats it.
    Wait,
    /// It ends.
    LetGo,
}

/// Whether a sandbox with this first DEL is let go.
pub(super) fn patience(first_del: Option<Duration>, now: &Moment) -> Patience {
    match first_del {
        Some(first) if now.since_boot.saturating_sub(first) >= LIMIT => Patience::LetGo,
        Some(_) | None => Patience::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u32, msg: &str) -> CniError {
        CniError::new(Code::from_number(code), msg)
    }

    fn refused(code: u32, msg: &str) -> Reached {
        Reached::Refused(Words::from(&error(code, msg)))
    }

    #[test]
    fn only_a_plugin_that_never_began_or_is_deleted_needs_no_del() {
        for (reached, want) in [
            (Reached::Unknown, true),
            (Reached::Begun, true),
            (refused(999, "bad"), true),
            (Reached::Done, true),
            (Reached::NotBegun, false),
            (Reached::Deleted, false),
        ] {
            assert_eq!(needs_del(&reached), want, "{reached:?}");
        }
    }

    #[test]
    fn a_failed_del_counts_as_done_only_for_a_reason() {
        use Namespace::{Gone, MayExist};
        for (reached, plugin, namespace, cause, want) in [
            (refused(999, "bad"), "a", MayExist, error(999, "bad"), Some(Done::RefusedAlike)),
            (refused(7, "bad"), "a", Gone, error(7, "bad"), Some(Done::RefusedAlike)),
            (refused(7, "bad"), "a", MayExist, error(7, "worse"), None),
            (refused(7, "bad"), "a", MayExist, error(999, "bad"), None),
            // A timeout: the ADD may have left something.
            (refused(11, "no answer"), "a", MayExist, error(11, "no answer"), None),
            (refused(999, "dial: i/o Timeout"), "a", MayExist, error(999, "dial: i/o Timeout"), None),
            (
                refused(999, "context deadline exceeded"),
                "a",
                Gone,
                error(999, "context deadline exceeded"),
                None,
            ),
            (Reached::Begun, "a", MayExist, error(7, "bad"), None),
            (Reached::Done, "a", MayExist, error(7, "bad"), None),
            (Reached::Unknown, "a", MayExist, error(7, "bad"), None),
            (Reached::Done, "a", MayExist, error(3, "which container?"), Some(Done::Unknown)),
            (Reached::Done, "sbr", Gone, error(999, "unknown FS magic"), Some(Done::WithNamespace)),
            (Reached::Unknown, "sbr", Gone, error(999, "unknown FS magic"), Some(Done::WithNamespace)),
            (Reached::Done, "sbr", MayExist, error(999, "Link not found"), Some(Done::WithInterface)),
            (Reached::Done, "tuning", MayExist, error(999, "permission denied"), None),
            (
                refused(7, "bad"),
                "host-device",
                MayExist,
                error(999, "Link not found"),
                Some(Done::WithInterface),
            ),
            (Reached::Done, "host-device", MayExist, error(999, "Link not found"), None),
            (refused(7, "bad"), "another", MayExist, error(999, "Link not found"), None),
            (Reached::Done, "portmap", Gone, error(999, "unknown FS magic"), None),
            (Reached::Done, "macvlan", Gone, error(999, "unknown FS magic"), None),
        ] {
            let got = counts_as_done(&reached, plugin, namespace, &cause);
            assert_eq!(got, want, "{reached:?} {plugin} {namespace:?} {cause:?}");
        }
    }

    #[test]
    fn a_sandbox_is_let_go_two_minutes_after_its_first_del() {
        let seconds = Duration::from_secs;
        for (first, now, want) in [
            (None, 1000, Patience::Wait),
            (Some(100), 100, Patience::Wait),
            (Some(100), 219, Patience::Wait),
            (Some(100), 220, Patience::LetGo),
            (Some(100), 50, Patience::Wait),
        ] {
            let now = Moment { boot_id: "b".to_owned(), since_boot: seconds(now) };
            assert_eq!(patience(first.map(seconds), &now), want, "{first:?} {now:?}");
        }
    }
}
