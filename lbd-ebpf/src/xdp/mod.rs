//! The program, stage by stage. Everything here runs in the kernel only.
//!
//! ```text
//! frame --> path::fast -- known session, plain headers --> forward::rewrite --> forward::forward
//!             |  not for a VIP: passed
//!             v  anything else
//!           program: path::classify --> path::flow, follow --> path::admit --> path::select
//!             |        |                                                          |
//!             |        | from another box: path::second_chance                           v
//!             |        | a nat backend's reply: forward::reply        forward::rewrite (dsr, nat, ipip)
//!             v        v                                                          |
//!           answer: reset, too_big, neighbour                              forward::forward
//! ```
pub(crate) mod answer;
pub(crate) mod exit;
pub(crate) mod family;
pub(crate) mod forward;
pub(crate) mod packet;
pub(crate) mod path;
pub(crate) mod program;
pub(crate) mod tables;
