//! Equal priorities in two families.

/// When equal priorities were heard, and in which family (see [the module](crate::election)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Ties {
    primary_ns: Option<u64>,
    /// The first and the last of an unbroken row.
    secondary_ns: Option<(u64, u64)>,
}

impl Ties {
    /// Whether a tie just heard decides. One in the secondary family does after `wait_ns` without
    /// one in the primary.
    pub(super) fn decides(&mut self, primary: bool, now_ns: u64, wait_ns: u64) -> bool {
        if primary {
            self.primary_ns = Some(now_ns);
            return true;
        }
        let from_ns = match self.secondary_ns {
            Some((from_ns, last_ns)) if now_ns - last_ns <= wait_ns => from_ns,
            _ => now_ns,
        };
        self.secondary_ns = Some((from_ns, now_ns));
        now_ns - from_ns >= wait_ns && self.primary_ns.is_none_or(|tie| now_ns - tie >= wait_ns)
    }
}
