//! The simulator: the very policy and selection code over simulated SMTP traffic.
