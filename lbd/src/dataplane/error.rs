//! What can go wrong between the daemon and the kernel, as sentences.
use std::{io, path::PathBuf};

use thiserror::Error;

use super::spec::XdpMode;
use crate::table::slots::SlotsError;

/// Why the data plane could not do what it was asked. Nothing was left half-done.
///
/// Each sentence holds its cause, so none is a `source`: with `{:#}` it would be said twice.
#[derive(Debug, Error)]
pub enum DataPlaneError {
    /// The kernel refused for want of a capability.
    #[error(
        "no privileges to load the XDP program: run lbd as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NoPrivileges,
    /// The kernel was built without bpf(2).
    #[error("this kernel has no BPF: lbd needs Linux 6.1 or later with CONFIG_BPF_SYSCALL")]
    NoBpf,
    /// `pin_dir` lies on another file system.
    #[error(
        "{} is not on a BPF file system: run `mount -t bpf bpf /sys/fs/bpf`, or set node.pin_dir to a folder below one that is mounted",
        .pin_dir.display()
    )]
    NotBpffs {
        /// `node.pin_dir`.
        pin_dir: PathBuf,
    },
    /// bpffs keeps names with dots for itself (kernel/bpf/inode.c).
    #[error(
        "{} has a dot in a folder's name, which a BPF file system refuses: choose another node.pin_dir",
        .pin_dir.display()
    )]
    DotInPinDir {
        /// `node.pin_dir`.
        pin_dir: PathBuf,
    },
    /// Others could put maps of their own in the place of lbd's.
    #[error("node.pin_dir {} is not safe: {why}", .pin_dir.display())]
    Unsafe {
        /// `node.pin_dir`.
        pin_dir: PathBuf,
        /// Which folder, and what to do.
        why: String,
    },
    /// Another process holds the lock on `pin_dir`.
    #[error(
        "another lbd runs with node.pin_dir {}: stop it first, or give this one its own node.pin_dir",
        .pin_dir.display()
    )]
    InUse {
        /// `node.pin_dir`.
        pin_dir: PathBuf,
    },
    /// The pins were made by a program with other maps.
    #[error(
        "{} holds maps of another version of lbd ({difference}): run `lbd cleanup`, which ends the sessions they know, then start again",
        .pin_dir.display()
    )]
    OtherVersion {
        /// `node.pin_dir`.
        pin_dir: PathBuf,
        /// What is not as this version has it.
        difference: String,
    },
    /// A file operation below `pin_dir` failed.
    #[error("{action} {} failed: {error}", .path.display())]
    Pin {
        /// `creating`, `removing`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// No interface to attach to.
    #[error("no interface to attach to: name at least one in node.interfaces")]
    NoInterface,
    /// An interface of the configuration does not exist.
    #[error(
        "there is no interface {interface}: correct node.interfaces (`ip link` lists what there is)"
    )]
    UnknownInterface {
        /// As in the configuration.
        interface: String,
    },
    /// Another program is attached.
    #[error(
        "{interface} has another XDP program already ({program}): detach it (`ip link set {interface} xdp off`, or stop its owner), or remove {interface} from node.interfaces"
    )]
    ForeignXdp {
        /// The interface.
        interface: String,
        /// `id 12, my_filter`.
        program: String,
    },
    /// The kernel did not attach the program.
    #[error("{interface} did not accept the XDP program in {mode} mode: {error}{driver}{hint}")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was tried last.
        mode: XdpMode,
        /// The kernel's answer.
        error: io::Error,
        /// The driver's own words, from ", " on, or nothing.
        driver: String,
        /// What to do, from "; " on, or nothing.
        hint: &'static str,
    },
    /// The kernel's verifier refused the program.
    #[error(
        "the kernel's verifier refused the XDP program; lbd needs Linux 6.1 or later. The end of its log: {log}"
    )]
    Verifier {
        /// The end of the verifier's log.
        log: String,
    },
    /// The object or its maps could not be loaded.
    #[error("loading the XDP program failed: {0}")]
    Load(String),
    /// A size that the maps cannot have.
    #[error("{what} is {value}: it must be a power of two from {least} to {most}")]
    Buckets {
        /// The option.
        what: &'static str,
        /// Its value.
        value: u32,
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// Reading or writing a map failed.
    #[error("{action} map {map} failed: {error}")]
    Map {
        /// `reading`, `writing`, ...
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The object has no map of that name.
    #[error("the XDP program has no map {map}: this build of lbd is broken; rebuild it")]
    NoMap {
        /// The map's name.
        map: &'static str,
    },
    /// The virtual addresses do not fit.
    #[error("the virtual addresses do not fit their map: {0}")]
    Vips(SlotsError),
    /// More ports on an address than a slot holds.
    #[error("{address} has {count} ports, more than the {limit} one virtual address can have")]
    Ports {
        /// The virtual address.
        address: std::net::IpAddr,
        /// How many it was given.
        count: usize,
        /// How many it can have.
        limit: usize,
    },
    /// The nodes do not fit.
    #[error("the cluster's nodes do not fit their map: {0}")]
    Nodes(SlotsError),
    /// The ends of tunnels do not fit.
    #[error("the addresses that boxes tunnel from do not fit their map: {0}")]
    Tunnels(SlotsError),
    /// Every backend id is taken, by a backend or by sessions of a former one.
    #[error(
        "all {limit} backend ids are in use: remove backends, or wait until the sessions of removed ones end"
    )]
    NoBackendId {
        /// How many there are.
        limit: u32,
    },
    /// A backend id that the maps do not have.
    #[error("there is no backend {id}: ids end at {last}")]
    BackendId {
        /// The id.
        id: u16,
        /// The largest.
        last: u32,
    },
    /// More entries than a list's map has room for.
    #[error(
        "{list} has {count} networks of one family, more than the {limit} that fit: merge adjacent ones"
    )]
    ListTooLong {
        /// `access.allow` or `access.deny`.
        list: &'static str,
        /// How many it has.
        count: usize,
        /// How many it can have.
        limit: u32,
    },
    /// A ring of another length.
    #[error("a ring has {expected} slots, not {given}")]
    Ring {
        /// `lbd_common::ring::RING_SLOTS`.
        expected: u32,
        /// What was given.
        given: usize,
    },
}

/// The outcome of everything here.
pub type Result<T> = std::result::Result<T, DataPlaneError>;
