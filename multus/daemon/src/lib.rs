//! The node's daemon of multus.
