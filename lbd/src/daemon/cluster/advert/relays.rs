//! Announcing a virtual address for the box that has it now.
use std::{collections::HashMap, net::IpAddr};

/// For so long after this node yielded.
const FOR_NS: u64 = 3_000_000_000;
/// Between two of an address, and how many: two nodes that yielded must not answer each other for ever.
const GAP_NS: u64 = 200_000_000;
const MOST: u8 = 5;

/// When to say where an address is that this node has yielded.
#[derive(Debug, Default)]
pub(super) struct Relays {
    until_ns: u64,
    /// How many of each address, and the last.
    told: HashMap<IpAddr, (u8, u64)>,
}

impl Relays {
    /// This node has yielded.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.until_ns = now_ns + FOR_NS;
        self.told.clear();
    }

    /// Whether to repeat another box's claim of `address` now.
    pub(super) fn allow(&mut self, address: IpAddr, now_ns: u64) -> bool {
        if now_ns >= self.until_ns {
            return false;
        }
        let (count, last_ns) = self.told.entry(address).or_insert((0, 0));
        let is_due = *count == 0 || *count < MOST && now_ns - *last_ns >= GAP_NS;
        if is_due {
            (*count, *last_ns) = (*count + 1, now_ns);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_claim_is_repeated_after_yielding_and_at_no_other_time() {
        let vip: IpAddr = [192, 0, 2, 25].into();
        let mut relays = Relays::default();
        assert!(!relays.allow(vip, MS));
        relays.begin(10 * MS);
        assert!(relays.allow(vip, 11 * MS));
        assert!(!relays.allow(vip, 12 * MS));
        let told = (12..10_000).filter(|at| relays.allow(vip, at * MS)).count();
        assert_eq!(told, usize::from(MOST) - 1);
        relays.begin(20_000 * MS);
        assert!(relays.allow(vip, 20_001 * MS));
        assert!(!relays.allow([192, 0, 2, 26].into(), 23_000 * MS));
    }
}
