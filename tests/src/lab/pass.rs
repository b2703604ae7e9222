//! A native XDP program that passes everything, for the bridge's ports.
//!
//! A frame that an XDP program on veth sends back (`XDP_TX`) is taken by the peer only when the
//! peer runs a native XDP program itself: see `veth_xdp_xmit` in drivers/net/veth.c.
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::host::Host;

/// Where the kernel's BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// `BPF_PROG_LOAD`, `BPF_OBJ_PIN`, `BPF_OBJ_GET`, `BPF_LINK_UPDATE` and `BPF_PROG_TYPE_XDP` of linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const LINK_UPDATE: libc::c_long = 29;
const PROG_TYPE_XDP: u32 = 6;
/// `BPF_XDP`, the attach type of a program on an interface.
const ATTACH_XDP: u64 = 37;
/// `r0 = XDP_PASS; exit`.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// Mounts the BPF file system unless it is mounted already; an init such as systemd does so at boot.
pub(super) fn mount_bpffs() -> Result<()> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(());
    }
    let status = Command::new("mount")
        .args(["-t", "bpf", "bpf", BPFFS])
        .status()
        .context("cannot run `mount`")?;
    ensure!(
        status.success(),
        "cannot mount the BPF file system on {BPFFS}: {status}"
    );
    Ok(())
}

fn is_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    // SAFETY: statfs is plain integers, for which all zeroes are valid.
    let mut statfs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and `statfs` outlives the call.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut statfs) };
    result == 0 && statfs.f_type == BPF_FS_MAGIC
}

/// Attaches the program to devices of a host, in native mode. It stays until they go.
pub(super) fn attach(host: &Host, devices: &[String]) -> Result<()> {
    mount_bpffs()?;
    let program = load()?;
    let pin = Path::new(BPFFS).join(format!("{}-pass", host.namespace));
    pin_object(&program, &pin)?;
    let lines: Vec<String> = devices
        .iter()
        .map(|device| {
            let pin = pin.display();
            format!("link set dev {device} xdpdrv pinned {pin}\n")
        })
        .collect();
    let attached = host.ip_batch(&lines.concat());
    // The devices hold the program from here on.
    let _ = fs::remove_file(&pin);
    attached.context("cannot attach an XDP program to the bridge's ports")
}

/// Has a pinned link run this program instead of its own. The kernel goes on showing the same link.
pub(super) fn replace(link: &Path) -> Result<()> {
    let program = load()?;
    swap(link, &program)
}

/// Likewise, this program.
pub fn swap(link: &Path, program: &impl AsFd) -> Result<()> {
    #[repr(C)]
    struct Attr {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }
    let link = pinned(link)?;
    let attr = Attr {
        link_fd: u32::try_from(link.as_raw_fd())?,
        new_prog_fd: u32::try_from(program.as_fd().as_raw_fd())?,
        flags: 0,
        old_prog_fd: 0,
    };
    // SAFETY: `attr` begins as bpf_attr does for this command, and has no pointers.
    unsafe { bpf(LINK_UPDATE, &attr) }.context("cannot replace a link's program")?;
    Ok(())
}

/// The attributes of `OBJ_PIN` and `OBJ_GET`.
#[repr(C)]
struct Named {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

fn pinned(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attr = Named {
        pathname: name.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: `attr` begins as bpf_attr does for this command, and the name outlives the call.
    let fd = unsafe { bpf(OBJ_GET, &attr) }
        .with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: the kernel just gave us this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn load() -> Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        rest: [u64; 13],
    }
    let license = c"MIT";
    // `expected_attach_type` is at offset 68, in the upper half of this word.
    let mut rest = [0; 13];
    rest[5] = ATTACH_XDP << 32;
    let attr = Attr {
        prog_type: PROG_TYPE_XDP,
        insn_cnt: u32::try_from(PASS.len()).expect("two"),
        insns: PASS.as_ptr() as u64,
        license: license.as_ptr() as u64,
        rest,
    };
    // SAFETY: `attr` begins as bpf_attr does for this command, is zero beyond, and what it points
    // to outlives the call.
    let fd = unsafe { bpf(PROG_LOAD, &attr) }
        .context("the kernel refused a two-instruction XDP program: is this root, with BPF?")?;
    // SAFETY: the kernel just gave us this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pin_object(object: &OwnedFd, path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attr = Named {
        pathname: name.as_ptr() as u64,
        bpf_fd: u32::try_from(object.as_raw_fd())?,
        file_flags: 0,
    };
    // SAFETY: `attr` begins as bpf_attr does for this command, and the name outlives the call.
    unsafe { bpf(OBJ_PIN, &attr) }
        .with_context(|| format!("cannot pin a program at {}", path.display()))?;
    Ok(())
}

/// bpf(2). What it returns is a new descriptor, or 0.
///
/// # Safety
/// `attr` must begin as `bpf_attr` does for the command, and what it points to must outlive the call.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<i32> {
    // SAFETY: the caller's promise; the kernel reads `size_of::<T>()` bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
