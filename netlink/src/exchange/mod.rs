//! One exchange with the kernel: a request, and the response in the bytes of one or more datagrams.
//!
//! `link`, `address` and `route` interpret the objects in a response.

pub(crate) mod channel;
mod ext_ack;
pub(crate) mod response;
mod trim;
