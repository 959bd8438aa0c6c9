//! Hardware addresses in the forms of Go's `net.ParseMAC`, because upstream accepts exactly these.

/// Whether `text` is 6, 8 or 20 bytes as `00:11:..`, `00-11-..` or `0011.2233...`.
pub(super) fn is_hardware_address(text: &str) -> bool {
    let (separator, digits) = match text.chars().find(|c| !c.is_ascii_hexdigit()) {
        Some(c @ (':' | '-')) => (c, 2),
        Some('.') => ('.', 4),
        _ => return false,
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let is_group = |group: &&str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
    // EUI-48, EUI-64 and the 20 bytes of IP over InfiniBand.
    matches!(groups.len() * digits / 2, 6 | 8 | 20) && groups.iter().all(is_group)
}

#[cfg(test)]
mod tests {
    use super::is_hardware_address;

    #[test]
    fn six_eight_and_twenty_bytes_in_three_styles() {
        let twenty = vec!["0f"; 20];
        for good in [
            "02:00:5e:10:00:00",
            "02-00-5E-10-00-00",
            "0200.5e10.0000",
            "02:00:5e:10:00:00:00:01",
            "0200.5e10.0000.0001",
            &twenty.join(":"),
        ] {
            assert!(is_hardware_address(good), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "02",
            "02005e100000",
            "02:00:5e:10:00",
            "02:00:5e:10:00:00:01",
            "2:0:5e:10:0:0",
            "02:00:5e:10:00-00",
            "02:00:5e:10:00:0g",
            "0200:5e10:0000",
            "02.00.5e.10.00.00",
            "02:00:5e:10:00:00 ",
        ] {
            assert!(!is_hardware_address(bad), "{bad}");
        }
    }
}
