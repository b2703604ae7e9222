//! From what the backends report to the weight each gets, with the reason.
