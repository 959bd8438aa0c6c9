//! Arithmetic on addresses: text, ranges, slices. No Kubernetes, no I/O.

pub mod ip;
pub mod range;
pub mod slices;
