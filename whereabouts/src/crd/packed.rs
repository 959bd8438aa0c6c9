//! Compact forms of texts that are nearly always numbers: container IDs, UIDs, resourceVersions.
//!
//! A text that is not such a number is kept as text, so every text reads back unchanged and equal texts are equal values. A 64-digit
//! container ID takes 40 bytes in place of 80.

use std::fmt;

/// A UUID has a "-" before each of these digits.
const DASHES: [usize; 4] = [8, 12, 16, 20];

/// `N` bytes in lower-case hexadecimal digits; 16 bytes in the form of a UUID. Any other text is kept as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(Packed<[u8; N]>);

/// A number in decimal digits, without leading zeros. Any other text is kept as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(Packed<u64>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Packed<T> {
    Number(T),
    Text(Box<str>),
}

impl<const N: usize> Hex<N> {
    /// Packs any text.
    pub fn of(text: &str) -> Self {
        let mut bytes = [0; N];
        let digits = text.bytes().filter(|byte| *byte != b'-');
        for (index, digit) in digits.enumerate() {
            let value = char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            let (Some(byte), Some(value)) = (bytes.get_mut(index / 2), value) else {
                return Hex(Packed::Text(text.into()));
            };
            // Two digits a byte: the first one moves up when the second comes.
            *byte = *byte << 4 | value;
        }
        // Upper-case digits, too few digits or a "-" in another place read back as another text.
        let number = Hex(Packed::Number(bytes));
        if number.to_string() == text { number } else { Hex(Packed::Text(text.into())) }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Packed::Text(text) if text.is_empty())
    }

    /// The length of the text, in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Packed::Number(_) => 2 * N + if N == 16 { DASHES.len() } else { 0 },
            Packed::Text(text) => text.len(),
        }
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Packed::Number(bytes) => bytes,
            Packed::Text(text) => return f.write_str(text),
        };
        let mut text = String::with_capacity(self.len());
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (index, digit) in digits.enumerate() {
            if N == 16 && DASHES.contains(&index) {
                text.push('-');
            }
            text.extend(char::from_digit(digit.into(), 16));
        }
        f.write_str(&text)
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Decimal {
    /// Packs any text.
    pub fn of(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        Decimal(number.map_or_else(|| Packed::Text(text.into()), Packed::Number))
    }

    /// The number, if the text is one without leading zeros and below 2^64.
    pub const fn number(&self) -> Option<u64> {
        match self.0 {
            Packed::Number(number) => Some(number),
            Packed::Text(_) => None,
        }
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Decimal(Packed::Number(number))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Packed::Number(number) => number.fmt(f),
            Packed::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Decimal, Hex, Packed};

    const DIGEST: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
    const UUID: &str = "0b5dbf05-7e5c-4e3b-8d0e-0a6a1d5bd0d1";

    #[test]
    fn every_text_reads_back_unchanged() {
        let texts = [
            "",
            "0",
            "7",
            "007",
            "+7",
            "18446744073709551615",
            "18446744073709551616",
            "abc",
            "c1",
            DIGEST,
            &DIGEST.to_uppercase(),
            &DIGEST[..62],
            &DIGEST[..63],
            &format!("{DIGEST}0"),
            &format!("{DIGEST}-"),
            UUID,
            &UUID.to_uppercase(),
            &UUID.replace('-', ""),
            &UUID.replacen("5-", "-5", 1),
            "0b5dbf057e5c4e3b8d0e0a6a1d5bd0d1----",
            "o-10-0-0-1",
            "\u{430}",
        ];
        for text in texts {
            let (digest, uid, decimal) = (Hex::<32>::of(text), Hex::<16>::of(text), Decimal::of(text));
            assert_eq!([digest.to_string(), uid.to_string(), decimal.to_string()], [text; 3]);
            assert_eq!((digest.len(), uid.len()), (text.len(), text.len()), "{text}");
            assert_eq!((digest.is_empty(), uid.is_empty()), (text.is_empty(), text.is_empty()), "{text}");
        }
    }

    #[test]
    fn digests_uuids_and_numbers_are_packed() {
        assert!(matches!(Hex::<32>::of(DIGEST).0, Packed::Number(_)));
        assert!(matches!(Hex::<16>::of(UUID).0, Packed::Number(_)));
        assert_eq!((Decimal::of("4711").number(), Decimal::of("04711").number()), (Some(4711), None));
        assert_eq!((size_of::<Hex<32>>(), size_of::<Hex<16>>(), size_of::<Decimal>()), (40, 24, 16));
    }
}
