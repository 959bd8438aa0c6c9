//! Foreign text in error messages, in logs and on a terminal.

/// `value`, cut after `max` characters, with everything escaped that is not printable ASCII.
pub fn printable(value: &str, max: usize) -> String {
    let mut shown: String = value.chars().take(max).flat_map(escape).collect();
    let left = value.chars().count().saturating_sub(max);
    if left > 0 {
        shown.push_str(&format!("... ({left} more)"));
    }
    shown
}

fn escape(c: char) -> Vec<char> {
    // Quotes stay as they are. Line ends could forge a log line, escape sequences move the cursor, and bidi marks reorder the text.
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
    fn long_text_is_cut_with_the_number_of_characters_left() {
        assert_eq!(printable("abcdef", 4), "abcd... (2 more)");
        assert_eq!(printable("abcd", 4), "abcd");
    }
}
