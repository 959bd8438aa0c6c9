//! Results of ADD, as values and in the JSON form of each version (CNI spec 1.1.0, section 5, "ADD Success").
//!
//! | module | question it answers |
//! |---|---|
//! | `value` | what can a result hold? |
//! | `combine` | how do results of several plugins become one? |
//! | `legacy`, `modern` | what JSON do versions up to 0.2.0, and from 0.3.0 on, have? |
//! | `raw` | which version does a JSON result have, and how is it converted? |

mod combine;
mod legacy;
mod modern;
mod raw;
mod value;

pub use raw::{RawResult, ResultError};
pub use value::{CniResult, Dns, Interface, Ip, Route};

#[cfg(test)]
mod tests;
