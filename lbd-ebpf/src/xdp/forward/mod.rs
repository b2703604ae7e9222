//! Towards the backend and back: `dsr`, `nat`, `ipip`, and the next hop.
pub(crate) mod decap;
pub(crate) mod error;
pub(crate) mod ethernet;
pub(crate) mod hop;
pub(crate) mod nat;
pub(crate) mod reply;
pub(crate) mod rewrite;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod translate;
pub(crate) mod tunnel;
