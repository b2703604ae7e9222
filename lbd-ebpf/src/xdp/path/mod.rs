//! The way of a frame, in its order: the fast path, classify, flow, admit, select; and frames that another box steered here.
pub(crate) mod addressee;
pub(crate) mod admit;
pub(crate) mod classify;
pub(crate) mod fast;
pub(crate) mod flow;
pub(crate) mod follow;
pub(crate) mod fragment;
pub(crate) mod icmp;
pub(crate) mod lists;
pub(crate) mod proof;
pub(crate) mod rate;
pub(crate) mod second_chance;
pub(crate) mod segment;
pub(crate) mod select;
pub(crate) mod socket;
pub(crate) mod source;
pub(crate) mod steered;
