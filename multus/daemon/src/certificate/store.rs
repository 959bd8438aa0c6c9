//! Certificate and key in a folder, as upstream stores them: each pair in a file `multus-client-<time>.pem` of its own, and a link
//! `multus-client-current.pem` to the newest. Whoever follows the link never sees a certificate with the key of another.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use node::files::{FileError, read_bounded, write_atomic};
use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc4519::CN;

use super::schedule::Validity;
use crate::csr::from_pem;

/// The link to the newest pair.
const CURRENT: &str = "multus-client-current.pem";

/// How the files of the pairs begin.
const PREFIX: &str = "multus-client-";

/// How the link begins that will replace it.
const TEMP_PREFIX: &str = ".multus-client-current.pem.";

/// A file that is younger is not removed.
const RECENT: Duration = Duration::from_mins(1);

/// The largest file, in bytes. A pair takes some 2 KB.
const MAX_PAIR: u64 = 1 << 20;

/// The folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The link cannot be made, or an old file cannot be removed.
    #[error("cannot {verb} {path}: {source}", path = .path.display())]
    Folder {
        /// What failed.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a certificate is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no certificate with its key.
    #[error("{0}: expected a certificate and a private key in PEM")]
    Malformed(String),
    /// It is not valid now.
    #[error("it is valid from {from} to {to}, and now it is {now}: check the clock of this node")]
    NotValid {
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
        /// What this node's clock says.
        now: Timestamp,
    },
    /// It is another user's.
    #[error("it is for {found:?}, expected {expected:?}")]
    OfAnother {
        /// Whose it is.
        found: String,
        /// Whose it must be.
        expected: String,
    },
}

impl Store {
    /// The pairs in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The link to the newest pair.
    pub fn current(&self) -> PathBuf {
        self.folder.join(CURRENT)
    }

    /// When the newest pair is valid. It must be a certificate for `user`, with a key.
    pub(super) fn validity(&self, user: &str) -> Result<Validity, Unusable> {
        let pair = read_bounded(&self.current(), MAX_PAIR)?;
        let text = String::from_utf8(pair).map_err(|_| Unusable::Malformed(CURRENT.to_owned()))?;
        if !text.contains("PRIVATE KEY-----") {
            return Err(Unusable::Malformed(CURRENT.to_owned()));
        }
        validity_of(&text, user)
    }

    /// Stores a pair as the newest. Of the older ones only the last stays, for a program that has just followed the link.
    ///
    /// # Errors
    /// [`StoreError`]. The pair before is then still the newest.
    pub(super) fn put(&self, certificate: &str, key: &str, now: Timestamp) -> Result<(), StoreError> {
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Folder { verb, path, source }
        };
        std::fs::create_dir_all(&self.folder).map_err(failed("create", &self.folder))?;
        let before = std::fs::read_link(self.current()).ok();
        let name = format!("{PREFIX}{}.pem", now.strftime("%Y-%m-%d-%H-%M-%S"));
        write_atomic(&self.folder.join(&name), format!("{certificate}{key}").as_bytes(), 0o600)?;
        // A link cannot be replaced, but another link can be renamed over it. It is relative, so that it is right on the node too.
        // Two daemons may do this at once, while one replaces the other.
        let temp = self.folder.join(format!("{TEMP_PREFIX}{:08x}", fastrand::u32(..)));
        std::os::unix::fs::symlink(&name, &temp).map_err(failed("create", &temp))?;
        std::fs::rename(&temp, self.current()).map_err(failed("replace", &self.current()))?;
        let before =
            before.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        if let Err(error) = self.remove_all_but(&[&name, before, CURRENT]) {
            tracing::warn!(folder = %self.folder.display(), %error, "old certificates stay");
        }
        Ok(())
    }

    fn remove_all_but(&self, kept: &[&str]) -> Result<(), StoreError> {
        let failed = |source| StoreError::Folder { verb: "list", path: self.folder.clone(), source };
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !kept.contains(name)) else { continue };
            let is_ours =
                (name.starts_with(PREFIX) && name.ends_with(".pem")) || name.starts_with(TEMP_PREFIX);
            let age =
                entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
            // Another daemon may have just made it.
            if is_ours && age.is_some_and(|age| age > RECENT) {
                node::files::remove_if_exists(&self.folder.join(name))?;
            }
        }
        Ok(())
    }
}

/// When a certificate in PEM is valid, which must be for `user`. What else is in the text does not count.
pub(super) fn validity_of(text: &str, user: &str) -> Result<Validity, Unusable> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let malformed = || Unusable::Malformed("the certificate".to_owned());
    let (_, from) = text.split_once(BEGIN).ok_or_else(malformed)?;
    let (body, _) = from.split_once(END).ok_or_else(malformed)?;
    let pem = format!("{BEGIN}{body}{END}\n");
    let certificate: Certificate = from_pem("CERTIFICATE", pem.as_bytes()).map_err(|_| malformed())?;
    let names = certificate.tbs_certificate.subject.0.iter().flat_map(|rdn| rdn.0.iter());
    let name = names.rev().find(|attribute| attribute.oid == CN);
    // The strings of names that signers use are all subsets of UTF-8.
    let found =
        name.and_then(|name| std::str::from_utf8(name.value.value()).ok()).unwrap_or_default().to_owned();
    if found != user {
        return Err(Unusable::OfAnother { found, expected: user.to_owned() });
    }
    let validity = certificate.tbs_certificate.validity;
    let time = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let (from, to) = time(validity.not_before).zip(time(validity.not_after)).ok_or_else(malformed)?;
    Ok(Validity { from, to })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::certificate::tests::Signer;

    const NOW: &str = "2026-11-29T12:00:00Z";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_pair_is_stored_as_upstream_stores_it_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("certs"));
        let (certificate, key) = Signer::new().pair("system:multus:n1", at(NOW), at("2026-11-29T12:10:00Z"));
        store.put(&certificate, &key, at(NOW)).unwrap();
        let validity = store.validity("system:multus:n1").unwrap();
        assert_eq!(validity, Validity { from: at(NOW), to: at("2026-11-29T12:10:00Z") });
        let file = "multus-client-2026-11-29-12-00-00.pem";
        assert_eq!(names(&store.folder), [file, CURRENT]);
        assert_eq!(std::fs::read_link(store.current()).unwrap(), Path::new(file));
        assert_eq!(std::fs::read_to_string(store.current()).unwrap(), format!("{certificate}{key}"));
        assert_eq!(std::fs::metadata(store.current()).unwrap().permissions().mode() & 0o777, 0o600);
        let error = store.validity("system:multus:n2").unwrap_err().to_string();
        assert_eq!(error, r#"it is for "system:multus:n1", expected "system:multus:n2""#);
    }

    #[test]
    fn only_the_newest_two_pairs_stay_and_files_of_others_too() {
        let folder = tempfile::tempdir().unwrap();
        let (store, signer) = (Store::new(folder.path()), Signer::new());
        for other in ["kubelet-client-1.pem", "multus-client-x.txt"] {
            write_atomic(&folder.path().join(other), b"x", 0o600).unwrap();
        }
        for minute in 0..4 {
            let now = at(&format!("2026-11-29T12:0{minute}:00Z"));
            let (certificate, key) = signer.pair("system:multus:n1", now, at("2026-11-29T13:00:00Z"));
            store.put(&certificate, &key, now).unwrap();
            assert_eq!(store.validity("system:multus:n1").unwrap().from, now);
            let file = std::fs::File::options().append(true).open(store.current()).unwrap();
            file.set_modified(std::time::SystemTime::now() - 2 * RECENT).unwrap();
        }
        let (last, newest) =
            ("multus-client-2026-11-29-12-02-00.pem", "multus-client-2026-11-29-12-03-00.pem");
        assert_eq!(
            names(folder.path()),
            ["kubelet-client-1.pem", last, newest, CURRENT, "multus-client-x.txt"]
        );
    }

    /// client-go's link has the whole path.
    #[test]
    fn a_link_of_upstreams_is_followed_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (store, signer) = (Store::new(folder.path()), Signer::new());
        let (certificate, key) = signer.pair("system:multus:n1", at(NOW), at("2026-11-29T12:10:00Z"));
        let old = folder.path().join("multus-client-2026-11-29-11-00-00.pem");
        write_atomic(&old, format!("{certificate}{key}").as_bytes(), 0o600).unwrap();
        std::os::unix::fs::symlink(&old, store.current()).unwrap();
        store.validity("system:multus:n1").unwrap();
        store.put(&certificate, &key, at(NOW)).unwrap();
        assert!(old.exists() && names(folder.path()).len() == 3);
    }

    #[test]
    fn what_is_no_pair_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let (certificate, key) = Signer::new().pair("u", at(NOW), at("2026-11-29T12:10:00Z"));
        assert!(matches!(store.validity("u"), Err(Unusable::File(error)) if error.is_not_found()));
        let half = &certificate[..certificate.len() / 2];
        for text in [
            "",
            "x",
            &certificate,
            &key,
            &format!("{half}{key}"),
            &format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{key}"),
        ] {
            write_atomic(&store.current(), text.as_bytes(), 0o600).unwrap();
            assert!(matches!(store.validity("u"), Err(Unusable::Malformed(_))), "{text}");
        }
        write_atomic(&store.current(), b"\xff\xfe", 0o600).unwrap();
        assert!(matches!(store.validity("u"), Err(Unusable::Malformed(_))));
    }
}
