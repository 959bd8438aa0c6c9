//! File names made of texts that may be long or contain "/".

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// `prefix` and a hash of `parts` in 16 hexadecimal digits.
///
/// SipHash-2-4 with the key 0: the name is the same in every release, which `std`'s hasher does not promise. Different parts may have one
/// name, so use it only for files whose loss costs nothing.
pub(super) fn hashed(prefix: &str, parts: &[&[u8]]) -> String {
    let mut hasher = SipHasher24::new();
    for part in parts {
        hasher.write(part);
        // No part contains a NUL, so different lists of parts are different bytes.
        hasher.write(&[0]);
    }
    format!("{prefix}-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::hashed;

    #[test]
    fn a_name_is_the_same_in_every_release() {
        assert_eq!(hashed("owner", &[b"10.0.0.0-8", b"shop/web-0", b"net1"]), "owner-85cd1a673e705227");
    }

    #[test]
    fn different_parts_have_different_names() {
        let name = hashed("owner", &[b"p", b"a/b", b"net1"]);
        assert_ne!(name, hashed("owner", &[b"p", b"a/b", b"net2"]));
        assert_ne!(name, hashed("owner", &[b"pa", b"/b", b"net1"]));
    }
}
