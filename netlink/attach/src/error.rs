//! Converts netlink errors to CNI errors.

use cni::{CniError, Code};

/// The CNI error for a netlink error: code 11 (try again later) if a retry can succeed, else 999.
pub fn kernel(error: &netlink::Error) -> CniError {
    let code = match error {
        // The kernel was too slow, or other processes changed objects all the time.
        netlink::Error::TimedOut { .. } | netlink::Error::Inconsistent { .. } => Code::TryAgainLater,
        // The link of an earlier pod may have it, which the kernel still deletes, or a pod that ends soon.
        netlink::Error::AddressTaken(_) => Code::TryAgainLater,
        _ => Code::Internal,
    };
    CniError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn temporary_errors_have_code_11_and_others_999() {
        let (op, object) = ("set up", String::from("net1"));
        let late = netlink::Error::TimedOut { op, object: object.clone(), after: Duration::from_secs(10) };
        assert_eq!(kernel(&late).code, Code::TryAgainLater);
        let moved = netlink::Error::Inconsistent { op, object: object.clone(), tries: 3 };
        assert_eq!(kernel(&moved).code, Code::TryAgainLater);
        let odd = netlink::Error::Unexpected { op, object, what: "nothing" };
        assert_eq!((kernel(&odd).code, kernel(&odd).msg), (Code::Internal, odd.to_string()));
    }
}
