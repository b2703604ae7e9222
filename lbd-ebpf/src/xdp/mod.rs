//! The program, stage by stage. Everything here runs in the kernel only.
//!
//! ```text
//! frame
//!   │
//!   ▼
//! path::fast ──── of an open session, plain headers ───▶ the backend's mode ──▶ forward::send
//!   │      └───── for no VIP, by the end of its address ─▶ passed
//!   ▼ anything else
//! program::chain
//!   ├─ path::addressee    for another MAC: passed; for many hosts: answer::neighbour
//!   ▼
//! path::classify: what an IP packet is
//!   ├─ Segment            path::flow finds its flow, and path::fragment notes a first part
//!   │                       a known one:  path::follow
//!   │                       a new one:    path::admit, path::select
//!   ├─ Message            path::icmp: to the backend whose session the error is about
//!   │      both:          forward::rewrite (dsr, nat, ipip), forward::send; or answer::reset, answer::too_big
//!   ├─ Part               path::fragment: to where the first part of the packet went
//!   ├─ Handed             path::second_chance: up, or on to the session's other candidate
//!   ├─ Tunnel             forward::decap, and then as Handed
//!   └─ ForOthers          forward::reply: a nat backend's answer; answer::neighbour: who has a VIP?
//!
//! while someone traces:   trace::before, all of the above, trace::after
//! ```
//!
//! [`program`] alone calls the next stage; a stage hands it a typed value, or leaves with an
//! [`exit::Exit`]. [`trace`] is a second program, which looks at the first one from outside. What functions of
//! their own tell each other by number is listed in [`code`].
pub(crate) mod answer;
pub(crate) mod code;
pub(crate) mod exit;
pub(crate) mod family;
pub(crate) mod forward;
#[cfg(feature = "log")]
pub(crate) mod log;
pub(crate) mod packet;
pub(crate) mod path;
pub(crate) mod program;
pub(crate) mod tables;
#[cfg(not(feature = "untraced"))]
pub(crate) mod trace;

/// What `core` asks for; the verifier refuses a program that could come here.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
