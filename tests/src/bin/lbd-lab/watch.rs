//! What changed, in words.
use std::collections::BTreeMap;

use lbd_tests::cluster::Backend;

/// Below this share of its configured weight, in percent, a node counts as steered around.
const LOWERED: u64 = 60;
/// From this share on it counts as back.
const RAISED: u64 = 90;

/// What the master has said so far of each node.
#[derive(Debug, Default)]
pub(super) struct Watch {
    master: Option<String>,
    /// How often another node became master.
    pub(super) failovers: u32,
    known: BTreeMap<String, Share>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Share {
    Full,
    Lowered,
    Off,
}

impl Watch {
    /// Notes who is master and returns the sentence when that is news.
    pub(super) fn master(&mut self, name: &str) -> Option<String> {
        if self.master.as_deref() == Some(name) {
            return None;
        }
        let sentence = match &self.master {
            None => format!("{name} is master and holds the virtual addresses"),
            Some(before) => {
                self.failovers += 1;
                format!("{name} is master now, after {before}")
            }
        };
        self.master = Some(name.to_owned());
        Some(sentence)
    }

    /// Notes the weight of a node whose configured weight is `weight`, as the master sees it.
    pub(super) fn backend(&mut self, backend: &Backend, weight: u32) -> Option<String> {
        let configured = u64::from(weight.max(1)) * 1000;
        let percent = u64::from(backend.weight_permille) * 100 / configured;
        let before = self.known.get(&backend.name).copied();
        let now = if !backend.accepting {
            Share::Off
        } else if percent < LOWERED {
            Share::Lowered
        } else if percent >= RAISED {
            Share::Full
        } else if before == Some(Share::Off) {
            Share::Lowered
        } else {
            before.unwrap_or(Share::Full)
        };
        self.known.insert(backend.name.clone(), now);
        let (name, reason) = (&backend.name, &backend.reason);
        let shown = f64::from(backend.weight_permille) / 1000.0;
        match (before?, now) {
            (before, now) if before == now => None,
            (_, Share::Off) => Some(format!("{name} is shut off: {reason}")),
            (_, Share::Full) => Some(format!("{name} has its full share again: {reason}")),
            (Share::Off, Share::Lowered) => Some(format!(
                "{name} takes sessions again, weight {shown:.0}: {reason}"
            )),
            (_, Share::Lowered) => Some(format!(
                "{name} is steered around, weight {shown:.0}: {reason}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(weight_permille: u32, accepting: bool) -> Backend {
        Backend {
            health: "up".to_owned(),
            reason_kind: String::new(),
            name: "mx1".to_owned(),
            weight_permille,
            accepting,
            operator: None,
            drain: None,
            sessions: 0,
            leaving_sessions: 0,
            reason: "why".to_owned(),
            reported: None,
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut watch = Watch::default();
        let mut told = |permille, accepting| watch.backend(&backend(permille, accepting), 100);
        assert_eq!(told(100_000, true), None);
        assert!(told(40_000, true).unwrap().contains("steered around"));
        assert_eq!(told(30_000, true), None);
        // Not yet news: between the two marks.
        assert_eq!(told(70_000, true), None);
        assert!(told(0, false).unwrap().contains("shut off"));
        assert_eq!(told(0, false), None);
        assert!(told(70_000, true).unwrap().contains("again, weight 70"));
        assert!(told(95_000, true).unwrap().contains("full share"));
    }

    #[test]
    fn the_first_master_is_no_failover() {
        let mut watch = Watch::default();
        assert!(watch.master("mx1").is_some());
        assert_eq!(watch.master("mx1"), None);
        assert_eq!(watch.failovers, 0);
        assert!(watch.master("mx2").unwrap().contains("after mx1"));
        assert_eq!(watch.failovers, 1);
    }
}
