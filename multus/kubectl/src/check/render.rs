//! The result of a check as text.

use multus::explain::Page;

use super::report::{PoolRow, Report, Row};
use crate::finding::Severity;

/// The text for a person.
pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    if !report.definitions.is_empty() {
        let rows: Vec<[String; 4]> = report.definitions.iter().map(cells).collect();
        page.table(["DEFINITION", "PLUGINS", "MASTER", "ADDRESSES"], &rows);
        page.space();
    }
    for finding in &report.findings {
        match finding.definitions.as_slice() {
            [] => page.line(&finding.severity.to_string()),
            names => page.line(&format!("{}: {}", finding.severity, names.join(", "))),
        }
        page.paragraph("    ", &finding.message);
        if !finding.remedy.is_empty() {
            page.paragraph("    to do: ", &finding.remedy);
        }
        page.space();
    }
    page.line(&format!(
        "{} checked: {}, {}, {}",
        counted(report.definitions.len(), "definition"),
        counted(report.count(Severity::Error), "error"),
        counted(report.count(Severity::Warning), "warning"),
        counted(report.count(Severity::Note), "note"),
    ));
    page.into_text()
}

fn cells(row: &Row) -> [String; 4] {
    let of_pool =
        |pool: &PoolRow| format!("{} ({} to {}: {})", pool.range, pool.first, pool.last, pool.addresses);
    let pools: Vec<String> = row.pools.iter().map(of_pool).collect();
    let ipam = row.ipam.join(",");
    let addresses = if pools.is_empty() { ipam } else { format!("{ipam} {}", pools.join(", ")) };
    [row.definition.clone(), row.plugins.join(","), row.masters.join(","), addresses]
}

/// "1 error", "2 errors".
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
