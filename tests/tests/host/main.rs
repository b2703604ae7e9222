//! `lbd::host` on a real kernel, in the namespaces of a lab.
mod journal;
mod support;
mod vip;
mod watch;
