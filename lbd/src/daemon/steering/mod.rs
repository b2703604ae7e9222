//! Where new sessions go: backends, their health and figures, weights, admission and the sweep.
pub(in crate::daemon) mod admission;
pub(in crate::daemon) mod adoption;
pub(in crate::daemon) mod backend_tasks;
pub(in crate::daemon) mod followed_weights;
pub mod health;
pub(in crate::daemon) mod leaving;
pub(in crate::daemon) mod members;
pub(in crate::daemon) mod per_backend;
pub mod poll;
pub(in crate::daemon) mod reach;
pub(in crate::daemon) mod reply_ways;
pub(in crate::daemon) mod session_lifetimes;
pub(in crate::daemon) mod suspects;
pub(in crate::daemon) mod suspicion;
pub(in crate::daemon) mod sweep;
mod tls;
pub(in crate::daemon) mod tunnel;
pub(in crate::daemon) mod weigh;
