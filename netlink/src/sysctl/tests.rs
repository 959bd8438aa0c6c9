use super::*;
use crate::test_util::{NamedNetns, Testbed, create_bridge, read_sysctl};

/// Writes one sysctl.
fn write_one(netns: &Netns, ifname: &str, key: Sysctl, value: u32) -> Result<(), SysctlError> {
    write(netns, ifname, &[(key, value)])?.remove(0)
}

#[test]
fn sysctls_change_in_one_namespace_only() {
    let (one, two) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let values = [
        (Sysctl::NdiscNotify, 1),
        (Sysctl::DisableIpv6, 1),
        (Sysctl::AcceptRa, 2),
        (Sysctl::Autoconf, 0),
        (Sysctl::KeepAddrOnDown, 1),
    ];
    for named in [&one, &two] {
        create_bridge(&named.socket().unwrap(), "eth0.5").unwrap();
    }
    let outcomes = write(one.netns(), "eth0.5", &values).unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for (key, value) in values {
        let path = format!("ipv6/conf/eth0.5/{}", key.name());
        assert_eq!(read_sysctl(one.netns(), &path).unwrap(), value, "{path}");
        assert_ne!(read_sysctl(two.netns(), &path).unwrap(), value, "{path}");
    }
}

#[test]
fn a_missing_interface_is_reported_for_each_sysctl() {
    let testbed = Testbed::new().unwrap();
    let values = [(Sysctl::DisableIpv6, 1), (Sysctl::NdiscNotify, 1)];
    let outcomes = write(testbed.host.netns(), "net7", &values).unwrap();
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error, SysctlError::Missing { .. }) && error.is_unavailable(), "{error}");
    }
}

#[test]
fn an_invalid_value_does_not_stop_the_next_sysctl() {
    let testbed = Testbed::new().unwrap();
    let values = [(Sysctl::AcceptRa, 4_000_000_000), (Sysctl::NdiscNotify, 1)];
    let outcomes = write(testbed.host.netns(), Testbed::MASTER, &values).unwrap();
    assert!(matches!(&outcomes[..], [Err(SysctlError::Io { op: "write", .. }), Ok(())]), "{outcomes:?}");
    let path = format!("ipv6/conf/{}/ndisc_notify", Testbed::MASTER);
    assert_eq!(read_sysctl(testbed.host.netns(), &path).unwrap(), 1);
}

#[test]
fn a_name_that_would_lead_to_another_directory_is_refused() {
    let named = NamedNetns::new().unwrap();
    for name in ["", ".", "..", "../../../kernel", "a/b", "all", "default", "lo\0"] {
        let outcome = write_one(named.netns(), name, Sysctl::NdiscNotify, 1);
        assert!(matches!(outcome, Err(SysctlError::BadName { .. })), "{name:?}: {outcome:?}");
    }
}

#[test]
fn a_read_only_proc_is_an_error_unless_the_value_is_there_already() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let named = NamedNetns::new().unwrap();
    // In a new mount namespace, so that no other test sees the read-only mount.
    let (other, same) = std::thread::spawn(move || {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("/proc/sys"), "/proc/sys", none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, "/proc/sys", none, read_only, none).unwrap();
        let other = write_one(named.netns(), "lo", Sysctl::NdiscNotify, 1);
        let same = write_one(named.netns(), "lo", Sysctl::NdiscNotify, 0);
        (other, same)
    })
    .join()
    .unwrap();
    assert!(
        matches!(&other, Err(error @ SysctlError::ReadOnly { .. }) if error.is_unavailable()),
        "{other:?}"
    );
    assert!(same.is_ok(), "{same:?}");
}
