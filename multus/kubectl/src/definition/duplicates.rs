//! Keys that a JSON text has twice. Every reader takes the last one and says nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::report::Report;

/// The most keys that are reported.
const MOST: usize = 5;

/// Warns about keys that stand twice in one object. Keys match in any case, as plugins match them.
pub(super) fn check(config: &str, report: &mut Report<'_>) {
    let mut found = BTreeSet::new();
    let mut deserializer = serde_json::Deserializer::from_str(config);
    // The text was read before, so that there is no error to report.
    let _ = Keys { found: &mut found }.deserialize(&mut deserializer);
    for key in found.into_iter().take(MOST) {
        report.warn(
            format!("the key {key:?} stands twice in one object, and only the last one counts"),
            "remove one of them",
        );
    }
}

/// Reads a value of any type, and collects the keys that are there twice.
struct Keys<'a> {
    found: &'a mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Keys { found: self.found })?;
            if !seen.insert(key.to_ascii_lowercase()) {
                self.found.insert(key);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Keys { found: self.found })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
