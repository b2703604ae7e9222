//! By which MACs a node sends and is reached, as it says itself.
use super::record::take;
use crate::units::Mac;

/// MACs that one node may tell of. A box with more interfaces tells of the first.
const MOST_MACS: usize = 32;

/// A node's MACs. What the kernel learns of a neighbour may be any host's word; this is the node's own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Station {
    /// Of the interface that has the address by which the peers know the node; `None` when none has.
    pub home: Option<Mac>,
    /// Every MAC that it sends frames with.
    pub macs: Vec<Mac>,
}

impl Station {
    /// Without what no interface has, and what is more than a hello takes.
    #[must_use]
    pub fn new(home: Option<Mac>, macs: &[Mac]) -> Self {
        let home = home.filter(|mac| is_station(*mac));
        let mut all: Vec<Mac> = home.into_iter().collect();
        for mac in macs {
            if is_station(*mac) && !all.contains(mac) {
                all.push(*mac);
            }
        }
        all.truncate(MOST_MACS);
        Self { home, macs: all }
    }

    /// Whether the node sends frames with a MAC.
    #[must_use]
    pub fn has(&self, mac: Mac) -> bool {
        self.macs.contains(&mac)
    }

    /// The home's MAC is the first, and the first byte says whether there is one.
    pub(super) fn emit(&self, bytes: &mut Vec<u8>) {
        let count = u8::try_from(self.macs.len()).unwrap_or(u8::MAX);
        bytes.extend([u8::from(self.home.is_some()), count]);
        for mac in &self.macs {
            bytes.extend(mac.0);
        }
    }

    pub(super) fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [has_home, count] = take(bytes)?;
        let count = usize::from(count);
        if has_home > 1 || count > MOST_MACS || count < usize::from(has_home) {
            return None;
        }
        let mut macs = Vec::with_capacity(count);
        for _ in 0..count {
            let mac = Mac(take(bytes)?);
            if !is_station(mac) || macs.contains(&mac) {
                return None;
            }
            macs.push(mac);
        }
        Some(Self {
            home: (has_home == 1).then(|| macs[0]),
            macs,
        })
    }
}

/// Whether a MAC can be an interface's: not zeros, and no group's (IEEE 802, the first byte's lowest bit).
fn is_station(mac: Mac) -> bool {
    mac != Mac::default() && mac.0[0] & 1 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn what_no_interface_has_is_neither_told_nor_believed() {
        let group = Mac([1, 0, 0x5e, 0, 0, 18]);
        let told = Station::new(Some(mac(1)), &[mac(2), mac(1), group, Mac::default()]);
        assert_eq!(told.macs, [mac(1), mac(2)]);
        let read = |station: &Station| {
            let mut bytes = Vec::new();
            station.emit(&mut bytes);
            Station::parse(&mut &bytes[..])
        };
        assert_eq!(read(&told), Some(told));
        for macs in [vec![group], vec![Mac::default()], vec![mac(1), mac(1)]] {
            assert_eq!(read(&Station { home: None, macs }), None);
        }
        let many: Vec<Mac> = (1..=40).map(mac).collect();
        assert_eq!(Station::new(None, &many).macs.len(), MOST_MACS);
        assert_eq!(
            read(&Station {
                home: None,
                macs: many
            }),
            None
        );
        assert_eq!(
            Station::parse(&mut &[1, 0][..]),
            None,
            "a home without a MAC"
        );
    }
}
