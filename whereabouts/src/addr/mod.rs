//! Arithmetic on addresses: text, ranges, slices. No Kubernetes, no input or output.

pub mod ip;
pub mod range;
pub mod slices;
