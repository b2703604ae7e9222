//! Any bytes as a frame: what the parser finds lies inside it.
#![no_main]
use lbd_ebpf::wire::parse::{Arp, Ipv4, Ipv6, Tcp, ethertype, link, solicited};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Some(link) = link(frame) else { return };
    let transport = match link.ethertype {
        ethertype::IPV4 => {
            Ipv4::at(frame, link.network).map(|ip| ip.transport(frame, link.network))
        }
        ethertype::IPV6 => {
            Ipv6::at(frame, link.network).map(|ip| ip.transport(frame, link.network))
        }
        _ => None,
    };
    if let Some(Ok(found)) = transport {
        assert!(found.offset <= found.end && found.end <= frame.len());
        if let Some(tcp) = Tcp::at(frame, &found) {
            assert!(tcp.header_length() >= 20);
            assert!(found.offset + tcp.header_length() <= found.end);
        }
    }
    let _ = (Arp::at(frame, link.network), solicited(frame, link.network));
});
