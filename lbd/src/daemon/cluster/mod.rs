//! The other boxes: adverts, the cluster channel and pushes of the configuration.
pub mod advert;
pub(in crate::daemon) mod channel;
pub(in crate::daemon) mod channel_tcp;
pub(in crate::daemon) mod elected;
pub(in crate::daemon) mod election_view;
pub(in crate::daemon) mod known;
pub mod push;
mod session_teller;
pub(in crate::daemon) mod stations;

pub use session_teller::SessionTeller;
