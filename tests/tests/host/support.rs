//! What the tests of `lbd::host` share.
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use lbd_tests::lab::{Host, INTERFACE, addresses};

/// How long anything here may take before a test gives up on it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Both virtual addresses.
pub(super) fn vips() -> [IpAddr; 2] {
    [addresses::VIP4.into(), addresses::VIP6.into()]
}

/// Waits until `holds`, or fails with `what` did not come true.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "did not come true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a host ask three times within a tenth of a second before it gives a neighbour up, so that
/// a test need not wait three seconds for "no answer".
pub(super) fn hasten_resolution(host: &Host) {
    host.set_sysctls(&[
        ("net.ipv4.neigh.eth0.retrans_time_ms", "50"),
        ("net.ipv6.neigh.eth0.retrans_time_ms", "50"),
    ])
    .unwrap();
}

/// Who answers `asker` for `address` now: its MAC as text, or None without an answer.
pub(super) fn who_answers(asker: &Host, address: IpAddr) -> Option<String> {
    // What was learnt before does not count. (There may be no entry to delete.)
    let _ = asker.ip(&format!("neigh del {address} dev {INTERFACE}"));
    send_a_datagram(asker, None, address);
    let mut answer = None;
    eventually(&format!("{address} is answered for or given up"), || {
        let entry = asker
            .ip(&format!("neigh show {address} dev {INTERFACE}"))
            .unwrap();
        let words: Vec<_> = entry.split_whitespace().collect();
        let mac = words.iter().position(|word| *word == "lladdr");
        answer = mac.map(|at| words[at + 1].to_owned());
        answer.is_some() || words.contains(&"FAILED")
    });
    answer
}

/// Sends one datagram to the discard port, which makes the kernel resolve the address.
pub(super) fn send_a_datagram(from: &Host, source: Option<IpAddr>, to: IpAddr) {
    let unspecified: IpAddr = match to {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    from.inside(|| {
        let socket = UdpSocket::bind((source.unwrap_or(unspecified), 0)).unwrap();
        socket.send_to(b"?", (to, 9)).unwrap();
    })
    .unwrap();
}
