//! Why an annotation is refused. Upstream's texts where it has one, because its tools and tests match on them.

/// Most networks that one annotation may name. Each costs a request to the API server and a plugin run.
pub const MAX_NETWORKS: usize = 32;
/// Longest annotation that is read, in bytes.
pub(crate) const MAX_TEXT: usize = 64 << 10;

/// An annotation is wrong. The owner of the pod must correct it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It is longer than 64 KiB.
    #[error("the annotation has {length} bytes, but at most {MAX_TEXT} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It names more than [`MAX_NETWORKS`].
    #[error("the annotation names {count} networks, but at most {MAX_NETWORKS} are allowed")]
    TooMany {
        /// The number of networks.
        count: usize,
    },
    /// More than one `/` in an item of the comma form.
    #[error("parsePodNetworkObjectName: Invalid network object (failed at '/')")]
    Slash,
    /// More than one `@` in an item of the comma form.
    #[error("parsePodNetworkObjectName: Invalid network object (failed at '@')")]
    At,
    /// A name in the comma form is not made of lower-case letters, digits and `-`.
    #[error(
        "parsePodNetworkObjectName: Failed to parse: one or more items did not match comma-delimited format (must consist of lower \
         case alphanumeric characters). Must start and end with an alphanumeric character), mismatch @ '{}'", shown(.item)
    )]
    Mismatch {
        /// The name.
        item: String,
    },
    /// An interface name that Linux does not allow, in the comma form.
    #[error(
        "parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 chars and not contain '/' or spaces. \
         interface name '{}'", shown(.name)
    )]
    Interface {
        /// The name.
        name: String,
    },
    /// The JSON form is not a list of objects with the right types.
    #[error(
        "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: {reason}"
    )]
    Json {
        /// What is wrong, and where.
        reason: String,
    },
    /// A name in the JSON form is not a valid object name.
    #[error("parsePodNetworkAnnotation: network {at}: {source}")]
    Name {
        /// The place in the list, from 0.
        at: usize,
        /// What is wrong.
        source: node::names::NameError,
    },
    /// `name` and `namespace` of the JSON form name two namespaces.
    #[error(
        "parsePodNetworkAnnotation: network {at}: \"name\" has the namespace '{}', but \"namespace\" is '{}': give only one", shown(.in_name),
        shown(.own)
    )]
    TwoNamespaces {
        /// The place in the list, from 0.
        at: usize,
        /// The namespace before the `/` of `name`.
        in_name: String,
        /// `namespace`.
        own: String,
    },
    /// An entry of `routes` that cannot be a route of the pod's.
    #[error("parsePodNetworkAnnotation: network {at}: \"routes\" has {dst}, which is refused: {reason}")]
    Route {
        /// The place in the list, from 0.
        at: usize,
        /// The destination.
        dst: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An interface name that Linux does not allow, in the JSON form.
    #[error("parsePodNetworkAnnotation: network {at}: {reason}: '{}'", shown(.name))]
    JsonInterface {
        /// The place in the list, from 0.
        at: usize,
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An entry of `ips` with a `/` is not a prefix.
    #[error("failed to parse CIDR \"{0}\": invalid CIDR address: {0}", shown(.text))]
    Cidr {
        /// The entry.
        text: String,
    },
    /// An entry of `ips` is not an address.
    #[error("failed to parse IP address \"{}\"", shown(.text))]
    Ip {
        /// The entry.
        text: String,
    },
    /// `mac` is not a hardware address.
    #[error("parsePodNetworkAnnotation: failed to mac: address {}: invalid MAC address", shown(.text))]
    Mac {
        /// The text.
        text: String,
    },
    /// `infiniband-guid` is not a hardware address.
    #[error("parsePodNetworkAnnotation: failed to validate infiniband GUID: address {}: invalid MAC address", shown(.text))]
    Guid {
        /// The text.
        text: String,
    },
    /// The annotation of the default network names several.
    #[error("tryLoadK8sPodDefaultNetwork: more than one default network is specified: {}", shown(.text))]
    SeveralDefaults {
        /// The annotation.
        text: String,
    },
}

/// Refuses a list of more than [`MAX_NETWORKS`].
pub(super) fn within_limit(count: usize) -> Result<(), SelectionError> {
    if count > MAX_NETWORKS { Err(SelectionError::TooMany { count }) } else { Ok(()) }
}

/// A text of the annotation for a message: escaped, at most 64 characters of it.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The message of the JSON parser, which quotes the annotation: escaped, at most 300 characters of it.
pub(super) fn shown_long(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}
