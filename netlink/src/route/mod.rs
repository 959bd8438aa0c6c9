//! Unicast routes of all routing tables.

pub(crate) mod message;
mod model;
mod requests;

pub use model::{MAIN_TABLE, Route, RouteFilter, RouteScope};
