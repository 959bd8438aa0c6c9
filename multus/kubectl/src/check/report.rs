//! The result of a check, by values.

use nad::NadRef;
use serde::Serialize;

use crate::definition::{DefinedPool, Definition, read};
use crate::finding::{Finding, Severity};
use crate::overlap::{self, Surroundings};

/// A definition to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub nad_ref: NadRef,
    /// Its `spec.config`.
    pub config: String,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The definitions that were checked, sorted by name.
    pub definitions: Vec<Row>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// One definition, for a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `<namespace>/<name>`.
    pub definition: String,
    /// The types of its plugins.
    pub plugins: Vec<String>,
    /// Its masters, in order of preference.
    pub masters: Vec<String>,
    /// The IPAM types of its plugins.
    pub ipam: Vec<String>,
    /// Its whereabouts pools.
    pub pools: Vec<PoolRow>,
}

/// One pool of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolRow {
    /// The IPPool, or the NodeSlicePool.
    pub name: String,
    /// The range.
    pub range: String,
    /// The first address that may be allocated.
    pub first: String,
    /// The last address that may be allocated.
    pub last: String,
    /// How many may be allocated, as text: IPv6 ranges have more than JSON's numbers can hold.
    pub addresses: String,
}

impl Report {
    /// The number of findings of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Checks `inputs`. `others` are further definitions of the cluster: they are compared with, and not reported about.
pub fn check(
    inputs: &[Input],
    others: &[Input],
    surroundings: &Surroundings,
    found_before: Vec<Finding>,
) -> Report {
    let read_all = |inputs: &[Input]| -> Vec<Definition> {
        inputs.iter().map(|input| read(&input.nad_ref, &input.config)).collect()
    };
    let mut checked = read_all(inputs);
    checked.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Row> = checked.iter().map(row).collect();
    let mut findings = found_before;
    findings.extend(checked.iter().flat_map(|definition| definition.findings.clone()));
    checked.extend(read_all(others));
    let between = overlap::check(&checked, surroundings);
    let is_about_input = |finding: &Finding| {
        finding.definitions.iter().any(|name| rows.iter().any(|row| row.definition == *name))
    };
    findings.extend(between.into_iter().filter(is_about_input));
    // Stable: findings of one severity stay in the order of the definitions.
    findings.sort_by_key(|finding| finding.severity);
    Report { definitions: rows, findings }
}

fn row(definition: &Definition) -> Row {
    let pool = |pool: &DefinedPool| PoolRow {
        name: pool.name.clone(),
        range: pool.range().to_string(),
        first: pool.addresses.first().to_string(),
        last: pool.addresses.last().to_string(),
        addresses: pool.addresses.size().to_string(),
    };
    Row {
        definition: definition.name.clone(),
        plugins: definition.plugins.clone(),
        masters: definition.masters(),
        ipam: definition.ipam.clone(),
        pools: definition.pools.iter().map(pool).collect(),
    }
}
