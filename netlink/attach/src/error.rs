//! Failures in the runtime's terms.

use cni::{CniError, Code};

/// A netlink failure for the runtime: one that passes is worth another try.
pub fn kernel(error: &netlink::Error) -> CniError {
    let code = match error {
        netlink::Error::TimedOut { .. } | netlink::Error::Inconsistent { .. } => Code::TryAgainLater,
        _ => Code::Internal,
    };
    CniError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_passes_may_be_tried_again_and_the_rest_is_code_999() {
        let (op, object) = ("set up", String::from("net1"));
        let late = netlink::Error::TimedOut { op, object: object.clone(), after: Duration::from_secs(10) };
        assert_eq!(kernel(&late).code, Code::TryAgainLater);
        let moved = netlink::Error::Inconsistent { op, object: object.clone(), tries: 3 };
        assert_eq!(kernel(&moved).code, Code::TryAgainLater);
        let odd = netlink::Error::Unexpected { op, object, what: "nothing" };
        assert_eq!((kernel(&odd).code, kernel(&odd).msg), (Code::Internal, odd.to_string()));
    }
}
