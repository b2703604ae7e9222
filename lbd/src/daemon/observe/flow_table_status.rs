//! How full the flow tables are, and with what.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flows::StateCounts;

/// From this part of its places on a table is said to be filling, in percent: two candidate buckets of
/// four places each hold more, but a burst then finds few of them free.
const FILLING_PERCENT: u64 = 75;

/// Both flow tables.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct FlowTablesStatus {
    /// The IPv4 flows.
    pub ipv4: FlowTableStatus,
    /// The IPv6 flows.
    pub ipv6: FlowTableStatus,
}

impl FlowTablesStatus {
    /// Each with its family's name.
    pub fn each(&self) -> [(&'static str, &FlowTableStatus); 2] {
        [("ipv4", &self.ipv4), ("ipv6", &self.ipv6)]
    }
}

/// One flow table, as of the last sweep.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct FlowTableStatus {
    /// Places for flows.
    pub places: u64,
    /// A SYN was steered, and its client has not answered.
    pub half_open: u64,
    /// The client answered, and no box has confirmed the session.
    pub unproven: u64,
    /// Open sessions.
    pub established: u64,
    /// Open sessions in whose client's name FIN or RST came.
    pub closing: u64,
    /// Ended by their box, and forgotten in seconds.
    pub ended: u64,
    /// The next frame is answered with a reset.
    pub doomed: u64,
}

impl FlowTableStatus {
    pub(in crate::daemon) fn new(places: usize, counts: StateCounts) -> Self {
        Self {
            places: places as u64,
            half_open: counts.half_open,
            unproven: counts.unproven,
            established: counts.established,
            closing: counts.closing,
            ended: counts.ended,
            doomed: counts.doomed,
        }
    }

    /// The number of flows in each state, with the state's name.
    pub fn states(&self) -> [(&'static str, u64); 6] {
        [
            ("half-open", self.half_open),
            ("unproven", self.unproven),
            ("established", self.established),
            ("closing", self.closing),
            ("ended", self.ended),
            ("doomed", self.doomed),
        ]
    }

    /// A warning about a table that is filling: with what, and what to do about that.
    #[must_use]
    pub fn warning(&self, family: &str) -> Option<String> {
        let total: u64 = self.states().iter().map(|(_, count)| count).sum();
        let percent = (total * 100).checked_div(self.places)?;
        if percent < FILLING_PERCENT {
            return None;
        }
        let mut states = self.states();
        states.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let with: Vec<String> = states
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let cure = if self.half_open + self.unproven > total / 2 {
            "most are claims, which give way to new sessions: a flood, see `lbd flows --state unproven \
             --by-source`"
        } else {
            "most are sessions: raise node.flows"
        };
        Some(format!(
            "the {family} flow table is {percent} % full ({}); {cure}",
            with.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_fills_says_with_what_and_what_to_do() {
        let mut table = FlowTableStatus {
            places: 1000,
            unproven: 600,
            established: 149,
            ..FlowTableStatus::default()
        };
        assert_eq!(table.warning("ipv4"), None);
        table.half_open = 1;
        let said = table.warning("ipv4").unwrap();
        let expected =
            "the ipv4 flow table is 75 % full (600 unproven, 149 established, 1 half-open)";
        assert!(said.starts_with(expected), "{said}");
        assert!(
            said.contains("give way") && said.contains("--state unproven"),
            "{said}"
        );
        (table.unproven, table.established) = (100, 800);
        let said = table.warning("ipv6").unwrap();
        assert!(
            said.contains("90 % full") && said.contains("raise node.flows"),
            "{said}"
        );
        assert_eq!(
            FlowTableStatus::default().warning("ipv4"),
            None,
            "no sweep yet"
        );
    }
}
