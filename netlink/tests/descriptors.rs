//! No descriptor and no thread leaks. The only test of its file, since it counts those of the whole process.
#![allow(clippy::unwrap_used)]

use std::fs;

use netlink::{Netns, Socket, test_util::NamedNetns};

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_thousand_calls_leak_no_descriptor_and_no_thread() {
    let named = NamedNetns::new().unwrap();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for round in 0..1000 {
        let netns = Netns::open(named.path()).unwrap();
        assert_eq!(netns.run(|| round).unwrap(), round);
        if round % 10 == 0 {
            let socket = Socket::in_netns(&netns).unwrap();
            assert!(socket.link_by_name("lo").unwrap().unwrap().up);
        }
    }
    // The kernel may list a joined thread for a moment longer.
    for _ in 0..100 {
        if count("/proc/self/task") == before.1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
}
