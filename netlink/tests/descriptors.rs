//! Nothing is left behind. Alone in its file: it counts the descriptors and threads of the whole process.
#![allow(clippy::unwrap_used)]

use std::fs;

use netlink::{Netns, Socket, lab::NamedNetns};

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_thousand_uses_leave_no_descriptor_and_no_thread() {
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
    // A joined thread may show for a moment longer.
    for _ in 0..100 {
        if count("/proc/self/task") == before.1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
}
