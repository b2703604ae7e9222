//! A flow's key as the words of a slot before its [`FlowWord`](super::FlowWord), packed in one place:
//! little-endian, as every machine that lbd runs on.

/// The word of [`Slot4`](super::Slot4) before its flow word.
#[inline(always)]
#[must_use]
pub const fn words4(source: u32, port_be: u16, vip_id: u16) -> [u64; 1] {
    [source as u64 | (port_be as u64) << 32 | (vip_id as u64) << 48]
}

/// Source, port and VIP id of an IPv4 flow: the inverse of [`words4`].
#[inline(always)]
#[must_use]
pub const fn parts4(words: [u64; 1]) -> (u32, u16, u16) {
    let [word] = words;
    (word as u32, (word >> 32) as u16, (word >> 48) as u16)
}

/// The words of [`Slot6`](super::Slot6) before its flow word.
#[inline(always)]
#[must_use]
pub const fn words6(source: [u32; 4], port_be: u16, vip_id: u16) -> [u64; 3] {
    [
        source[0] as u64 | (source[1] as u64) << 32,
        source[2] as u64 | (source[3] as u64) << 32,
        port_be as u64 | (vip_id as u64) << 16,
    ]
}

/// Source, port and VIP id of an IPv6 flow: the inverse of [`words6`].
#[inline(always)]
#[must_use]
pub const fn parts6(words: [u64; 3]) -> ([u32; 4], u16, u16) {
    let [high, low, tail] = words;
    let source = [
        high as u32,
        (high >> 32) as u32,
        low as u32,
        (low >> 32) as u32,
    ];
    (source, tail as u16, (tail >> 16) as u16)
}
