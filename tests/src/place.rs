//! The folders of the project and of Debian's plugins.

use std::path::PathBuf;

/// The project's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// The folder of our plugins: `$MRS_BIN`, by default where `make build` puts the release binaries. Panics if they are not there.
pub fn binaries() -> PathBuf {
    let built = || root().join("target/x86_64-unknown-linux-musl/release");
    let folder = std::env::var_os("MRS_BIN").map_or_else(built, PathBuf::from);
    assert!(
        folder.join("macvlan").is_file(),
        "no plugins in {}: run `make build` first, or set MRS_BIN to the folder that holds them",
        folder.display()
    );
    folder
}

/// The folder of Debian's Go plugins (package containernetworking-plugins). Panics if they are not there.
pub fn go_plugins() -> PathBuf {
    let folder = PathBuf::from("/usr/lib/cni");
    assert!(
        folder.join("macvlan").is_file(),
        "no Go plugins in {}: run `tests/cluster/setup`",
        folder.display()
    );
    folder
}

/// The path of a script of `tests/cluster`.
pub fn cluster_script(name: &str) -> PathBuf {
    root().join("tests/cluster").join(name)
}
