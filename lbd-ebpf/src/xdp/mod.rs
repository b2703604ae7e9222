//! The program, stage by stage. Everything here runs in the kernel only.
//!
//! ```text
//! frame --> path::fast -- known session, plain headers --> forward::rewrite --> forward::send
//!             |  not for a VIP: passed
//!             v  anything else
//!           program: path::classify says what the frame is
//!             |  a segment for a VIP --> path::flow, follow --> path::admit --> path::select
//!             |                                                                   |
//!             |  an ICMP error for a VIP --> path::icmp ----------------+         |
//!             |  from another box --> path::second_chance               v         v
//!             |  in a tunnel --> forward::decap             forward::rewrite (dsr, nat, ipip)
//!             |  for no VIP, from a nat backend --> forward::reply      |
//!             v  asked for a VIP's MAC --> answer::neighbour            v
//!           answer: reset, too_big                                forward::send
//! ```
//!
//! [`program`] alone calls the next stage; a stage hands it a typed value, or leaves with an
//! [`exit::Exit`]. [`trace`] looks at the same from outside. What functions of their own tell each other by
//! number is listed in [`code`].
pub(crate) mod answer;
pub(crate) mod code;
pub(crate) mod exit;
pub(crate) mod family;
pub(crate) mod forward;
pub(crate) mod packet;
pub(crate) mod path;
pub(crate) mod program;
pub(crate) mod tables;
pub(crate) mod trace;
