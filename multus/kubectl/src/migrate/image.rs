//! The parts of an image's name.

/// The last part of our image's repository.
const OURS: &str = "multus-rs";

/// The last part of the repository: `multus-cni` of `ghcr.io/k8snetworkplumbingwg/multus-cni:v4.3.0-thick`.
pub fn base_name(image: &str) -> &str {
    let repository = image.split_once('@').map_or(image, |(repository, _)| repository);
    let last = repository.rsplit('/').next().unwrap_or(repository);
    last.split_once(':').map_or(last, |(name, _)| name)
}

/// The tag, or the beginning of the digest of an image without a tag; empty if it has neither.
pub fn version(image: &str) -> String {
    let (repository, digest) =
        image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = repository.rsplit('/').next().unwrap_or(repository);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.to_owned(),
        (None, Some(digest)) => digest.chars().take("sha256:".len() + 12).collect(),
        (None, None) => String::new(),
    }
}

/// Whether the image is one of ours: by its name, or because it is the one to change to.
pub fn is_ours(image: &str, target: &str) -> bool {
    image == target || base_name(image) == OURS
}
