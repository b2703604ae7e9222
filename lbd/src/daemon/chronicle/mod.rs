//! What happened lately, and how the backends did: in memory, bounded. Pure.
mod events;
mod points;

pub(super) use self::{
    events::Events,
    points::{Figures, Points},
};
pub use self::{
    events::{Happening, Kind},
    points::{BackendHistory, History},
};

/// Both.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    pub(super) events: Events,
    pub(super) points: Points,
}
