//! What happened in a run, in numbers.

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// ADDs that succeeded.
    pub adds: usize,
    /// ADDs by Whereabouts.
    pub upstream: usize,
    /// ADDs that failed.
    pub failed: usize,
    /// ADDs that were killed, or whose callers were.
    pub killed: usize,
    /// DELs that began.
    pub dels: usize,
    /// Attachments that ended without a DEL.
    pub lost: usize,
    /// Creates, changes and deletes of claims.
    pub commits: usize,
    /// Claims of live attachments that somebody deleted.
    pub deleted: usize,
    /// Of those, the ones whose address another attachment claimed.
    pub usurped: usize,
    /// New sandboxes that had to get the address of an earlier one, and did.
    pub kept: usize,
    /// Claims that exist at the end, with an existing pod, and that no live attachment uses.
    pub unused: usize,
}

impl Counts {
    /// The number of ADDs and DELs.
    pub const fn operations(&self) -> usize {
        self.adds + self.upstream + self.failed + self.killed + self.dels
    }

    /// Adds those of another run.
    pub const fn add(&mut self, other: Counts) {
        self.adds += other.adds;
        self.upstream += other.upstream;
        self.failed += other.failed;
        self.killed += other.killed;
        self.dels += other.dels;
        self.lost += other.lost;
        self.commits += other.commits;
        self.deleted += other.deleted;
        self.usurped += other.usurped;
        self.kept += other.kept;
        self.unused += other.unused;
    }
}
