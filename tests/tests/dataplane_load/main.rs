//! Loading, attaching and pinning against the real kernel, in a lab of one node.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use lbd::{
    config::Network,
    dataplane::{
        AccessLists, DataPlane, DataPlaneError, LoadOptions, MmapArray, XdpChoice, XdpMode,
    },
    flows::{Insert, Key4},
    units::{BackendId, Endpoint, Mac, WeightPermille},
};
use lbd_common::{
    director::Director,
    maps::{DIRECTOR, LOAD, VIPS},
    ring::RING_SLOTS,
};
use lbd_tests::{lab::INTERFACE, root_or_skip};

use self::rig::{KEY, OPEN, Rig, backend, backend_id, prefilter, vips};

mod rig;

#[test]
fn the_running_program_overlooks_no_frame_while_another_is_loaded() -> Result<()> {
    if !root_or_skip("the_running_program_overlooks_no_frame_while_another_is_loaded") {
        return Ok(());
    }
    let rig = Rig::new()?;
    let mut plane = rig.load()?;
    plane.set_vips(&vips())?;
    plane.set_own_macs(&[(3, Mac([2, 0, 0, 0, 0, 1]))])?;
    let before = prefilter(&rig)?;
    ensure!(before.bits != [0; 256], "it overlooks all");
    ensure!(before.macs[3] != 0, "it takes what is addressed to others");
    drop(plane);
    let over = AtomicBool::new(false);
    let (watched, plane) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                ensure!(prefilter(&rig)? == before, "frames were overlooked");
            }
            Ok(())
        });
        let ends = lbd_tests::Over(&over);
        let plane = rig.load();
        drop(ends);
        (watch.join(), plane)
    });
    plane?;
    watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn a_load_attaches_natively_and_pins_everything() -> Result<()> {
    if !root_or_skip("a_load_attaches_natively_and_pins_everything") {
        return Ok(());
    }
    let the = Rig::new()?;
    let plane = the.load()?;
    assert_eq!(plane.mode(INTERFACE), Some(XdpMode::Native));
    assert_eq!(plane.mode("lo"), None);
    ensure!(
        the.xdp_of(INTERFACE)?.contains("prog/xdp"),
        "{}",
        the.xdp_of(INTERFACE)?
    );
    for name in [VIPS, DIRECTOR, LOAD, "program", "link_eth0"] {
        ensure!(
            the.bpffs.pin_dir().join(name).exists(),
            "{name} is not pinned"
        );
    }
    plane.detach()?;
    assert_eq!(the.xdp_of(INTERFACE)?, "");
    assert!(!the.bpffs.pin_dir().exists());
    Ok(())
}

#[test]
fn a_program_that_is_taken_off_is_put_back_as_it_was() -> Result<()> {
    if !root_or_skip("a_program_that_is_taken_off_is_put_back_as_it_was") {
        return Ok(());
    }
    let the = Rig::new()?;
    let mut plane = the.load()?;
    let before = the.xdp_of(INTERFACE)?;
    plane.take_off()?;
    assert_eq!(the.xdp_of(INTERFACE)?, "");
    let options = the.options(&[INTERFACE], XdpChoice::Native);
    the.node().inside(|| plane.attach_again(&options))??;
    assert_eq!(the.xdp_of(INTERFACE)?, before, "the same program");
    assert_eq!(plane.mode(INTERFACE), Some(XdpMode::Native));
    plane.detach()?;
    Ok(())
}

#[test]
fn a_restart_takes_over_and_keeps_flows_and_ids() -> Result<()> {
    if !root_or_skip("a_restart_takes_over_and_keeps_flows_and_ids") {
        return Ok(());
    }
    let the = Rig::new()?;
    let mut plane = the.load()?;
    plane.set_vips(&vips())?;
    let services = plane.services();
    assert_eq!(services.len(), 3);
    let [first, second] = [[192, 0, 2, 11], [192, 0, 2, 12]];
    let endpoint = |address: [u8; 4]| Endpoint::of_virtual(address.into());
    let ids = plane.allocate_backend_ids(&[first, second].map(endpoint))?;
    for address in [first, second] {
        plane.set_backend(ids[&endpoint(address)], &backend(address))?;
    }
    let known = plane.backend_ids().get(endpoint(second));
    assert_eq!(known, Some(BackendId(1)));
    plane.remove_backend(BackendId(0))?;
    assert_eq!(plane.flows().v4().insert(KEY, OPEN, 7), Insert::Inserted);
    plane.lease().hold(42);
    let before = the.program_id()?;
    drop(plane);
    assert_eq!(
        the.program_id()?,
        before,
        "the program stays when the daemon ends"
    );

    let mut plane = the.load()?;
    assert_ne!(
        the.program_id()?,
        before,
        "the new daemon's program replaces it"
    );
    assert_eq!(plane.mode(INTERFACE), Some(XdpMode::Native));
    assert_eq!(plane.services(), services);
    assert_eq!(
        plane.flows().v4().lookup(KEY).map(|word| word.backend),
        Some(0)
    );
    assert_eq!(plane.lease().lease_until_ns(), 42);
    assert_eq!(backend_id(&mut plane, second)?, BackendId(1));
    // 0 is free, but a flow has it.
    assert_eq!(backend_id(&mut plane, [192, 0, 2, 13])?, BackendId(2));
    Ok(())
}

#[test]
fn two_daemons_do_not_share_a_pin_dir() -> Result<()> {
    if !root_or_skip("two_daemons_do_not_share_a_pin_dir") {
        return Ok(());
    }
    let the = Rig::new()?;
    let plane = the.load()?;
    let refused = the.refused(&the.options(&[INTERFACE], XdpChoice::Native))?;
    assert!(matches!(refused, DataPlaneError::InUse { .. }), "{refused}");
    let refused = DataPlane::cleanup(&the.bpffs.pin_dir())
        .err()
        .context("cleanup under a daemon")?;
    assert!(matches!(refused, DataPlaneError::InUse { .. }), "{refused}");
    ensure!(the.xdp_of(INTERFACE)?.contains("prog/xdp"));
    drop(plane);
    let (links, pins) = DataPlane::cleanup(&the.bpffs.pin_dir())?;
    assert_eq!(links, 1);
    ensure!(pins > 10, "{pins} pins");
    assert_eq!(the.xdp_of(INTERFACE)?, "");
    assert_eq!(DataPlane::cleanup(&the.bpffs.pin_dir())?, (0, 0));
    Ok(())
}

#[test]
fn a_foreign_program_is_refused_and_left_alone() -> Result<()> {
    if !root_or_skip("a_foreign_program_is_refused_and_left_alone") {
        return Ok(());
    }
    let the = Rig::new()?;
    the.lab.attach_foreign_xdp(the.node())?;
    let before = the.program_id()?;
    let refused = the.refused(&the.options(&[INTERFACE], XdpChoice::Auto))?;
    assert!(
        matches!(refused, DataPlaneError::ForeignXdp { .. }),
        "{refused}"
    );
    ensure!(
        refused.to_string().contains(&format!("id {before}")),
        "{refused}"
    );
    assert_eq!(the.program_id()?, before);
    assert!(!the.bpffs.pin_dir().exists());
    Ok(())
}

#[test]
fn pins_of_another_version_are_refused_until_cleaned_up() -> Result<()> {
    if !root_or_skip("pins_of_another_version_are_refused_until_cleaned_up") {
        return Ok(());
    }
    let the = Rig::new()?;
    let plane = the.load()?;
    assert_eq!(plane.flows().v4().insert(KEY, OPEN, 7), Insert::Inserted);
    drop(plane);
    let running = the.program_id()?;

    set_abi_version(&the.bpffs.pin_dir(), 999)?;
    let refused = the
        .refused(&the.options(&[INTERFACE], XdpChoice::Native))?
        .to_string();
    ensure!(
        refused.contains("layout 999") && refused.contains("lbd cleanup"),
        "{refused}"
    );
    assert_eq!(the.program_id()?, running, "a refusal changes nothing");

    DataPlane::cleanup(&the.bpffs.pin_dir())?;
    let plane = the.load()?;
    assert_eq!(plane.flows().v4().iter().count(), 0);
    Ok(())
}

#[test]
fn flows_move_to_a_table_of_another_size() -> Result<()> {
    if !root_or_skip("flows_move_to_a_table_of_another_size") {
        return Ok(());
    }
    let the = Rig::new()?;
    let plane = the.load()?;
    let key = |port| Key4 { port, ..KEY };
    for port in 1..=200 {
        let _ = plane.flows().v4().insert(key(port), OPEN, 7);
    }
    let loads = |plane: &DataPlane| -> u64 { plane.loads().iter().map(|(_, load)| load).sum() };
    let before = loads(&plane);
    plane.lease().hold(42);
    drop(plane);
    for buckets in [4096, 512, 1024] {
        let resized = LoadOptions {
            flows4_buckets: buckets,
            ..the.options(&[INTERFACE], XdpChoice::Native)
        };
        // A failure on the way, here of the interface, leaves the old table.
        let wrong = LoadOptions {
            interfaces: vec![INTERFACE.to_owned(), "lo".to_owned()],
            xdp: XdpChoice::Native,
            ..resized.clone()
        };
        the.refused(&wrong)?;
        let plane = the.load_with(&resized)??;
        for port in 1..=200 {
            let word = plane.flows().v4().lookup(key(port));
            assert_eq!(word.map(|word| word.backend), Some(0), "port {port}");
        }
        assert_eq!(loads(&plane), before);
        assert_eq!(plane.lease().lease_until_ns(), 42);
        let left = the.bpffs.pin_dir().join("FLOWS4_FORMER");
        ensure!(!left.exists(), "the old table is still pinned");
    }
    Ok(())
}

#[test]
fn a_pin_folder_that_others_own_or_may_write_is_refused() -> Result<()> {
    if !root_or_skip("a_pin_folder_that_others_own_or_may_write_is_refused") {
        return Ok(());
    }
    let the = Rig::new()?;
    let options = the.options(&[INTERFACE], XdpChoice::Native);
    // A BPF file system is mounted as /tmp is: any user may make the folder first.
    let (root, pin_dir) = (the.bpffs.folder.path(), the.bpffs.pin_dir());
    assert_eq!(fs::metadata(root)?.permissions().mode() & 0o7777, 0o1777);
    fs::create_dir(&pin_dir)?;
    for (uid, mode, told) in [
        (65534, 0o755, "belongs to another user (uid 65534)"),
        (0, 0o777, "can be written by others (mode 777)"),
        (0, 0o1777, "can be written by others (mode 1777)"),
    ] {
        chown(&pin_dir, Some(uid), None)?;
        fs::set_permissions(&pin_dir, fs::Permissions::from_mode(mode))?;
        let refused = the.refused(&options)?;
        assert!(
            matches!(&refused, DataPlaneError::Unsafe { why, .. } if why.contains(told)),
            "{refused}"
        );
        assert_eq!(fs::read_dir(&pin_dir)?.count(), 0, "nothing was pinned");
    }
    // Without the sticky bit any user may rename what is lbd's own.
    fs::remove_dir(&pin_dir)?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o777))?;
    let refused = the.refused(&options)?;
    assert!(
        matches!(refused, DataPlaneError::Unsafe { .. }),
        "{refused}"
    );
    fs::set_permissions(root, fs::Permissions::from_mode(0o1777))?;
    the.load()?;
    assert_eq!(fs::metadata(&pin_dir)?.permissions().mode() & 0o7777, 0o700);
    Ok(())
}

#[test]
fn what_a_failed_load_has_made_is_undone() -> Result<()> {
    if !root_or_skip("what_a_failed_load_has_made_is_undone") {
        return Ok(());
    }
    let the = Rig::new()?;
    let refused = the.refused(&the.options(&["eth7"], XdpChoice::Auto))?;
    assert!(
        matches!(&refused, DataPlaneError::UnknownInterface { interface } if interface == "eth7"),
        "{refused}"
    );
    // The second interface refuses native mode when the first is attached already.
    let refused = the.refused(&the.options(&[INTERFACE, "lo"], XdpChoice::Native))?;
    assert!(
        matches!(&refused, DataPlaneError::Attach { interface, .. } if interface == "lo"),
        "{refused}"
    );
    assert_eq!(the.xdp_of(INTERFACE)?, "");
    assert!(
        !the.bpffs.pin_dir().exists(),
        "{:?}",
        fs::read_dir(the.bpffs.pin_dir())
    );

    let refused = the.refused(&LoadOptions {
        pin_dir: the.bpffs.folder.path().join("with.dot"),
        ..the.options(&[INTERFACE], XdpChoice::Native)
    })?;
    assert!(
        matches!(refused, DataPlaneError::DotInPinDir { .. }),
        "{refused}"
    );
    Ok(())
}

#[test]
fn an_interface_that_comes_late_is_attached_to_then() -> Result<()> {
    if !root_or_skip("an_interface_that_comes_late_is_attached_to_then") {
        return Ok(());
    }
    let the = Rig::new()?;
    let options = the.options(&[INTERFACE, "late0"], XdpChoice::Generic);
    let mut plane = the.load_with(&options)??;
    assert_eq!(plane.mode("late0"), None);
    the.node().ip("link add late0 type veth peer name late1")?;
    let (again, attached) = the.node().inside(|| {
        let again = plane.attach_again(&options);
        let attached = [INTERFACE, "late0"].map(|name| plane.is_attached(name));
        (again, attached)
    })?;
    again?;
    assert_eq!(attached, [true, true]);
    Ok(())
}

#[test]
fn auto_falls_back_to_generic_and_says_so() -> Result<()> {
    if !root_or_skip("auto_falls_back_to_generic_and_says_so") {
        return Ok(());
    }
    let the = Rig::new()?;
    let plane = the.load_with(&the.options(&[INTERFACE, "lo"], XdpChoice::Auto))??;
    assert_eq!(plane.mode(INTERFACE), Some(XdpMode::Native));
    assert_eq!(plane.mode("lo"), Some(XdpMode::Generic));
    assert_eq!(plane.native_refused(INTERFACE), None);
    let refused = plane.native_refused("lo").unwrap();
    println!("lo: {refused}");
    // Which interface, which mode, and the words of the one who refused.
    assert!(
        refused.starts_with("lo did not accept the XDP program in native mode: "),
        "{refused}"
    );
    assert!(refused.contains("its driver says"), "{refused}");
    drop(plane);
    // An interface that is no longer configured is detached; another mode is taken on.
    let plane = the.load_with(&the.options(&[INTERFACE], XdpChoice::Generic))??;
    assert_eq!(plane.mode(INTERFACE), Some(XdpMode::Generic));
    assert_eq!(the.xdp_of("lo")?, "");
    ensure!(
        the.xdp_of(INTERFACE)?.contains("xdpgeneric"),
        "{}",
        the.xdp_of(INTERFACE)?
    );
    Ok(())
}

#[test]
fn every_write_arrives_in_its_map() -> Result<()> {
    if !root_or_skip("every_write_arrives_in_its_map") {
        return Ok(());
    }
    let the = Rig::new()?;
    let mut plane = the.load()?;
    let id = backend_id(&mut plane, [192, 0, 2, 12])?;
    plane.set_backend(id, &backend([192, 0, 2, 12]))?;
    plane.set_weights(&[(id, WeightPermille(50_000))])?;
    plane.set_nodes(&[Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 9])])?;
    let link = the.node().ip(&format!("-o link show {INTERFACE}"))?;
    let ifindex = link.split(':').next().context("no index")?.parse()?;
    // The kernel looks interfaces up in the namespace of the caller.
    the.node().inside(|| {
        plane.set_devices(&[ifindex])?;
        plane.set_devices(&[ifindex, 1])?;
        plane.set_devices(&[1])
    })??;
    assert_eq!(plane.director().total_weight_permille, 50_000);
    assert_eq!(plane.loads(), [(id, 0)]);
    assert_eq!(plane.counters()?.event_lost, 0);
    assert_eq!(plane.backend_stats()?.len(), 1);
    assert!(
        plane
            .events()
            .is_some_and(|mut events| events.next().is_none())
    );
    assert!(plane.events().is_none(), "there is one reader");

    let ring = vec![u32::from(id.0); RING_SLOTS as usize];
    let live = plane.director().ring_index;
    plane.swap_ring(&ring)?;
    assert_ne!(plane.director().ring_index, live);
    let refused = plane.swap_ring(&ring[1..]).err().context("a short ring")?;
    assert!(matches!(refused, DataPlaneError::Ring { .. }), "{refused}");
    plane.swap_ring(&ring)?;
    assert_eq!(plane.director().ring_index, live);
    Ok(())
}

#[test]
fn long_lists_are_loaded_changed_and_read_back_after_a_restart() -> Result<()> {
    if !root_or_skip("long_lists_are_loaded_changed_and_read_back_after_a_restart") {
        return Ok(());
    }
    let the = Rig::new()?;
    let mut plane = the.load()?;
    let network =
        |number: u32| Network::of(Ipv4Addr::from_bits(0x0a00_0000 + number * 4).into(), 30);
    let mut lists = AccessLists {
        allow: [Network::of("2001:db8::".parse::<std::net::IpAddr>()?, 32)].into(),
        deny: (0..100_000).map(network).collect(),
    };
    let start = Instant::now();
    plane.set_access(&lists)?;
    println!("100,000 networks loaded in {:?}", start.elapsed());
    let dump = |map: &str| -> Result<usize> {
        let map = aya::maps::MapData::from_pin(the.bpffs.pin_dir().join(map))?;
        let map = aya::maps::Map::from_map_data(map)?;
        let networks: aya::maps::HashMap<_, lbd_common::denied::Network4, u32> = map.try_into()?;
        Ok(networks.keys().count())
    };
    assert_eq!(dump("DENY4")?, 100_000);
    drop(plane);

    let mut plane = the.load()?;
    lists.deny = (50_000..100_001).map(network).collect();
    let start = Instant::now();
    plane.set_access(&lists)?;
    println!(
        "after a restart half of them replaced in {:?}",
        start.elapsed()
    );
    assert_eq!(dump("DENY4")?, 50_001);
    assert_ne!(
        plane.director().flags & lbd_common::director::flag::LISTS,
        0
    );
    plane.set_access(&AccessLists::default())?;
    assert_eq!(dump("DENY4")?, 0);
    assert_eq!(
        plane.director().flags & lbd_common::director::flag::LISTS,
        0
    );
    Ok(())
}

#[test]
fn bpftool_prints_field_names() -> Result<()> {
    if !root_or_skip("bpftool_prints_field_names") {
        return Ok(());
    }
    if !lbd_tests::programs::or_skip("bpftool_prints_field_names", &["bpftool"]) {
        return Ok(());
    }
    let the = Rig::new()?;
    let mut plane = the.load()?;
    plane.set_vips(&vips())?;
    let fields = [
        ("VIPS", "\"family\": 6"),
        ("DIRECTOR", "\"lease_until_ns\""),
        ("NODES", "\"mac\""),
        ("TUNNELS", "\"side\""),
        ("BACKENDS", "\"source_mac\""),
        ("WEIGHTS", "\"value\": 0"),
        ("LOAD", "\"value\": 0"),
        ("FLOWS4", "\"seen\""),
        ("FLOWS6", "\"seen\""),
        ("COUNTERS", "\"pass_malformed\""),
        ("BACKEND_STATS", "\"connections\""),
    ];
    for (map, field) in fields {
        let output = Command::new("bpftool")
            .args(["map", "dump", "pinned"])
            .arg(the.bpffs.pin_dir().join(map))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            text.contains(field),
            "{map} has no {field}: {}",
            &text[..text.len().min(300)]
        );
    }
    Ok(())
}

/// Makes the pins another version's, as an upgrade would find them.
fn set_abi_version(pin_dir: &Path, version: u32) -> Result<()> {
    use std::os::fd::AsFd as _;
    let map = aya::maps::MapData::from_pin(pin_dir.join(DIRECTOR))?;
    let director = MmapArray::<Director>::map(map.fd().as_fd(), 1)?;
    director
        .field_u32(0, std::mem::offset_of!(Director, abi_version))
        .store(version, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

#[test]
fn service_ids_are_the_same_on_every_node() -> Result<()> {
    if !root_or_skip("service_ids_are_the_same_on_every_node") {
        return Ok(());
    }
    let (one, other) = (Rig::new()?, Rig::new()?);
    let (mut first, mut second) = (one.load()?, other.load()?);
    let mut reversed = vips();
    reversed.reverse();
    first.set_vips(&vips())?;
    second.set_vips(&reversed[..1])?;
    second.set_vips(&reversed)?;
    let sorted = |plane: &DataPlane| {
        let mut services: Vec<(SocketAddr, u16)> = plane
            .services()
            .iter()
            .map(|service| (service.address, service.id))
            .collect();
        services.sort_unstable();
        services
    };
    assert_eq!(sorted(&first), sorted(&second));
    Ok(())
}
