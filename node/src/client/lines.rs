//! Bytes that arrive in pieces, cut into lines again.

/// No object of the API server comes near: etcd takes 1.5 MiB, and JSON is a few times as long at most.
const MAX_LINE: usize = 16 << 20;

/// The bytes that arrived and are not read yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// How many of `bytes` are read.
    read: usize,
    /// How many of `bytes` hold no line end that is not read.
    searched: usize,
}

/// A line is longer than this many bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub usize);

impl Lines {
    /// Appends what arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its end; empty lines are passed over. `None` if more must arrive first.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        loop {
            let fresh = self.bytes.get(self.searched..).unwrap_or_default();
            let Some(length) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                let waiting = self.searched - self.read;
                return if waiting > MAX_LINE { Err(TooLong(MAX_LINE)) } else { Ok(None) };
            };
            let end = self.searched + length;
            let line = self.bytes.get(self.read..end).unwrap_or_default().to_vec();
            self.read = end + 1;
            self.searched = self.read;
            if line.len() > MAX_LINE {
                return Err(TooLong(MAX_LINE));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line));
            }
        }
    }

    /// True if nothing of a line is waiting for its rest.
    pub(super) fn is_between(&self) -> bool {
        self.bytes.get(self.read..).unwrap_or_default().iter().all(u8::is_ascii_whitespace)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE, TooLong};

    fn take(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next().unwrap()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_do_not_depend_on_how_they_are_cut() {
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
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE]);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next(), Err(TooLong(MAX_LINE)));
        lines.push(b"\n");
        assert_eq!(lines.next(), Err(TooLong(MAX_LINE)));
    }
}
