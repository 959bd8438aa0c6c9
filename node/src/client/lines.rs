//! Lines from bytes that arrive in pieces.

use std::ops::Range;
use std::slice::SliceIndex;

/// The longest line, in bytes. etcd's limit for an object is 1.5 MiB, and JSON takes a few times as much at most.
const MAX_LINE: usize = 16 << 20;

/// The buffer's usual capacity, in bytes. A buffer that grew for a longer line shrinks to it afterwards.
const USUAL: usize = 64 << 10;

/// The bytes that have arrived and are not read yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The number of `bytes` that are read.
    read: usize,
    /// The number of `bytes` that were searched for a line end.
    searched: usize,
}

/// A line is longer than this many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub usize);

impl Lines {
    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Moves the rest to the front: it is at most one incomplete line.
        self.bytes.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        if self.bytes.len() + bytes.len() <= USUAL {
            self.bytes.shrink_to(USUAL);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The position of the next complete line, without its end. Skips blank lines. `None` if no complete line has arrived.
    pub(super) fn next(&mut self) -> Result<Option<Range<usize>>, TooLong> {
        while let Some(line) = self.cut() {
            if line.len() > MAX_LINE {
                return Err(TooLong(MAX_LINE));
            }
            if !self.is_blank(line.clone()) {
                return Ok(Some(line));
            }
        }
        let waiting = self.searched - self.read;
        if waiting > MAX_LINE { Err(TooLong(MAX_LINE)) } else { Ok(None) }
    }

    /// The line at a position that `next` returned last.
    pub(super) fn get(&self, line: Range<usize>) -> &[u8] {
        self.bytes.get(line).unwrap_or_default()
    }

    fn cut(&mut self) -> Option<Range<usize>> {
        let fresh = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(length) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = self.read..self.searched + length;
        self.read = line.end + 1;
        self.searched = self.read;
        Some(line)
    }

    fn is_blank(&self, line: impl SliceIndex<[u8], Output = [u8]>) -> bool {
        self.bytes.get(line).unwrap_or_default().iter().all(u8::is_ascii_whitespace)
    }

    /// Whether no incomplete line is left over.
    pub(super) fn is_between(&self) -> bool {
        self.is_blank(self.read..)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE, TooLong, USUAL};

    fn take(lines: &mut Lines) -> Vec<String> {
        let next = || lines.next().unwrap().map(|line| String::from_utf8(lines.get(line).to_vec()).unwrap());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn lines_do_not_depend_on_the_size_of_the_pieces() {
        let text = b"one\n\n\ntwo and more\r\n three\nfour";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                found.extend(take(&mut lines));
            }
            assert_eq!(found, ["one", "two and more\r", " three"], "in pieces of {size}");
            assert!(!lines.is_between());
            lines.push(b"\n");
            assert_eq!(take(&mut lines), ["four"]);
            assert!(lines.is_between());
        }
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE]);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next(), Err(TooLong(MAX_LINE)));
        lines.push(b"\n");
        assert_eq!(lines.next(), Err(TooLong(MAX_LINE)));
    }

    #[test]
    fn the_buffer_shrinks_after_a_long_line() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; 1 << 20]);
        lines.push(b"\n");
        assert_eq!(lines.next().unwrap().map(|line| line.len()), Some(1 << 20));
        lines.push(b"short\n");
        assert_eq!(take(&mut lines), ["short"]);
        assert!(lines.bytes.capacity() <= USUAL, "{}", lines.bytes.capacity());
    }
}
