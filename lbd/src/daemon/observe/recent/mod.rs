//! What happened lately, and how the backends did: in memory, bounded. Pure.
mod events;
mod points;

pub(in crate::daemon) use self::{
    events::{Events, Severity},
    points::{Figures, Points},
};
pub use self::{
    events::{Happening, Kind},
    points::{BackendHistory, History},
};

/// Both.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Recent {
    pub(in crate::daemon) events: Events,
    pub(in crate::daemon) points: Points,
}
