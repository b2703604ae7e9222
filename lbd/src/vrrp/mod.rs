//! VRRPv3 on the wire (RFC 9568), and its authentication trailer.
