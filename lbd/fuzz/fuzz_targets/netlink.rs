//! Any bytes as the kernel's answer to a dump of routes, links, neighbours or sockets.
#![no_main]
use lbd::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    fuzzing::netlink_answers(datagram);
});
