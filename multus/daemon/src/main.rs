//! The `multus-daemon` binary; see the library.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("this build of multus-daemon has no command yet")
}
