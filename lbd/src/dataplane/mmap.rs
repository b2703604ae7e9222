//! BPF arrays in this process's memory: reads and writes without a system call.
use std::{
    fmt, io,
    marker::PhantomData,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use super::plain::Plain;

/// A memory-mapped BPF array of `T`, shared with the program. Clones share the mapping.
///
/// All access is atomic, word by word: the program reads and writes the same memory.
pub struct MmapArray<T> {
    region: Arc<Region>,
    len: usize,
    entry: PhantomData<fn() -> T>,
}

impl<T: Plain> MmapArray<T> {
    /// Words between two entries: the kernel rounds an entry up to 8 bytes (kernel/bpf/arraymap.c).
    const STRIDE: usize = size_of::<T>().div_ceil(8);

    /// Maps the array behind `map`, which has `len` entries of `T` and the flag `BPF_F_MMAPABLE`.
    pub fn map(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Ok(Self::over(
            Region::new(Some(map), len * Self::STRIDE * 8)?,
            len,
        ))
    }

    /// An array that no program shares, zeroed.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        Ok(Self::over(Region::new(None, len * Self::STRIDE * 8)?, len))
    }

    fn over(region: Region, len: usize) -> Self {
        Self {
            region: Arc::new(region),
            len,
            entry: PhantomData,
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole array as words.
    pub fn words(&self) -> &[AtomicU64] {
        self.region.words(self.len * Self::STRIDE)
    }

    /// The words of one entry.
    pub fn entry(&self, index: usize) -> &[AtomicU64] {
        &self.words()[index * Self::STRIDE..][..Self::STRIDE]
    }

    /// A copy of an entry. Each word is read whole; the entry as a whole is not.
    pub fn get(&self, index: usize) -> T {
        let bytes: Vec<u8> = self
            .entry(index)
            .iter()
            .flat_map(|word| word.load(Ordering::Acquire).to_ne_bytes())
            .collect();
        T::read_from(&bytes)
    }

    /// Writes an entry word by word, the first one last.
    pub fn set(&self, index: usize, value: &T) {
        let words = words_of(value);
        for (to, word) in self.entry(index).iter().zip(&words).rev() {
            to.store(*word, Ordering::Release);
        }
    }

    /// The 4-byte field at `offset` bytes into an entry (`std::mem::offset_of!`).
    pub fn field_u32(&self, index: usize, offset: usize) -> &AtomicU32 {
        assert!(index < self.len && offset + 4 <= size_of::<T>() && offset.is_multiple_of(4));
        let base = self.region.start.as_ptr().cast::<u8>();
        // SAFETY: within the mapping (asserted above) and aligned, since entries start at multiples
        // of 8; the memory lives as long as `self`, and every access to it is atomic.
        unsafe { AtomicU32::from_ptr(base.add(index * Self::STRIDE * 8 + offset).cast()) }
    }

    /// The 8-byte field at `offset` bytes into an entry.
    pub fn field_u64(&self, index: usize, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "not a field of 8 bytes");
        &self.entry(index)[offset / 8]
    }
}

impl<T> Clone for MmapArray<T> {
    fn clone(&self) -> Self {
        Self {
            region: Arc::clone(&self.region),
            len: self.len,
            entry: PhantomData,
        }
    }
}

impl<T> fmt::Debug for MmapArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MmapArray({} entries)", self.len)
    }
}

/// A value as words, its end filled up with zeros.
pub(super) fn words_of<T: Plain>(value: &T) -> Vec<u64> {
    value
        .as_bytes()
        .chunks(8)
        .map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        })
        .collect()
}

/// A shared mapping; unmapped when dropped.
struct Region {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the memory is accessed through atomics only, and is not bound to a thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(map: Option<BorrowedFd<'_>>, bytes: usize) -> io::Result<Self> {
        let anonymous = if map.is_none() {
            libc::MAP_ANONYMOUS
        } else {
            0
        };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; the length is
        // checked by the kernel against the map's.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | anonymous,
                map.map_or(-1, |map| map.as_raw_fd()),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, bytes })
    }

    fn words(&self, count: usize) -> &[AtomicU64] {
        assert!(count * 8 <= self.bytes, "beyond the mapping");
        // SAFETY: the mapping is page-aligned, at least `count` words long and lives as long as
        // `self`; every access to it is atomic.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), count) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; every reference into it borrows `self`. It cannot fail
        // for a mapping that exists, and there would be nothing to do about it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use lbd_common::{director::Director, node::Node, vip::Vip};

    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        let array = MmapArray::<Vip>::anonymous(4).unwrap();
        let vip = Vip {
            address: [1, 2, 3, 4],
            family: 6,
            ..Vip::default()
        };
        array.set(2, &vip);
        assert_eq!(array.get(2), vip);
        assert_eq!(array.get(1), Vip::default());
        assert_eq!(array.get(3), Vip::default());
    }

    #[test]
    fn entries_of_four_bytes_lie_eight_apart() {
        let array = MmapArray::<u32>::anonymous(3).unwrap();
        array.set(1, &7);
        assert_eq!(
            array.words()[1].load(Ordering::Relaxed).to_ne_bytes()[..4],
            7_u32.to_ne_bytes()
        );
        assert_eq!((array.get(0), array.get(1), array.get(2)), (0, 7, 0));
    }

    #[test]
    fn a_field_is_written_without_its_neighbours() {
        let array = MmapArray::<Director>::anonymous(1).unwrap();
        array
            .field_u32(0, offset_of!(Director, role))
            .store(1, Ordering::Relaxed);
        array
            .field_u32(0, offset_of!(Director, ring_index))
            .store(2, Ordering::Relaxed);
        array
            .field_u64(0, offset_of!(Director, lease_until_ns))
            .store(3, Ordering::Relaxed);
        let expected = Director {
            lease_until_ns: 3,
            role: 1,
            ring_index: 2,
            ..Director::default()
        };
        assert_eq!(array.get(0), expected);
    }

    #[test]
    fn clones_share_the_memory() {
        let array = MmapArray::<Node>::anonymous(2).unwrap();
        array.clone().set(0, &Node { mac: 9 });
        assert_eq!(array.get(0).mac, 9);
    }
}
