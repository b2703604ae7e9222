//! Which configuration a node has, in the few bytes of a hello.
use super::record::take;

/// The version of the cluster's configuration that a node was given last (see `push`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edition {
    /// Its number; 0 is what the node had before anything was pushed.
    pub number: u64,
    /// The first bytes of its digest: two masters, each without the other, may have given one number to
    /// two configurations.
    pub digest: u64,
}

/// How what a peer has compares with what this node has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// It is the same version.
    Same,
    /// It is an earlier one.
    Behind,
    /// It is a later one: this node is behind.
    Ahead,
    /// It is another configuration of the same number.
    Other,
}

impl Edition {
    /// How this one, a peer's, compares with this node's own.
    #[must_use]
    pub fn compared_with(self, own: Self) -> Comparison {
        match self.number.cmp(&own.number) {
            std::cmp::Ordering::Less => Comparison::Behind,
            std::cmp::Ordering::Greater => Comparison::Ahead,
            // Version 0 is each node's own file at its first start, which no push has made equal.
            std::cmp::Ordering::Equal if own.number == 0 || self.digest == own.digest => {
                Comparison::Same
            }
            std::cmp::Ordering::Equal => Comparison::Other,
        }
    }

    pub(super) fn emit(self, to: &mut Vec<u8>) {
        to.extend(self.number.to_be_bytes());
        to.extend(self.digest.to_be_bytes());
    }

    pub(super) fn parse(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            number: u64::from_be_bytes(take(bytes)?),
            digest: u64::from_be_bytes(take(bytes)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_behind_by_its_number_and_other_by_its_content() {
        let edition = |number, digest| Edition { number, digest };
        for (peer, own, expected) in [
            (edition(2, 7), edition(2, 7), Comparison::Same),
            (edition(1, 7), edition(2, 7), Comparison::Behind),
            (edition(3, 7), edition(2, 7), Comparison::Ahead),
            (edition(2, 8), edition(2, 7), Comparison::Other),
            // Nothing was ever pushed.
            (edition(0, 8), edition(0, 7), Comparison::Same),
        ] {
            assert_eq!(peer.compared_with(own), expected, "{peer:?} with {own:?}");
        }
    }
}
