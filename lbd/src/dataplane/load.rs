//! From the object to a program that runs, or to an error that left nothing behind.
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapError, MapInfo},
    programs::{ProgramError, Xdp},
};
use lbd_common::{
    ABI_VERSION,
    director::Director,
    maps::{DIRECTOR, FLOWS4, FLOWS6, PREFILTER},
    prefilter::Prefilter,
};
use tracing::{level_filters::LevelFilter, warn};

use super::{
    attach::{self, Attachment},
    bpf,
    director::LeaseHandle,
    error::{DataPlaneError, Result},
    flow_tables::FlowTables,
    layout::{self, Layouts, MapLayout},
    object::object,
    pins::{self, PinDir, Undo, pin_error},
    program_log::{self, ProgramLog},
    resize::{self, Former},
    spec::LoadOptions,
    traced::TraceVariables,
};

/// The XDP program's name in the object.
const PROGRAM: &str = "lbd";

/// Buckets of a flow table: fewer than a page of them cannot be mapped, more than the hash's bits
/// cannot be chosen.
const BUCKETS: std::ops::RangeInclusive<u32> = 64..=1 << 26;

/// What a load has made.
pub(super) struct Loaded {
    pub(super) pins: PinDir,
    pub(super) ebpf: Ebpf,
    pub(super) ring_flags: u32,
    former: Former,
    plans: Vec<attach::Plan>,
    undo: Undo,
}

/// Everything but attaching: the maps can be filled before the first frame is seen.
pub(super) fn load(options: &LoadOptions) -> Result<Loaded> {
    check_buckets("flows4_buckets", options.flows4_buckets)?;
    check_buckets("flows6_buckets", options.flows6_buckets)?;
    attach::interfaces(&options.interfaces)?;
    check_privileges()?;
    let mut undo = Undo::default();
    let pins = PinDir::open(&options.pin_dir, &mut undo)?;
    let plans = attach::plan(&pins, &options.interfaces)?;

    let sizes = [
        (FLOWS4, options.flows4_buckets),
        (FLOWS6, options.flows6_buckets),
    ];
    let layouts = layouts(&sizes)?;
    resize::restore(&pins)?;
    prepare_pins(&pins, &layouts.maps)?;
    let former = resize::set_aside(&pins, &layouts.maps, &mut undo)?;

    let mut ebpf = open(&pins, &sizes, &layouts, None, |path| undo.file(path))?;
    verify(&mut ebpf, PROGRAM)?;
    Ok(Loaded {
        pins,
        ebpf,
        plans,
        undo,
        ring_flags: layouts.ring_flags,
        former,
    })
}

/// What the object declares, with tables of these sizes. It parses the whole object.
pub(super) fn layouts(sizes: &[(&'static str, u32); 2]) -> Result<Layouts> {
    let object = object()?;
    layout::of_object(&object, sizes).map_err(|error| DataPlaneError::Load(error.to_string()))
}

/// Opens the pinned maps and makes what is missing, which `making` is told of.
pub(super) fn open(
    pins: &PinDir,
    sizes: &[(&'static str, u32); 2],
    layouts: &Layouts,
    trace: Option<&TraceVariables>,
    mut making: impl FnMut(PathBuf),
) -> Result<Ebpf> {
    let masks = sizes.map(|(_, buckets)| buckets - 1);
    let prefilter = running_prefilter(pins)?;
    // While frames are traced, the trace says more.
    let level = match trace {
        Some(_) => 0,
        None => program_log::level(LevelFilter::current()),
    };
    let mut loader = EbpfLoader::new();
    ProgramLog::set_level(&mut loader, &level);
    if let Some(trace) = trace {
        trace.set_in(&mut loader);
    }
    loader
        .override_global("FLOWS4_MASK", &masks[0], true)
        .override_global("FLOWS6_MASK", &masks[1], true)
        .override_global("PREFILTER", &prefilter, true);
    for (map, entries) in *sizes {
        loader.map_max_entries(map, entries);
    }
    for name in layouts.maps.keys() {
        let path = pins.map(name);
        if !path.exists() {
            making(path.clone());
        }
        loader.map_pin_path(layout::name_in_object(name), path);
    }
    loader.load(&object()?).map_err(load_error)
}

/// Has the kernel verify a program of the object.
pub(super) fn verify(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let verified = program(ebpf, name)?.load();
    verified.map_err(|error| load_error(error.into()))
}

/// What the running program looks at. The loader writes a variable's first value also into a map that
/// is there already: were that nothing, the running program would pass every frame until this load is
/// done, and this box's stack would reset the sessions of the others.
fn running_prefilter(pins: &PinDir) -> Result<Prefilter> {
    let path = pins.map(PREFILTER);
    if !path.exists() {
        return Ok(Prefilter::NONE);
    }
    let map = bpf::open_pin(&path).map_err(|source| pin_error("opening", &path, source))?;
    let entries = bpf::lookup::<Prefilter>(map.as_fd(), 0_u32, 1)
        .map_err(|source| pin_error("reading", &path, source))?;
    Ok(entries[0])
}

/// Attaches what was loaded and keeps it. Flows of tables of another size are in `tables` then.
pub(super) fn attach(
    loaded: Loaded,
    options: &LoadOptions,
    tables: &FlowTables,
    lease: &LeaseHandle,
) -> Result<(PinDir, Vec<Attachment>)> {
    let Loaded {
        pins,
        mut ebpf,
        mut undo,
        plans,
        former,
        ..
    } = loaded;
    let program = program(&mut ebpf, PROGRAM)?;
    let lease_until_ns = lease.lease_until_ns();
    let mut lost = 0;
    if !former.is_empty() {
        lease.release();
        lost += former.copy_to(tables);
    }
    let attached = attach::attach(program, &pins, plans, options.xdp, &mut undo);
    if !former.is_empty() {
        lost += former.copy_to(tables);
        if lease_until_ns > 0 {
            lease.hold(lease_until_ns);
        }
    }
    let attached = attached?;
    attach::detach_others(&pins, &attached)?;
    pin_program(program, &pins, &mut undo)?;
    undo.commit();
    if lost > 0 {
        warn!("{lost} flows did not fit in the smaller table: raise node.flows");
    }
    former.remove()?;
    Ok((pins, attached))
}

/// Attaches the program that runs, by its pin, where it is not attached any more.
pub(super) fn attach_pinned(pins: &PinDir, options: &LoadOptions) -> Result<Vec<Attachment>> {
    let plans = attach::plan(pins, &options.interfaces)?;
    let path = pins.program();
    let mut program = Xdp::from_pin(&path, aya_obj::programs::XdpAttachType::Interface)
        .map_err(|error| pin_error("opening", &path, io::Error::other(error)))?;
    let mut undo = Undo::default();
    let attached = attach::attach(&mut program, pins, plans, options.xdp, &mut undo)?;
    undo.commit();
    Ok(attached)
}

/// Detaches and unpins everything that an lbd of any version left in `pin_dir`. Returns the
/// number of links and of other pins.
pub(super) fn cleanup(pin_dir: &Path) -> Result<(usize, usize)> {
    if !pin_dir.exists() {
        return Ok((0, 0));
    }
    let pins = PinDir::lock(pin_dir)?;
    let links = pins.links()?;
    // Links first: no frame meets a program whose maps are unpinned.
    for link in &links {
        pins::remove_link(link)?;
    }
    let ours: Vec<_> = pins
        .entries()?
        .into_iter()
        .filter(|path| is_ours(path))
        .collect();
    for path in &ours {
        pins::remove(path)?;
    }
    // Pins that are not lbd's, or subfolders, keep it.
    let _ = fs::remove_dir(pin_dir);
    Ok((links.len(), ours.len()))
}

/// The program's pin, and maps: every version writes their names in capitals.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let map = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !path.is_dir() && (name == pins::PROGRAM || name.chars().all(map))
}

/// Refuses pins that this version would misread, and removes those of a load that never ended.
fn prepare_pins(pins: &PinDir, layouts: &BTreeMap<String, MapLayout>) -> Result<()> {
    let other_version = |difference| DataPlaneError::OtherVersion {
        pin_dir: pins.path().to_owned(),
        difference,
    };
    let pinned: Vec<&String> = layouts
        .keys()
        .filter(|name| pins.map(name).exists())
        .collect();
    for name in &pinned {
        let path = pins.map(name);
        let mut found = MapInfo::from_pin(&path)
            .and_then(|info| MapLayout::of_map(&info))
            .map_err(|error| map_error("reading", &error))?;
        if [FLOWS4, FLOWS6].contains(&name.as_str()) {
            // Another size is no other layout: the flows move.
            found = found.with_entries(layouts[*name].max_entries);
        }
        if let Some(difference) = layouts[*name].difference(name, &found) {
            return Err(other_version(difference));
        }
    }
    if pinned.is_empty() {
        return Ok(());
    }
    let version = match bpf::open_pin(&pins.map(DIRECTOR)) {
        Ok(map) => {
            bpf::lookup::<Director>(map.as_fd(), 0_u32, 1)
                .map_err(|source| pin_error("reading", &pins.map(DIRECTOR), source))?[0]
                .abi_version
        }
        Err(_) => 0,
    };
    match version {
        ABI_VERSION => Ok(()),
        // Written before anything is attached: whoever made these pins did not come that far.
        0 if pins.links()?.is_empty() => pinned
            .iter()
            .try_for_each(|name| pins::remove(&pins.map(name))),
        version => Err(other_version(format!(
            "layout {version}, this version needs {ABI_VERSION}"
        ))),
    }
}

/// Pins the program for others to see (`bpftool prog show pinned`), in the place of a former one.
fn pin_program(program: &mut Xdp, pins: &PinDir, undo: &mut Undo) -> Result<()> {
    let path = pins.program();
    let new = path.with_file_name("program_new");
    pins::remove(&new)?;
    program
        .pin(&new)
        .map_err(|error| pin_error("pinning", &new, io::Error::other(error)))?;
    if !path.exists() {
        undo.file(path.clone());
    }
    fs::rename(&new, &path).map_err(|source| {
        let _ = fs::remove_file(&new);
        pin_error("renaming", &new, source)
    })
}

/// A program of the object.
pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    ebpf.program_mut(name)
        .ok_or_else(|| DataPlaneError::Load(format!("the object has no program `{name}`")))?
        .try_into()
        .map_err(|error: ProgramError| DataPlaneError::Load(error.to_string()))
}

fn check_buckets(what: &'static str, value: u32) -> Result<()> {
    if value.is_power_of_two() && BUCKETS.contains(&value) {
        return Ok(());
    }
    Err(DataPlaneError::Buckets {
        what,
        value,
        least: *BUCKETS.start(),
        most: *BUCKETS.end(),
    })
}

/// Asks for the capabilities before anything is touched, so that the answer is one sentence.
pub fn check_privileges() -> Result<()> {
    // Numbers of include/uapi/linux/capability.h.
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON: u64 = 1 << 38;
    const CAP_BPF: u64 = 1 << 39;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let has = |mask: u64| effective.is_none_or(|effective| effective & mask == mask);
    if has(CAP_NET_ADMIN) && (has(CAP_SYS_ADMIN) || has(CAP_BPF | CAP_PERFMON)) {
        return Ok(());
    }
    Err(DataPlaneError::NoPrivileges)
}

fn load_error(error: EbpfError) -> DataPlaneError {
    match error {
        EbpfError::ProgramError(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) => match io_error.raw_os_error() {
            Some(libc::EPERM) => DataPlaneError::NoPrivileges,
            Some(libc::ENOSYS) => DataPlaneError::NoBpf,
            _ => DataPlaneError::Verifier {
                log: last_lines(&verifier_log.to_string(), &io_error),
            },
        },
        EbpfError::MapError(error) => map_error("making", &error),
        other => DataPlaneError::Load(chain(&other)),
    }
}

fn map_error(action: &str, error: &MapError) -> DataPlaneError {
    let io_error = match error {
        MapError::CreateError { io_error, .. } => io_error.raw_os_error(),
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    match io_error {
        Some(libc::EPERM) => DataPlaneError::NoPrivileges,
        Some(libc::ENOSYS) => DataPlaneError::NoBpf,
        _ => DataPlaneError::Load(format!("{action} a map: {}", chain(error))),
    }
}

/// An error with its sources, which aya's sentences leave out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = error.source();
    }
    text
}

/// What the verifier said last, without its statistics; the kernel's errno when it said nothing.
fn last_lines(log: &str, error: &io::Error) -> String {
    let said: Vec<&str> = log
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("processed "))
        .collect();
    match &said[said.len().saturating_sub(4)..] {
        [] => error.to_string(),
        last => last.join(" | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_counts_that_no_table_can_have_are_refused() {
        for value in [0, 32, 100, 1 << 27] {
            let refused = check_buckets("flows4_buckets", value)
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains(&format!("flows4_buckets is {value}")),
                "{refused}"
            );
        }
        for value in [64, 1 << 19] {
            check_buckets("flows4_buckets", value).unwrap();
        }
    }

    #[test]
    fn the_verifiers_last_words_are_kept() {
        let log = "0: R1=ctx()\n1: (71) r0 = *(u8 *)(r1 +99)\ninvalid bpf_context access off=99\nprocessed 2 insns\n";
        let error = io::Error::from_raw_os_error(libc::EACCES);
        assert!(last_lines(log, &error).ends_with("invalid bpf_context access off=99"));
        assert_eq!(last_lines("", &error), error.to_string());
    }

    #[test]
    fn only_names_that_lbd_gives_are_cleaned_up() {
        for (name, ours) in [
            ("VIPS", true),
            ("FLOWS4", true),
            ("BACKEND_STATS", true),
            ("program", true),
            ("my_map", false),
            ("other.map", false),
        ] {
            assert_eq!(is_ours(Path::new(name)), ours, "{name}");
        }
    }
}
