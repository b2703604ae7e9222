//! The map entries as bytes.
use aya::Pod;

/// Plain data: any bits are a value, and every byte is part of a field.
pub trait Plain: Pod + Send + Sync {
    /// Its bytes, in memory order.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `self` is valid for reads of its size, and no byte of a `Pod` is padding.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// The value that the first bytes of `bytes` spell; at least its size.
    fn read_from(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= size_of::<Self>(), "too few bytes");
        // SAFETY: the source is long enough, and any bits are a value of a `Pod`: aya's are integers,
        // and `lbd-common` says so of its own.
        unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
    }
}

impl<T: Pod + Send + Sync> Plain for T {}
