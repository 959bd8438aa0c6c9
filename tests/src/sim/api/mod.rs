//! An API server in memory: what a real one promises about names, versions, selectors, patches, preconditions and watches, and nothing
//! that depends on time or chance (that is [`faults`](super::faults)).
//!
//! | module | answers |
//! |---|---|
//! | [`store`] | which objects are there, which were there at an earlier revision, and what may a write do? |
//! | [`patch`] | what does a merge patch or a JSON patch make of an object? |
//! | [`select`] | is this object meant by these selectors? |
//! | [`http`](self::http) | what does an HTTP request ask, and how is it answered? |

pub mod http;
pub mod patch;
pub mod select;
pub mod store;

#[cfg(test)]
mod tests;
