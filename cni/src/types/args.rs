//! `CNI_ARGS`: `KEY=VALUE` pairs from the runtime, separated by `;`.

use crate::types::error::{CniError, Code};

/// The pairs of `CNI_ARGS`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
}

impl CniArgs {
    /// Reads `KEY=VALUE;KEY=VALUE`. Empty pieces are skipped.
    ///
    /// # Errors
    /// Code 4 for a piece without a key, without `=`, or with more than one.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let mut pairs = Vec::new();
        for piece in text.split(';').filter(|p| !p.is_empty()) {
            match piece.split('=').collect::<Vec<_>>().as_slice() {
                [key, value] if !key.is_empty() => pairs.push(((*key).to_owned(), (*value).to_owned())),
                _ => return Err(invalid(format!("ARGS: invalid pair {piece:?}"))),
            }
        }
        Ok(CniArgs { pairs })
    }

    /// The value of `key`; the last one if the key is repeated.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Sets `key` and removes its earlier pairs.
    pub fn set(&mut self, key: &str, value: &str) {
        self.pairs.retain(|(k, _)| k != key);
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    /// The pairs in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Whether the runtime allows keys that the plugin does not know.
    pub fn ignores_unknown(&self) -> bool {
        matches!(self.get("IgnoreUnknown"), Some("1" | "true" | "True"))
    }

    /// Checks that all keys are in `known`, unless `IgnoreUnknown` is set.
    ///
    /// # Errors
    /// Code 4 with the unknown pairs.
    pub fn only(&self, known: &[&str]) -> Result<(), CniError> {
        if self.ignores_unknown() {
            return Ok(());
        }
        let is_unknown = |key: &str| key != "IgnoreUnknown" && !known.contains(&key);
        let unknown: Vec<String> = self
            .pairs
            .iter()
            .filter(|(k, _)| is_unknown(k))
            .map(|(k, v)| format!("{:?}", format!("{k}={v}")))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(invalid(format!("ARGS: unknown args [{}]", unknown.join(" ")))
            .with_details("set IgnoreUnknown=1 to ignore unknown keys"))
    }

    /// The text form for `CNI_ARGS`.
    pub fn to_text(&self) -> String {
        self.pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(";")
    }
}

impl FromIterator<(String, String)> for CniArgs {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(iter: T) -> Self {
        CniArgs { pairs: iter.into_iter().collect() }
    }
}

fn invalid(msg: String) -> CniError {
    CniError::new(Code::InvalidEnvironment, msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_in_order_and_the_last_value_is_used() {
        let args = CniArgs::parse("IgnoreUnknown=1;A=x;A=y;").unwrap();
        assert_eq!(args.get("A"), Some("y"));
        assert_eq!(args.to_text(), "IgnoreUnknown=1;A=x;A=y");
        assert!(args.ignores_unknown());
    }

    #[test]
    fn a_pair_has_exactly_one_equals_sign() {
        for bad in ["A", "A=b=c", "=b"] {
            assert_eq!(CniArgs::parse(bad).unwrap_err().code, Code::InvalidEnvironment, "{bad}");
        }
    }

    #[test]
    fn unknown_keys_are_errors_unless_ignore_unknown_is_set() {
        let args = CniArgs::parse("MAC=1;NOPE=2").unwrap();
        assert_eq!(args.only(&["MAC"]).unwrap_err().msg, "ARGS: unknown args [\"NOPE=2\"]");
        assert!(CniArgs::parse("IgnoreUnknown=true;NOPE=2").unwrap().only(&[]).is_ok());
    }

    #[test]
    fn setting_a_key_replaces_all_its_pairs() {
        let mut args = CniArgs::parse("A=1;B=2;A=3").unwrap();
        args.set("A", "4");
        assert_eq!(args.to_text(), "B=2;A=4");
    }
}
