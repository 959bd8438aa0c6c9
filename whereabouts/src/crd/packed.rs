//! Texts that are kept as the numbers they nearly always are. Any other text is kept as it is, so that nothing is lost, and equal texts
//! are equal values.

use std::fmt;

/// Before these digits of a UUID there is a "-".
const DASHES: [usize; 4] = [8, 12, 16, 20];

/// A text of `N` bytes in lower-case hexadecimal digits; 16 bytes in the form of a UUID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(Kept<[u8; N]>);

/// A number in decimal digits, without leading zeros.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(Kept<u64>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kept<T> {
    Number(T),
    Text(Box<str>),
}

impl<const N: usize> Hex<N> {
    /// Of a text, whatever it is.
    pub fn of(text: &str) -> Self {
        let mut bytes = [0; N];
        let digits = text.bytes().filter(|byte| *byte != b'-');
        for (at, digit) in digits.enumerate() {
            let value = char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            let (Some(byte), Some(value)) = (bytes.get_mut(at / 2), value) else {
                return Hex(Kept::Text(text.into()));
            };
            *byte = *byte << 4 | value;
        }
        // What reads back as another text was no such number.
        let number = Hex(Kept::Number(bytes));
        if number.to_string() == text { number } else { Hex(Kept::Text(text.into())) }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Kept::Text(text) if text.is_empty())
    }

    /// How many bytes the text has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Number(_) => 2 * N + if N == 16 { DASHES.len() } else { 0 },
            Kept::Text(text) => text.len(),
        }
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Kept::Number(bytes) => bytes,
            Kept::Text(text) => return f.write_str(text),
        };
        let mut text = String::with_capacity(self.len());
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (at, digit) in digits.enumerate() {
            if N == 16 && DASHES.contains(&at) {
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
    /// Of a text, whatever it is.
    pub fn of(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        Decimal(number.map_or_else(|| Kept::Text(text.into()), Kept::Number))
    }

    /// The number, if the text is one in its usual form.
    pub const fn number(&self) -> Option<u64> {
        match self.0 {
            Kept::Number(number) => Some(number),
            Kept::Text(_) => None,
        }
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Decimal(Kept::Number(number))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Number(number) => number.fmt(f),
            Kept::Text(text) => text.fmt(f),
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
    use super::{Decimal, Hex, Kept};

    const DIGEST: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
    const UUID: &str = "0b5dbf05-7e5c-4e3b-8d0e-0a6a1d5bd0d1";

    #[test]
    fn every_text_reads_back_as_it_is() {
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
    fn the_usual_texts_are_kept_as_numbers() {
        assert!(matches!(Hex::<32>::of(DIGEST).0, Kept::Number(_)));
        assert!(matches!(Hex::<16>::of(UUID).0, Kept::Number(_)));
        assert_eq!((Decimal::of("4711").number(), Decimal::of("04711").number()), (Some(4711), None));
        assert_eq!((size_of::<Hex<32>>(), size_of::<Hex<16>>(), size_of::<Decimal>()), (40, 24, 16));
    }
}
