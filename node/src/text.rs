//! Foreign text made fit for an error message.

/// `value` with control and other unprintable characters escaped, cut after `max` characters.
pub(crate) fn printable(value: &str, max: usize) -> String {
    let mut shown: String = value.chars().take(max).flat_map(escape).collect();
    let left = value.chars().count().saturating_sub(max);
    if left > 0 {
        shown.push_str(&format!("... ({left} more)"));
    }
    shown
}

fn escape(c: char) -> Vec<char> {
    // Quotes stay readable; what could move a cursor, forge a log line or turn text around does not.
    if c == '"' || c == '\'' || (c != '\\' && c.is_ascii_graphic()) || c == ' ' {
        vec![c]
    } else {
        c.escape_default().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_and_unicode_are_escaped() {
        assert_eq!(printable("a\n\u{1b}[31m\u{202e}b\\", 99), "a\\n\\u{1b}[31m\\u{202e}b\\\\");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(printable("abcdef", 4), "abcd... (2 more)");
        assert_eq!(printable("abcd", 4), "abcd");
    }
}
