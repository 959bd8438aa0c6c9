//! One exchange with the kernel: a request, and the response in the bytes of one or more datagrams.
//!
//! Nothing here knows what the objects in a response mean; that is for `link`, `address` and `route`.

pub(crate) mod channel;
mod ext_ack;
pub(crate) mod response;
mod trim;
