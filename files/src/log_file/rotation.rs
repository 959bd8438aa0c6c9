//! The limits of a log file.

use std::time::Duration;

/// When a log file is rotated, and which of the rotated files stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The size that the file must not exceed, in bytes. A line that is longer has a file of its own.
    pub max_bytes: u64,
    /// How many rotated files stay. `None` for all.
    pub backups: Option<usize>,
    /// How long a rotated file stays. `None` for ever.
    pub age: Option<Duration>,
    /// Whether a rotated file becomes smaller.
    pub compression: Compression,
}

/// Whether rotated files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are, as `.gz`.
    Gzip,
    /// They stay as they are.
    Off,
}

impl Rotation {
    /// What Multus' `logOptions` mean: `maxSize` in MiB, `maxBackups`, `maxAge` in days, `compress`. Without a value the default of Multus: 100, 5,
    /// 5, true. As in lumberjack, 0 is the default size, all backups, any age.
    pub fn of_options(
        max_size: Option<u64>,
        max_backups: Option<u64>,
        max_age: Option<u64>,
        compress: Option<bool>,
    ) -> Rotation {
        let above_zero =
            |value: Option<u64>, default| Some(value.unwrap_or(default)).filter(|value| *value > 0);
        Rotation {
            max_bytes: above_zero(max_size, 100).unwrap_or(100).saturating_mul(1 << 20),
            backups: above_zero(max_backups, 5).map(|backups| usize::try_from(backups).unwrap_or(usize::MAX)),
            age: above_zero(max_age, 5).map(|days| Duration::from_secs(days.saturating_mul(86_400))),
            compression: if compress.unwrap_or(true) { Compression::Gzip } else { Compression::Off },
        }
    }
}
