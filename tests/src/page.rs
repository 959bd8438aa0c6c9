//! A page of which several benchmarks write one section each.

use std::path::Path;

/// `page` with this section, which begins with the line `title` (`## ...`) and goes on until the next such line. A new section comes last.
fn with_section(page: &str, title: &str, section: &str) -> String {
    let is_title = |line: &str| line.trim_end() == title;
    let lines: Vec<&str> = page.split_inclusive('\n').collect();
    let begin = lines.iter().position(|line| is_title(line)).unwrap_or(lines.len());
    let after = lines.iter().skip(begin + 1).position(|line| line.starts_with("## "));
    let end = after.map_or(lines.len(), |after| begin + 1 + after);
    let (before, rest) = (lines[..begin].concat(), lines[end..].concat());
    let parts = [before.trim(), section.trim(), rest.trim()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

/// Writes this section into the page, which is made if it is missing. See [`with_section`].
pub fn write_section(page: &Path, title: &str, section: &str) {
    std::fs::create_dir_all(page.parent().expect("a file in a folder")).expect("the folder can be made");
    let text = with_section(&std::fs::read_to_string(page).unwrap_or_default(), title, section);
    node::files::write_atomic(page, text.as_bytes(), 0o644).expect("the page can be written");
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn a_section_takes_the_place_of_the_earlier_one_and_leaves_the_others() {
        let page = "# Page\n\ntext\n\n## A\n\nold\n\n### part of A\n\n## B\n\nb\n";
        assert_eq!(
            with_section(page, "## A", "## A\n\nnew\n"),
            "# Page\n\ntext\n\n## A\n\nnew\n\n## B\n\nb\n"
        );
        assert_eq!(with_section("# Page\n", "## A", "## A\nnew"), "# Page\n\n## A\nnew\n");
        assert_eq!(with_section("", "## A", "## A\nnew"), "## A\nnew\n");
    }
}
