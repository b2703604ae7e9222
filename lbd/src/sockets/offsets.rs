//! Where the kernel that runs has the fields that the program reads, by its own BTF.
//!
//! The format is that of Documentation/bpf/btf.rst. aya reads it too, but tells nothing of members.

/// In bytes from the start of the struct that is named.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Offsets {
    pub(super) family: u32,
    pub(super) remote_port: u32,
    pub(super) remote4: u32,
    pub(super) local4: u32,
    pub(super) remote6: u32,
    pub(super) local6: u32,
    pub(super) net: u32,
    pub(super) local_port: u32,
    pub(super) inum: u32,
}

impl Offsets {
    /// Reads a kernel's BTF. The error is the clause after "the kernel's BTF ".
    pub(super) fn of(btf: &[u8]) -> Result<Self, String> {
        let types =
            Kernel::parse(btf).ok_or("is damaged, or of a format that lbd does not know")?;
        let common = |member| types.offset("sock_common", &[member]);
        Ok(Self {
            family: common("skc_family")?,
            remote_port: common("skc_dport")?,
            remote4: common("skc_daddr")?,
            local4: common("skc_rcv_saddr")?,
            remote6: common("skc_v6_daddr")?,
            local6: common("skc_v6_rcv_saddr")?,
            net: common("skc_net")?,
            local_port: types.offset("inet_sock", &["inet_sport"])?,
            inum: types.offset("net", &["ns", "inum"])?,
        })
    }
}

const MAGIC: u16 = 0xeb9f;

/// `BTF_KIND_*` of include/uapi/linux/btf.h.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// How deep types are looked into: a kernel's are a few deep, a damaged one's may be circular.
const DEEPEST: usize = 16;

struct Kernel<'b> {
    types: &'b [u8],
    strings: &'b [u8],
    /// Where each type begins in `types`; the first has id 1.
    starts: Vec<usize>,
}

impl<'b> Kernel<'b> {
    fn parse(btf: &'b [u8]) -> Option<Self> {
        let magic = u16::from_le_bytes(btf.first_chunk().copied()?);
        let header = |index: usize| word(btf, 4 + 4 * index).map(|word| word as usize);
        let header_bytes = header(0)?;
        let section = |offset: usize, length: usize| {
            let from = header_bytes.checked_add(header(offset)?)?;
            btf.get(from..from.checked_add(header(length)?)?)
        };
        if magic != MAGIC {
            return None;
        }
        let (types, strings) = (section(1, 2)?, section(3, 4)?);
        let (mut starts, mut at) = (Vec::new(), 0);
        while at < types.len() {
            starts.push(at);
            let info = word(types, at + 4)?;
            let members = (info & 0xffff) as usize;
            at += 12
                + match kind_of(info) {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * members,
                    kind::ENUM | kind::FUNC_PROTO => 8 * members,
                    unknown if unknown > kind::ENUM64 => return None,
                    _ => 0,
                };
        }
        Some(Self {
            types,
            strings,
            starts,
        })
    }

    /// Where a member of a struct lies, by the names that lead to it.
    fn offset(&self, of: &str, path: &[&str]) -> Result<u32, String> {
        let missing = || format!("has no {of}.{}", path.join("."));
        let is_struct = |start: &&usize| {
            let info = word(self.types, **start + 4).map(kind_of);
            info == Some(kind::STRUCT) && self.name(**start) == Some(of.as_bytes())
        };
        let mut at = *self.starts.iter().find(is_struct).ok_or_else(missing)?;
        let mut bits = 0;
        for member in path {
            let (offset, id) = self.member(at, member.as_bytes(), 0).ok_or_else(missing)?;
            bits += offset;
            at = self.resolve(id).unwrap_or(usize::MAX);
        }
        Ok(bits / 8)
    }

    /// A member's offset in bits and its type, also one inside members without a name.
    fn member(&self, at: usize, wanted: &[u8], depth: usize) -> Option<(u32, u32)> {
        let info = word(self.types, at.checked_add(4)?)?;
        if depth > DEEPEST || !matches!(kind_of(info), kind::STRUCT | kind::UNION) {
            return None;
        }
        let has_bit_fields = info >> 31 != 0;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = at + 12 + 12 * index;
            let (id, offset) = (word(self.types, member + 4)?, word(self.types, member + 8)?);
            let offset = if has_bit_fields {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            match self.name(member)? {
                name if name == wanted => Some((offset, id)),
                [] => {
                    let (inner, id) = self.member(self.resolve(id)?, wanted, depth + 1)?;
                    Some((offset + inner, id))
                }
                _ => None,
            }
        })
    }

    /// Where a type begins that is no mere name or qualifier of another.
    fn resolve(&self, mut id: u32) -> Option<usize> {
        for _ in 0..DEEPEST {
            let at = *self.starts.get(id.checked_sub(1)? as usize)?;
            match kind_of(word(self.types, at + 4)?) {
                kind::TYPEDEF | kind::VOLATILE..=kind::RESTRICT | kind::TYPE_TAG => {
                    id = word(self.types, at + 8)?;
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// The name of a type or a member, which both begin with it.
    fn name(&self, at: usize) -> Option<&'b [u8]> {
        let rest = self.strings.get(word(self.types, at)? as usize..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

fn kind_of(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// A word at an offset; lbd runs on little-endian machines, as do its programs.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF: each type is its name, its info and size word, and what follows.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn words(&mut self, words: &[u32]) -> &mut Self {
            for word in words {
                self.types.extend(word.to_le_bytes());
            }
            self
        }

        fn string(&mut self, text: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if text.is_empty() {
                return 0;
            }
            let at = u32::try_from(self.strings.len()).unwrap();
            self.strings.extend(text.as_bytes());
            self.strings.push(0);
            at
        }

        fn of_kind(&mut self, name: &str, kind: u32, members: &[(&str, u32, u32)], link: u32) {
            let name = self.string(name);
            let count = u32::try_from(members.len()).unwrap();
            self.words(&[name, kind << 24 | count, link]);
            for (member, id, bits) in members {
                let member = self.string(member);
                self.words(&[member, *id, *bits]);
            }
        }

        fn build(&self) -> Vec<u8> {
            let mut btf = vec![0x9f, 0xeb, 1, 0];
            let (types, strings) = (self.types.len(), self.strings.len());
            for word in [24, 0, types, types, strings] {
                btf.extend(u32::try_from(word).unwrap().to_le_bytes());
            }
            btf.extend(&self.types);
            btf.extend(&self.strings);
            btf
        }
    }

    fn kernel() -> Builder {
        let mut builder = Builder::default();
        // 1: an int, with the word that follows one.
        let int = builder.string("int");
        builder.words(&[int, kind::INT << 24, 4, 32]);
        // 2 and 3: what lies inside members without a name.
        builder.of_kind(
            "",
            kind::STRUCT,
            &[("skc_daddr", 1, 0), ("skc_rcv_saddr", 1, 32)],
            8,
        );
        builder.of_kind("", kind::UNION, &[("skc_addrpair", 1, 0), ("", 2, 0)], 8);
        // 4: by a typedef, as `possible_net_t` is one.
        builder.of_kind("possible_net_t", kind::TYPEDEF, &[], 1);
        let common = [
            ("", 3, 0),
            ("skc_dport", 1, 96),
            ("skc_family", 1, 128),
            ("skc_net", 4, 384),
            ("skc_v6_daddr", 1, 448),
            ("skc_v6_rcv_saddr", 1, 576),
        ];
        builder.of_kind("sock_common", kind::STRUCT, &common, 136);
        builder.of_kind("ns_common", kind::STRUCT, &[("inum", 1, 64)], 16);
        builder.of_kind("ns_common_t", kind::TYPEDEF, &[], 6);
        builder.of_kind("net", kind::STRUCT, &[("x", 1, 0), ("ns", 7, 640)], 200);
        builder.of_kind("inet_sock", kind::STRUCT, &[("inet_sport", 1, 6000)], 900);
        builder
    }

    #[test]
    fn members_are_found_also_in_those_without_a_name_and_behind_a_typedef() {
        let expected = Offsets {
            family: 16,
            remote_port: 12,
            remote4: 0,
            local4: 4,
            remote6: 56,
            local6: 72,
            net: 48,
            local_port: 750,
            inum: 88,
        };
        assert_eq!(Offsets::of(&kernel().build()), Ok(expected));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut builder = Builder::default();
        builder.of_kind("sock_common", kind::STRUCT, &[("skc_family", 0, 0)], 8);
        let refused = Offsets::of(&builder.build()).unwrap_err();
        assert_eq!(refused, "has no sock_common.skc_dport");
    }

    #[test]
    fn damaged_bytes_are_refused_wherever_they_end_or_differ() {
        let whole = kernel().build();
        for length in 0..whole.len() {
            let _ = Offsets::of(&whole[..length]).unwrap_err();
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            // It must end; what it finds may differ.
            let _ = Offsets::of(&bytes);
        }
    }

    #[test]
    fn the_running_kernel_has_them_all() {
        let Ok(btf) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        let offsets = Offsets::of(&btf).unwrap();
        // Facts of include/net/sock.h that no kernel of ours has changed.
        assert_eq!((offsets.remote4, offsets.local4), (0, 4));
        assert_eq!((offsets.remote_port, offsets.family), (12, 16));
        assert_eq!(offsets.local6, offsets.remote6 + 16);
    }
}
