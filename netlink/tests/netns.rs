//! Namespaces: checked on the open descriptor, never entered by the caller.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use netlink::{Netns, NetnsError, Socket, test_util::NamedNetns};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

fn inode() -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

#[test]
fn a_missing_path_is_not_found() {
    for path in ["/run/netns/mrs-t-never-made", "/proc/999999999/ns/net", "/proc/version/ns"] {
        let error = Netns::open(Path::new(path)).unwrap_err();
        assert!(matches!(error, NetnsError::NotFound { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn other_files_are_not_a_netns() {
    for path in ["/proc/self/ns/mnt", "/proc/self/ns/uts", "/proc/version", "/", "/dev/null"] {
        let error = Netns::open(Path::new(path)).unwrap_err();
        assert!(matches!(error, NetnsError::NotANetns { .. }), "{path}: {error}");
    }
}

#[test]
fn a_fifo_does_not_block_the_caller() {
    let directory = std::env::temp_dir().join(format!("mrs-t-fifo-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let made = nix::unistd::mkfifo(name.as_c_str(), nix::sys::stat::Mode::S_IRWXU);
    let outcome = Netns::open(&path);
    fs::remove_dir_all(&directory).unwrap();
    made.unwrap();
    assert!(matches!(outcome, Err(NetnsError::NotANetns { .. })), "{outcome:?}");
}

#[test]
fn an_open_namespace_outlives_its_path() {
    let named = NamedNetns::new().unwrap();
    let (netns, path) = (named.netns().clone(), named.path().to_owned());
    assert!(path.exists());
    drop(named);
    assert!(!path.exists());
    assert!(matches!(Netns::open(&path), Err(NetnsError::NotFound { .. })));
    let names: Vec<_> =
        Socket::in_netns(&netns).unwrap().links().unwrap().into_iter().map(|link| link.name).collect();
    assert!(names.contains(&"lo".to_owned()), "{names:?}");
}

#[test]
fn one_namespace_at_two_paths_is_the_same() {
    let (one, two) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let again = Netns::open(one.path()).unwrap();
    assert!(one.netns().is_same(&again).unwrap());
    assert!(!one.netns().is_same(two.netns()).unwrap());
    assert!(
        Netns::current().unwrap().is_same(&Netns::open(Path::new("/proc/self/ns/net")).unwrap()).unwrap()
    );
    assert!(one.netns().run(|| Netns::current().unwrap().is_same(&again)).unwrap().unwrap());
}

#[test]
fn a_host_socket_returns_the_namespace_of_its_thread() {
    let (one, two) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let socket = one.netns().run(Socket::host).unwrap().unwrap();
    assert!(socket.netns().is_same(one.netns()).unwrap());
    assert!(!socket.netns().is_same(two.netns()).unwrap());
}

#[test]
fn the_calling_thread_stays_in_its_namespace() {
    let named = NamedNetns::new().unwrap();
    let home = inode();
    let inside = named.netns().run(inode).unwrap();
    assert_ne!(inside, home);
    assert_eq!(inode(), home);
}

#[test]
fn a_panic_inside_is_an_error_and_the_caller_stays_in_its_namespace() {
    let named = NamedNetns::new().unwrap();
    let home = inode();
    let error = named.netns().run(|| assert_eq!(inode(), 0, "expected panic")).unwrap_err();
    assert!(matches!(error, NetnsError::Panicked { .. }), "{error}");
    assert_eq!(inode(), home);
    assert_eq!(named.netns().run(|| 42).unwrap(), 42);
}

#[test]
fn a_named_netns_is_removed_when_a_test_panics() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let outcome = std::thread::spawn(move || {
        let named = NamedNetns::new().unwrap();
        sender.send(named.path().to_owned()).unwrap();
        panic!("expected panic");
    })
    .join();
    assert!(outcome.is_err());
    assert!(!receiver.recv().unwrap().exists());
}

/// A runtime unmounts a pod's namespace when ADD has ended, while a child still announces the addresses.
#[test]
fn a_socket_does_not_keep_the_path_of_its_namespace_mounted() {
    let named = NamedNetns::new().unwrap();
    let mounted = format!("{}-again", named.path().display());
    fs::File::create(&mounted).unwrap();
    let none: Option<&str> = None;
    mount(Some(named.path()), mounted.as_str(), none, MsFlags::MS_BIND, none).unwrap();
    let netns = Netns::open(Path::new(&mounted)).unwrap();
    let socket = Socket::in_netns(&netns).unwrap();
    assert_eq!(umount2(mounted.as_str(), MntFlags::empty()), Err(Errno::EBUSY));
    drop(netns);
    umount2(mounted.as_str(), MntFlags::empty()).unwrap();
    fs::remove_file(&mounted).unwrap();
    assert!(socket.netns().is_same(named.netns()).unwrap());
    assert!(socket.link_by_name("lo").unwrap().is_some());
}
