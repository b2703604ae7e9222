//! The way of a frame: [`crate::xdp`] draws it.
//!
//! | step | files |
//! |---|---|
//! | an open session's ordinary frame, decided at once | [`fast`] |
//! | is it for this box, and what is it | [`addressee`], [`classify`], [`segment`] |
//! | it has a flow | [`flow`] finds and changes flows, [`follow`] says what a frame does to its own |
//! | it has none: may it begin a session | [`admit`], by [`source`], [`lists`] and [`rate`] |
//! | which backend takes it | [`select`], of the ring's [`candidate`]s |
//! | not a segment | [`icmp`], [`fragment`] |
//! | another box has steered it here | [`second_chance`], [`socket`] |
//! | this box's own marks on what it steers | [`steered`] |
//! | the daemon asks whether the program runs | [`proof`] |
pub(crate) mod addressee;
pub(crate) mod admit;
pub(crate) mod candidate;
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
