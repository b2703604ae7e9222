//! Frames that are answered here: resets, too-big messages, ARP and neighbour discovery.
pub(crate) mod neighbour;
pub(crate) mod reset;
pub(crate) mod too_big;
