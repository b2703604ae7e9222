//! A configuration that changes while sessions are open.
use std::net::IpAddr;

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

#[test]
fn changes_of_the_configuration_move_no_session_that_need_not_move() {
    let name = "changes_of_the_configuration_move_no_session_that_need_not_move";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    // The other address is taken away later.
    let vip = addresses::VIP4.into();
    let mut sessions = Held::open_to(lab.client(), vip, 60).unwrap();
    let mut all_live = |when: &str| {
        let count = sessions.len();
        assert_eq!(survivors(&mut sessions), count, "{when}");
    };
    let seen = |cluster: &Cluster, what: &str, holds: &dyn Fn(&Status) -> bool| {
        for node in 0..3 {
            cluster.wait_status(node, what, holds).unwrap();
        }
    };
    let weight = |status: &Status, name: &str| {
        let backend = status.backend(name);
        backend.map(|backend| backend.weight_permille)
    };
    let mx3 = "{name: mx3, address: \"10.77.0.13\", weight: 100}";

    cluster
        .edit(mx3, "{name: mx3, address: \"10.77.0.13\", weight: 0}")
        .unwrap();
    seen(&cluster, "no weight", &|status| {
        weight(status, "mx3") == Some(0)
    });
    all_live("its weight is 0");
    cluster
        .edit("{name: mx3, address: \"10.77.0.13\", weight: 0}", mx3)
        .unwrap();

    // A backend and a site that come, with no box there.
    let more = format!(
        "{mx3}\n    - name: elsewhere\n      backends:\n        - {{name: mx9, address: 10.77.0.99, weight: 1}}"
    );
    cluster.edit(mx3, &more).unwrap();
    seen(&cluster, "a new backend", &|status| {
        status.backend("mx9").is_some()
    });
    all_live("a site is new");
    cluster.edit(&more, mx3).unwrap();
    seen(&cluster, "it is gone", &|status| {
        status.backend("mx9").is_none()
    });
    all_live("a site is gone");

    cluster.edit("ports: [25]", "ports: [25, 587]").unwrap();
    all_live("a port is new");
    cluster.edit("ports: [25, 587]", "ports: [25]").unwrap();
    all_live("a port is gone");

    // An address that goes is gone everywhere.
    let vip6 = IpAddr::from(addresses::VIP6);
    assert_eq!(cluster.holders(vip6).unwrap(), [master]);
    let vips = format!(", \"{vip6}/{}\"", addresses::PREFIX6);
    cluster.edit(&vips, "").unwrap();
    let gone = || {
        let on_box = |node: &lbd_tests::lab::Host| {
            let shown = node.ip("-o addr show").unwrap();
            shown.contains(&format!(" {vip6}/"))
        };
        !lab.nodes.iter().any(on_box)
    };
    let deadline = std::time::Instant::now() + lbd_tests::cluster::PATIENCE;
    while !gone() {
        assert!(
            std::time::Instant::now() < deadline,
            "{vip6} is still somewhere"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    all_live("an address is gone");
    assert!(cluster.status(master).unwrap().is_master());
}
