//! What the compiled program must not contain, and what its debug build has besides.
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    process::Command,
};

use aya_obj::{Object, generated::bpf_insn};
use lbd_tests::{
    programs,
    xdp::{
        object,
        packet::{SYN, v4},
        world::{INGRESS, World, verdict},
    },
};

#[test]
fn no_packet_pays_for_a_memory_function() {
    let name = "no_packet_pays_for_a_memory_function";
    if !programs::or_skip(name, &["llvm-objdump"]) {
        return;
    }
    let objdump = programs::find("llvm-objdump").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd-xdp");
    fs::write(&path, object::LBD).unwrap();
    let output = Command::new(objdump)
        .args(["-d", "-r", "--no-show-raw-insn"])
        .arg(&path)
        .output()
        .unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    assert!(listing.contains("<lbd>:"), "no program in the listing");
    let mut function = "";
    let mut calls = Vec::new();
    for line in listing.lines() {
        if let Some((_, name)) = line
            .strip_suffix(">:")
            .and_then(|line| line.split_once('<'))
        {
            function = name;
        }
        let relocated = line.contains("R_BPF_64_32");
        let memory = ["memcpy", "memset", "memmove", "memcmp", "bcmp"];
        let called = |name: &&str| {
            line.split_whitespace().last() == Some(name) || line.contains(&format!("<{name}>"))
        };
        if (relocated || line.contains("call")) && memory.iter().any(called) {
            calls.push(format!("{function}: {}", line.trim()));
        }
    }
    assert!(calls.is_empty(), "{calls:#?}");
}

fn built(program: &str, feature: &str) -> Vec<u8> {
    fs::read(xtask::ebpf::build_one(program, feature).unwrap()).unwrap()
}

/// What a program is made of, as the loader hands it to the kernel: every function that it reaches, linked.
struct Linked {
    instructions: Vec<bpf_insn>,
    /// The instructions that name a map or a variable in one, and which.
    named: BTreeMap<usize, String>,
}

/// Instructions of the eBPF ISA that load 64 bits, and what they load (`BPF_PSEUDO_*` of
/// include/uapi/linux/bpf.h).
const LD_IMM64: u8 = 0x18;
const MAP_FD: u8 = 1;
const MAP_VALUE: u8 = 2;

impl Linked {
    fn of(bytes: &[u8], program: &str) -> Self {
        let mut object = Object::parse(bytes).unwrap();
        let maps = object.maps.clone();
        // A number for each, in the place of a descriptor.
        let names: Vec<&String> = maps.keys().collect();
        let numbered = (0..).zip(&names);
        let text: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        object
            .relocate_maps(
                numbered.map(|(at, name)| (name.as_str(), at, &maps[*name])),
                &text,
            )
            .unwrap();
        object.relocate_calls(&text).unwrap();
        let key = object.programs[program].function_key();
        let mut instructions = object.functions[&key].instructions.clone();
        let mut named = BTreeMap::new();
        for at in 0..instructions.len() {
            let source = instructions[at].src_reg();
            if instructions[at].code != LD_IMM64 || ![MAP_FD, MAP_VALUE].contains(&source) {
                continue;
            }
            let name = names[usize::try_from(instructions[at].imm).unwrap()];
            // What else is in the section decides where a variable is; it is known by its first value.
            let value = if source == MAP_VALUE {
                let from = usize::try_from(instructions[at + 1].imm).unwrap();
                let data = &maps[name].data()[from..];
                instructions[at + 1].imm = 0;
                format!("{:?}", &data[..data.len().min(4)])
            } else {
                String::new()
            };
            instructions[at].imm = 0;
            named.insert(at, format!("{name} {value}"));
        }
        Self {
            instructions,
            named,
        }
    }

    /// The first instruction that is another one in `other`.
    fn difference(&self, other: &Self) -> Option<usize> {
        let raw = |of: &Self, at: usize| {
            let it = of.instructions.get(at)?;
            let named = of.named.get(&at).cloned();
            Some((it.code, it.dst_reg(), it.src_reg(), it.off, it.imm, named))
        };
        let longer = self.instructions.len().max(other.instructions.len());
        (0..longer).find(|at| raw(self, *at) != raw(other, *at))
    }
}

#[test]
fn the_program_is_the_same_without_a_trace_in_its_object() {
    let untraced = built("lbd-xdp-untraced", "untraced");
    assert!(
        !Object::parse(&untraced)
            .unwrap()
            .maps
            .contains_key("TRACES")
    );
    let [with, without] = [object::LBD, &untraced].map(|object| Linked::of(object, "lbd"));
    println!(
        "{} instructions, {} of them name a map",
        with.instructions.len(),
        with.named.len()
    );
    assert!(with.instructions.len() > 1000 && with.named.len() > 30);
    assert_eq!(with.difference(&without), None);
    // The comparison sees what differs.
    let traced = Linked::of(object::LBD, "lbd_traced");
    assert!(traced.difference(&with).is_some());
}

/// The map of aya-log.
const LOG: &str = "AYA_LOGS";

#[test]
fn only_the_debug_build_says_what_it_does() {
    let name = "only_the_debug_build_says_what_it_does";
    let debug = built("lbd-xdp-log", "log");
    let has_log = |object: &[u8]| Object::parse(object).unwrap().maps.contains_key(LOG);
    assert!(has_log(&debug));
    // What lbd carries, also a release build of it.
    assert!(!has_log(object::LBD));

    let Some(plain) = World::load(name) else {
        return;
    };
    let [off, info, all] = [Level::Off, Level::Info, Level::Debug].map(|level| {
        let (mut world, mut log) = World::saying(&debug, level as u8).unwrap();
        let syn = v4(SYN).bytes();
        for _ in 0..2 {
            assert_eq!(world.run(&syn).unwrap().0, verdict::TX);
        }
        let info = world.info().unwrap();
        let size = info.size_translated().unwrap();
        let lines: Vec<String> = log.lines().into_iter().map(|line| line.text).collect();
        println!("{level:?}: {size} bytes of instructions, {lines:#?}");
        (size, lines)
    });
    let plain = plain.info().unwrap().size_translated().unwrap();
    println!("without a log: {plain} bytes");
    // The verifier has removed what is off: the two looks at the level are left, some instructions of 8 bytes.
    assert!(
        off.1.is_empty() && off.0 - plain < 64 * 8,
        "{} {plain}",
        off.0
    );
    assert!(off.0 < info.0 && info.0 < all.0);
    let loaded = "loaded: 64 and 64 buckets of flows, layout ";
    assert_eq!(info.1.len(), 1, "once a load");
    assert!(info.1[0].starts_with(loaded), "{:?}", info.1);
    let decided = format!(
        "{} bytes by interface {INGRESS}: action 3",
        v4(SYN).bytes().len()
    );
    assert!(all.1[0].starts_with(loaded), "{:?}", all.1);
    assert_eq!(all.1[1..], [decided.clone(), decided]);
}

#[derive(Clone, Copy, Debug)]
enum Level {
    Off = 0,
    Info = 3,
    Debug = 4,
}
