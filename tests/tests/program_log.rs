//! The debug build of the XDP program under a daemon: what it says is in the daemon's log.
use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Lab, Spec},
    until,
};

#[test]
fn what_the_debug_build_says_is_logged_at_the_daemons_level() {
    let name = "what_the_debug_build_says_is_logged_at_the_daemons_level";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let object = xtask::ebpf::build_one("lbd-xdp-log", "log").unwrap();
    let lab = Lab::new(&Spec::default()).unwrap();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    cluster.set_variable("LBD_XDP_OBJECT", object);
    for (node, level) in [(0, "info"), (1, "debug")] {
        cluster.set_variable("LBD_LOG", level);
        cluster.start(node).unwrap();
    }
    for node in [0, 1] {
        until("the program says what it was loaded with", || {
            cluster.log(node).contains("XDP program: loaded: ")
        });
    }
    let decided = |node| cluster.log(node).contains(": action ");
    until("it says what it decides", || decided(1));
    assert!(!decided(0), "info says nothing of single frames");
}
