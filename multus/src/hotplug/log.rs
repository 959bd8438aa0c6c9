//! The log: lines on standard error, in the form of the daemons' logs.

use std::fmt::Display;
use std::io::Write as _;

/// The longest text, in characters.
const MAX_TEXT: usize = 2000;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Something was done.
    Info,
    /// Somebody should look at it.
    Warn,
}

/// Writes one line.
pub(super) fn log(level: Level, text: &dyn Display) {
    let level = match level {
        Level::Info => " INFO",
        Level::Warn => " WARN",
    };
    let text = node::text::printable(&text.to_string(), MAX_TEXT);
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(std::io::stderr(), "{} {level} multus::hotplug: {text}", node::clock::now());
}

/// Writes a warning that comes again and again only once, until another one comes.
#[derive(Debug, Default)]
pub(super) struct Once {
    last: Option<String>,
}

impl Once {
    /// Writes it unless it was the last one.
    pub(super) fn warn(&mut self, text: &dyn Display) {
        let text = Some(text.to_string());
        if self.last != text {
            log(Level::Warn, &text.as_deref().unwrap_or_default());
            self.last = text;
        }
    }

    /// The reason for the warning is over.
    pub(super) fn clear(&mut self) {
        self.last = None;
    }
}
