//! Ethertypes in network byte order.

/// `ETH_P_ARP`.
pub(crate) const ARP: [u8; 2] = [0x08, 0x06];

/// `ETH_P_IPV6`.
pub(crate) const IPV6: [u8; 2] = [0x86, 0xdd];

/// `ETH_P_ALL`: frames of every type, also those that the host itself sends.
#[cfg(feature = "test-util")]
pub(crate) const ALL: [u8; 2] = [0x00, 0x03];
