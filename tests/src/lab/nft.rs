//! What nftables does to a host's packets.
use anyhow::{Context as _, Result};

use super::host::Host;

/// The UDP port of the cluster channel.
const CHANNEL_PORT: u16 = 9426;

fn table_of(device: &str) -> String {
    format!("cut_{}", device.replace('-', "_"))
}

impl Host {
    /// Runs commands of `nft`, with `;` between them.
    fn nft(&self, commands: &str) -> Result<String> {
        self.output("nft", &[commands])
    }

    /// From now on nothing of the cluster channel leaves the host or comes in.
    pub fn cut_channel(&self) -> Result<()> {
        self.nft(&format!(
            "add table inet channel; \
             add chain inet channel in {{ type filter hook input priority 0; }}; \
             add chain inet channel out {{ type filter hook output priority 0; }}; \
             add rule inet channel in udp dport {CHANNEL_PORT} drop; \
             add rule inet channel out udp dport {CHANNEL_PORT} drop"
        ))?;
        Ok(())
    }

    /// Undoes [`Self::cut_channel`].
    pub fn restore_channel(&self) -> Result<()> {
        self.nft("delete table inet channel")?;
        Ok(())
    }

    /// From now on no frame passes `device` in one direction, as the host sees it: `ingress` or
    /// `egress`.
    pub(super) fn drop_frames(&self, device: &str, direction: &str) -> Result<String> {
        let table = table_of(device);
        self.nft(&format!(
            "add table netdev {table}; \
             add chain netdev {table} cut {{ type filter hook {direction} device {device} priority 0; \
             policy drop; }}"
        ))
    }

    /// Undoes [`Self::drop_frames`], if it was done.
    pub(super) fn drop_no_frames(&self, device: &str) -> Result<()> {
        let table = table_of(device);
        // `add` first: what is not there cannot be deleted.
        self.nft(&format!(
            "add table netdev {table}; delete table netdev {table}"
        ))?;
        Ok(())
    }

    /// Counts from now on the sessions that the host's own stack resets; see [`Self::resets`].
    pub fn count_resets(&self) -> Result<()> {
        self.nft(
            "add table inet resets; \
             add chain inet resets out { type filter hook output priority 0; }; \
             add counter inet resets sent; \
             add rule inet resets out tcp sport 25 tcp flags & rst == rst counter name sent",
        )?;
        Ok(())
    }

    /// RSTs from port 25 that its stack has sent since [`Self::count_resets`]. Those that lbd builds
    /// in XDP are none of them.
    pub fn resets(&self) -> Result<u64> {
        let shown = self.nft("list counter inet resets sent")?;
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "packets");
        let count = words.next().and_then(|count| count.parse().ok());
        count.with_context(|| format!("no count in {shown:?}"))
    }
}
