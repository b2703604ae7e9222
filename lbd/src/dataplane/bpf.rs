//! The bpf(2) calls that aya has no name for.
use std::{
    ffi::CString,
    io,
    mem::size_of_val,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use super::plain::Plain;

// Values of `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_MAP_DELETE_BATCH: libc::c_long = 27;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `union bpf_attr` as `BPF_MAP_*_ELEM` take it.
#[repr(C)]
struct ElementAttr {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` as `BPF_MAP_*_BATCH` take it.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// `union bpf_attr` as `BPF_OBJ_GET` takes it.
#[repr(C)]
struct PathAttr {
    path: u64,
    object: u32,
    flags: u32,
}

/// `union bpf_attr` as `BPF_OBJ_GET_INFO_BY_FD` takes it.
#[repr(C)]
struct InfoAttr {
    object: u32,
    length: u32,
    info: u64,
}

/// The head of `struct bpf_link_info` with its `xdp` member.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    reserved: u32,
    xdp_ifindex: u32,
    rest: [u32; 27],
}

/// Reads the entry of `map` for `key` (of an array, a `u32`): `size_of::<T>()` bytes rounded up to 8, times `copies`
/// (the CPUs of a per-CPU map, 1 else).
pub(super) fn lookup<T: Plain>(
    map: BorrowedFd<'_>,
    key: impl Plain,
    copies: usize,
) -> io::Result<Vec<T>> {
    let stride = size_of::<T>().next_multiple_of(8);
    let mut bytes = vec![0_u8; stride * copies];
    let attr = ElementAttr {
        map: number(map),
        reserved: 0,
        key: address(&raw const key),
        value: bytes.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the key is of the map's type, and `bytes` is as long as the kernel's copy of a value:
    // layouts and `copies` were compared with the map when it was opened.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &attr) }?;
    Ok(bytes.chunks(stride).map(T::read_from).collect())
}

/// Writes the entry of `map` for `key`.
pub(super) fn update<T: Plain>(map: BorrowedFd<'_>, key: impl Plain, value: &T) -> io::Result<()> {
    let attr = ElementAttr {
        map: number(map),
        reserved: 0,
        key: address(&raw const key),
        value: value.as_bytes().as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value are of the map's types: see `lookup`.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attr) }?;
    Ok(())
}

/// Removes the entry of `map` at `key`, which is of the map's type.
pub(super) fn delete<K: Plain>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let attr = ElementAttr {
        map: number(map),
        reserved: 0,
        key: address(std::ptr::from_ref(key)),
        value: 0,
        flags: 0,
    };
    // SAFETY: the key is of the map's type: see `lookup`.
    unsafe { bpf(BPF_MAP_DELETE_ELEM, &attr) }?;
    Ok(())
}

/// Every key of `map`, which has no other writer meanwhile. `K` is the map's type.
pub(super) fn keys<K: Plain>(map: BorrowedFd<'_>) -> io::Result<Vec<K>> {
    let mut keys: Vec<K> = Vec::new();
    let mut next = vec![0_u8; size_of::<K>()];
    loop {
        let attr = ElementAttr {
            map: number(map),
            reserved: 0,
            key: keys
                .last()
                .map_or(0, |last| address(std::ptr::from_ref(last))),
            value: next.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the last key, if any, is of the map's type, and `next` is as long as one.
        match unsafe { bpf(BPF_MAP_GET_NEXT_KEY, &attr) } {
            Ok(_) => keys.push(K::read_from(&next)),
            Err(end) if end.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
            Err(error) => return Err(error),
        }
    }
}

/// Writes many entries of `map` in one call. `K` and `V` are the map's own types.
pub(super) fn update_batch<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    if keys.is_empty() {
        return Ok(());
    }
    let attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(keys.len()).map_err(io::Error::other)?,
        map: number(map),
        ..BatchAttr::default()
    };
    // SAFETY: both slices are `count` entries long and live until the call returns, and their types
    // are the map's (compared when it was opened).
    unsafe { bpf(BPF_MAP_UPDATE_BATCH, &attr) }?;
    Ok(())
}

/// Removes many entries of `map` in one call; stops at the first that is not there. `K` is the map's.
pub(super) fn delete_batch<K: Plain>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        count: u32::try_from(keys.len()).map_err(io::Error::other)?,
        map: number(map),
        ..BatchAttr::default()
    };
    // SAFETY: the slice is `count` keys long, of the map's type, and lives until the call returns.
    unsafe { bpf(BPF_MAP_DELETE_BATCH, &attr) }?;
    Ok(())
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = PathAttr {
        path: address(path.as_ptr()),
        object: 0,
        flags: 0,
    };
    // SAFETY: `path` ends with a zero and lives until the call returns.
    let opened = unsafe { bpf(BPF_OBJ_GET, &attr) }?;
    let opened = i32::try_from(opened).map_err(io::Error::other)?;
    // SAFETY: the call made a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Takes a link's program off, before this returns; the link stays, attached to nothing.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let attr = number(link);
    // SAFETY: the attribute is the link's descriptor alone.
    unsafe { bpf(BPF_LINK_DETACH, &attr) }?;
    Ok(())
}

/// The interface that an XDP link is attached to; 0 when it is gone.
pub(super) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let attr = InfoAttr {
        object: number(link),
        length: u32::try_from(size_of_val(&info)).unwrap_or(0),
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` is `length` bytes of plain data for the kernel to fill.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }?;
    Ok(info.xdp_ifindex)
}

fn number(object: BorrowedFd<'_>) -> u32 {
    object.as_raw_fd().cast_unsigned()
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as u64
}

/// # Safety
/// `attr` is what `command` reads, and what it points to is valid for the call's reads and writes.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: by the caller's word.
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
    Ok(result)
}
