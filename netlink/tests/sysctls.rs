//! Sysctls of interfaces in real namespaces.
#![allow(clippy::unwrap_used)]

use netlink::{
    Sysctl, SysctlError,
    lab::{Lab, NamedNetns, create_bridge},
    sysctl,
};

#[test]
fn settings_are_made_in_the_namespace_alone() {
    let (one, two) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let wanted = [
        (Sysctl::ArpNotify, 1),
        (Sysctl::NdiscNotify, 1),
        (Sysctl::DisableIpv6, 1),
        (Sysctl::AcceptRa, 2),
        (Sysctl::Autoconf, 0),
        (Sysctl::KeepAddrOnDown, 1),
        (Sysctl::AcceptDad, 0),
    ];
    for named in [&one, &two] {
        create_bridge(&named.socket().unwrap(), "eth0.5").unwrap();
    }
    let failures = sysctl::set(one.netns(), "eth0.5", &wanted);
    assert!(failures.is_empty(), "{failures:?}");
    for (key, value) in wanted {
        assert_eq!(sysctl::get(one.netns(), "eth0.5", key).unwrap(), value, "{key:?}");
        assert_ne!(sysctl::get(two.netns(), "eth0.5", key).unwrap(), value, "{key:?}");
    }
}

#[test]
fn a_missing_interface_is_missing_and_the_rest_is_still_made() {
    let lab = Lab::new().unwrap();
    let failures = sysctl::set(lab.host.netns(), "net7", &[(Sysctl::ArpNotify, 1), (Sysctl::NdiscNotify, 1)]);
    assert_eq!(failures.len(), 2);
    assert!(
        failures.iter().all(|error| matches!(error, SysctlError::Missing { .. }) && error.is_out_of_reach())
    );
    let failures = sysctl::set(
        lab.host.netns(),
        Lab::MASTER,
        &[(Sysctl::ArpNotify, 4_000_000_000), (Sysctl::NdiscNotify, 1)],
    );
    assert!(matches!(failures.as_slice(), [SysctlError::Io { op: "write", .. }]), "{failures:?}");
    assert_eq!(sysctl::get(lab.host.netns(), Lab::MASTER, Sysctl::NdiscNotify).unwrap(), 1);
}

#[test]
fn a_name_that_would_leave_its_place_is_refused() {
    let named = NamedNetns::new().unwrap();
    for name in ["", ".", "..", "../../../kernel", "a/b", "all", "default", "lo\0"] {
        let failures = sysctl::set(named.netns(), name, &[(Sysctl::ArpNotify, 1)]);
        assert!(matches!(failures.as_slice(), [SysctlError::BadName { .. }]), "{name:?}: {failures:?}");
        assert!(matches!(
            sysctl::get(named.netns(), name, Sysctl::ArpNotify),
            Err(SysctlError::BadName { .. })
        ));
    }
}

#[test]
fn a_read_only_proc_is_told_apart_and_a_value_already_there_is_fine() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let named = NamedNetns::new().unwrap();
    // In a mount namespace of its own, so that no other test sees the mount.
    let (wanted, present) = std::thread::spawn(move || {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("/proc/sys"), "/proc/sys", none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, "/proc/sys", none, read_only, none).unwrap();
        let wanted = sysctl::set(named.netns(), "lo", &[(Sysctl::ArpNotify, 1)]);
        let present = sysctl::set(named.netns(), "lo", &[(Sysctl::ArpNotify, 0)]);
        (wanted, present)
    })
    .join()
    .unwrap();
    assert!(matches!(wanted.as_slice(), [SysctlError::ReadOnly { .. }]), "{wanted:?}");
    assert!(wanted[0].is_out_of_reach());
    assert!(present.is_empty(), "{present:?}");
}
