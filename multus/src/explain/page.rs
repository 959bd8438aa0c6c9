//! Text for a person at a terminal, and JSON for a program. Names, annotations and messages come from anybody who may create a pod, so that
//! everything is escaped here: no caller can forget it.

use node::text::printable;
use serde::Serialize;

/// The most characters of one text that are shown. An event has at most 1024.
const MAX_TEXT: usize = 4096;

/// The most characters of one cell of a table that are shown.
const MAX_CELL: usize = 128;

/// Where a long text is broken, in characters. Words are not broken.
const WIDTH: usize = 110;

/// What a cell without a value shows.
const NOTHING: &str = "-";

/// The text to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(String);

impl Page {
    /// Adds a line.
    pub fn line(&mut self, text: &str) {
        self.push_line(&printable(text, MAX_TEXT));
    }

    /// Adds an empty line.
    pub fn space(&mut self) {
        self.push_line("");
    }

    /// Adds a text that may be long: `label`, then the text, broken into lines that begin below the text's first word.
    pub fn paragraph(&mut self, label: &str, text: &str) {
        let indent = label.chars().count();
        let mut line = printable(label, MAX_CELL);
        let mut length = indent;
        for word in printable(text, MAX_TEXT).split(' ') {
            let more = word.chars().count() + 1;
            if length > indent && length + more > WIDTH {
                self.push_line(&line);
                (line, length) = (" ".repeat(indent), indent);
            }
            if length > indent {
                line.push(' ');
            }
            line.push_str(word);
            length += more;
        }
        self.push_line(&line);
    }

    /// Adds a table with aligned columns. An empty cell is shown as "-".
    pub fn table<const N: usize>(&mut self, head: [&str; N], rows: &[[String; N]]) {
        let shown = |cell: &str| match cell {
            "" => NOTHING.to_owned(),
            cell => printable(cell, MAX_CELL),
        };
        let head = head.map(str::to_owned);
        let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| shown(cell))).collect();
        let mut widths = [0; N];
        for row in rows.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in [&head].into_iter().chain(&rows) {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line: Vec<String> = cells.collect();
            self.push_line(&line.join("   "));
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn push_line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

/// `value` as JSON, in ASCII: a terminal acts on some characters that JSON leaves as they are.
pub fn json<T: Serialize>(value: &T) -> String {
    // Writing to memory fails only for maps with keys other than strings; no caller prints one.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
            continue;
        }
        // Outside of strings JSON is ASCII, and inside of them every character may be written so.
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(work: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::default();
        work(&mut page);
        page.into_text()
    }

    #[test]
    fn columns_are_aligned_and_empty_cells_are_marked() {
        let rows = [
            ["a".to_owned(), String::new(), "x y".to_owned()],
            ["long".to_owned(), "b".to_owned(), String::new()],
        ];
        let want = "NAME   B   C\na      -   x y\nlong   b   -\n";
        assert_eq!(page(|page| page.table(["NAME", "B", "C"], &rows)), want);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\nb";
        let text = page(|page| {
            page.line(hostile);
            page.paragraph("x: ", hostile);
            page.table(["A"], &[[hostile.to_owned()]]);
        });
        assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{text:?}");
        assert_eq!(text.lines().count(), 4, "{text}");
        let json = json(&[hostile, "\u{7f}\u{1f600}"]);
        assert!(json.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{json:?}");
        assert_eq!(serde_json::from_str::<[String; 2]>(&json).unwrap(), [hostile, "\u{7f}\u{1f600}"]);
    }

    #[test]
    fn a_long_text_is_broken_below_its_first_word() {
        let text = page(|page| page.paragraph("why: ", &"word ".repeat(40)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("why: word") && lines[1].starts_with("     word"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(page(|page| page.paragraph("- ", &"x".repeat(300))).lines().count(), 1);
    }
}
