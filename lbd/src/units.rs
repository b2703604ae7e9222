//! Ids and quantities as types, so that a priority is never taken for a weight.
use std::{fmt, net::IpAddr, num::NonZeroU16};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The index of a backend in every map.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, JsonSchema, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BackendId(pub u16);

/// Where the sessions with a backend end, in other words what its sockets are bound to. A session of
/// one endpoint means nothing at another one of the same box: each has a [`BackendId`] of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    /// The backend's own address.
    pub address: IpAddr,
    /// What its sockets are bound to.
    pub sockets: Sockets,
}

/// What the sockets of a backend are bound to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Sockets {
    /// The virtual address and port: `dsr`, `ipip`, and this box itself.
    Virtual,
    /// The backend's own address: `nat`.
    Own {
        /// Its port; `None` is the service's.
        port: Option<NonZeroU16>,
    },
}

impl Endpoint {
    /// With sockets of the virtual address.
    #[must_use]
    pub const fn of_virtual(address: IpAddr) -> Self {
        Self {
            address,
            sockets: Sockets::Virtual,
        }
    }

    /// Whether frames to it are translated.
    #[must_use]
    pub const fn is_translated(&self) -> bool {
        matches!(self.sockets, Sockets::Own { .. })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.sockets {
            Sockets::Virtual => write!(f, "{address}"),
            Sockets::Own { port: None } => write!(f, "{address} by nat"),
            Sockets::Own { port: Some(port) } => write!(f, "{address} by nat, port {port}"),
        }
    }
}

/// A configured weight: a share relative to the other backends'. 0 takes no new session.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, JsonSchema, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Weight(pub u16);

impl Weight {
    /// The largest weight a config may give.
    pub const MAX: Self = Self(10_000);

    /// The effective weight when nothing lowers it.
    #[must_use]
    pub fn full(self) -> WeightPermille {
        WeightPermille(u32::from(self.0) * 1000)
    }
}

/// An effective weight, in thousandths of a [`Weight`]'s unit: what the data plane compares.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    JsonSchema,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct WeightPermille(pub u32);

/// A VRRP priority: 1 to 254, 255 for the owner of the VIP, 0 on the wire for "I stop".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// Sent by a master that stops.
    pub const STOPPING: Self = Self(0);
    /// The VIP's owner.
    pub const OWNER: Self = Self(255);
}

/// A link-layer address.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}
