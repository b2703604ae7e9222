//! Checksums that are changed by what changed, against those that are computed anew.
use lbd_ebpf::wire::{
    checksum::Sum,
    frame::{put_u16, u16_at, u32_at},
    mark,
};
use proptest::prelude::*;

/// The checksum of all bytes, one word after another; an odd last byte is padded (RFC 1071).
fn anew(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(Sum::default(), |sum, pair| {
        let second = pair.get(1).copied().unwrap_or(0);
        sum.add_u16(u16::from_ne_bytes([pair[0], second]))
    });
    sum.finish()
}

/// Bytes with many of those words for which ones' complement has two numbers.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(0xff), any::<u8>()];
    prop::collection::vec(byte, 12..64)
}

fn window<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().unwrap()
}

proptest! {
    #[test]
    fn a_mark_comes_and_goes_with_a_right_sum(header in prop::array::uniform20(any::<u8>())) {
        let mut header: [u8; 20] = header;
        mark::put(&mut header, false);
        put_u16(&mut header, 16, 0);
        let sum = anew(&header);
        put_u16(&mut header, 16, sum);
        let mut marked = header;
        mark::put(&mut marked, true);
        prop_assert!(mark::is_set(&marked) && !mark::is_set(&header));
        // The sum of what has a right one in it is nothing.
        prop_assert_eq!(anew(&marked), 0);
        mark::put(&mut marked, false);
        prop_assert_eq!(&marked[..16], &header[..16]);
        prop_assert_eq!(anew(&marked), 0);
    }

    #[test]
    fn a_changed_sum_is_the_sum_of_what_was_changed(old in bytes(), new in bytes()) {
        // The last four bytes stay, so that the whole is not nothing but zeros.
        let mut changed = old.clone();
        let (a, b) = (window::<6>(&old), window::<6>(&new));
        changed[..6].copy_from_slice(&b);
        changed[8] |= 1;
        let mut before = old.clone();
        before[8] |= 1;
        let sum = Sum::of(anew(&before))
            .replace_u32(u32_at(&a, 0), u32_at(&b, 0))
            .replace_u16(u16_at(&a, 4), u16_at(&b, 4));
        prop_assert_eq!(sum.finish(), anew(&changed));
    }

    #[test]
    fn a_change_back_gives_the_sum_from_before(old: [u32; 4], new: [u32; 4], sum in 0..0xffff_u16) {
        let there = Sum::of(sum).replace_words(old, new).finish();
        let back = Sum::of(there).replace_words(new, old).finish();
        prop_assert_eq!(back, sum);
    }

    #[test]
    fn a_wrong_sum_stays_wrong_by_as_much(bytes in bytes(), wrong in 1..0xffff_u16, new: u32) {
        let mut bytes = bytes;
        bytes[8] |= 1;
        let old = u32_at(&window::<4>(&bytes), 0);
        let right = anew(&bytes);
        let off = Sum::of(right).add_u16(wrong).finish();
        let replaced = |sum| Sum::of(sum).replace_u32(old, new).finish();
        prop_assert_eq!(replaced(off), Sum::of(replaced(right)).add_u16(wrong).finish());
    }
}

#[test]
fn the_two_zeros_of_ones_complement_are_told_apart() {
    // RFC 1624, section 4: equation 3 gives 0x0000 where equation 2 gives 0xffff.
    let sum = Sum::of(0xdd2f_u16.to_be()).replace_u16(0x5555_u16.to_be(), 0x3285_u16.to_be());
    assert_eq!(sum.finish(), 0);
    // From there a change goes on rightly, and no change leaves it.
    assert_eq!(Sum::of(0).replace_u16(7, 7).finish(), 0);
    let back = Sum::of(0).replace_u16(0x3285_u16.to_be(), 0x5555_u16.to_be());
    assert_eq!(back.finish(), 0xdd2f_u16.to_be());
}
