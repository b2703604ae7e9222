//! `DIRECTOR`: what this box may do, and who of us writes which field.
use std::{
    mem::offset_of,
    sync::atomic::{AtomicU32, Ordering},
};

use lbd_common::director::{Director, flag, role};

use super::{mmap::MmapArray, spec::Limits};

/// The election's two fields: the role and the lease. No system call, no lock; one thread writes.
#[derive(Clone, Debug)]
pub struct LeaseHandle {
    director: MmapArray<Director>,
}

impl LeaseHandle {
    pub(super) fn new(director: &MmapArray<Director>) -> Self {
        Self {
            director: director.clone(),
        }
    }

    /// Serve new sessions and ARP/ND for the VIP until `until_boottime_ns` of `CLOCK_BOOTTIME`.
    pub fn hold(&self, until_boottime_ns: u64) {
        // The lease first: between the two stores a new master serves nothing yet, and an old lease
        // that has run out is never seen with the new role.
        self.lease().store(until_boottime_ns, Ordering::Release);
        self.role_field().store(role::MASTER, Ordering::Release);
    }

    /// Serve nothing new from now on. Known flows are steered as before.
    pub fn release(&self) {
        self.role_field().store(role::BACKUP, Ordering::Release);
        self.lease().store(0, Ordering::Release);
    }

    /// One of `lbd_common::director::role`.
    pub fn role(&self) -> u32 {
        self.role_field().load(Ordering::Acquire)
    }

    /// The end of the lease on `CLOCK_BOOTTIME`; 0 when there is none.
    pub fn lease_until_ns(&self) -> u64 {
        self.lease().load(Ordering::Acquire)
    }

    fn role_field(&self) -> &AtomicU32 {
        self.director.field_u32(0, offset_of!(Director, role))
    }

    fn lease(&self) -> &std::sync::atomic::AtomicU64 {
        self.director
            .field_u64(0, offset_of!(Director, lease_until_ns))
    }
}

/// The daemon's fields.
#[derive(Clone, Debug)]
pub(super) struct DirectorFields {
    director: MmapArray<Director>,
}

impl DirectorFields {
    pub(super) fn new(director: MmapArray<Director>) -> Self {
        Self { director }
    }

    pub(super) fn lease(&self) -> LeaseHandle {
        LeaseHandle::new(&self.director)
    }

    pub(super) fn get(&self) -> Director {
        self.director.get(0)
    }

    pub(super) fn set_abi_version(&self, version: u32) {
        self.field(offset_of!(Director, abi_version))
            .store(version, Ordering::Release);
    }

    pub(super) fn ring_index(&self) -> u32 {
        self.field(offset_of!(Director, ring_index))
            .load(Ordering::Acquire)
    }

    pub(super) fn set_ring_index(&self, index: u32) {
        self.field(offset_of!(Director, ring_index))
            .store(index, Ordering::Release);
    }

    pub(super) fn set_total_weight(&self, permille: u32) {
        self.field(offset_of!(Director, total_weight_permille))
            .store(permille, Ordering::Release);
    }

    /// Sets or clears bits of [`flag`].
    pub(super) fn set_flag(&self, bits: u32, on: bool) {
        let flags = self.field(offset_of!(Director, flags));
        if on {
            flags.fetch_or(bits, Ordering::AcqRel);
        } else {
            flags.fetch_and(!bits, Ordering::AcqRel);
        }
    }

    /// Writes all limits; `idle_units` is `limits.idle_s` in the units of a flow's clock.
    pub(super) fn set_limits(&self, limits: &Limits, idle_units: u32) {
        let fields = [
            (
                offset_of!(Director, adopt_per_second),
                limits.adopt_per_second,
            ),
            (offset_of!(Director, new_per_second), limits.new_per_second),
            (
                offset_of!(Director, flood_per_second),
                limits.flood_per_second,
            ),
            (offset_of!(Director, idle_units), idle_units),
            (
                offset_of!(Director, affinity_skew_permille),
                limits.affinity_skew_permille.unwrap_or(0),
            ),
        ];
        for (offset, value) in fields {
            self.field(offset).store(value, Ordering::Release);
        }
        self.set_flag(flag::AFFINITY, limits.affinity_skew_permille.is_some());
        self.set_flag(flag::RESET_DENIED, limits.reset_denied);
    }

    fn field(&self, offset: usize) -> &AtomicU32 {
        self.director.field_u32(0, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_leaves_the_others_fields_alone() {
        let fields = DirectorFields::new(MmapArray::anonymous(1).unwrap());
        let lease = fields.lease();
        fields.set_abi_version(3);
        fields.set_ring_index(1);
        fields.set_total_weight(200_000);
        fields.set_flag(flag::LISTS, true);
        lease.hold(5_000);
        let expected = Director {
            lease_until_ns: 5_000,
            role: role::MASTER,
            ring_index: 1,
            total_weight_permille: 200_000,
            flags: flag::LISTS,
            abi_version: 3,
            ..Director::default()
        };
        assert_eq!(fields.get(), expected);

        lease.release();
        fields.set_flag(flag::LISTS, false);
        let expected = Director {
            lease_until_ns: 0,
            role: role::BACKUP,
            flags: 0,
            ..expected
        };
        assert_eq!(fields.get(), expected);
        assert_eq!((lease.role(), lease.lease_until_ns()), (role::BACKUP, 0));
    }

    #[test]
    fn limits_are_written_field_by_field_and_taken_back() {
        let fields = DirectorFields::new(MmapArray::anonymous(1).unwrap());
        fields.set_flag(flag::LISTS, true);
        let limits = Limits {
            new_per_second: 1,
            flood_per_second: 2,
            adopt_per_second: 3,
            idle_s: 60,
            affinity_skew_permille: Some(4),
            reset_denied: true,
        };
        fields.set_limits(&limits, 55);
        let expected = Director {
            new_per_second: 1,
            flood_per_second: 2,
            adopt_per_second: 3,
            idle_units: 55,
            affinity_skew_permille: 4,
            flags: flag::LISTS | flag::AFFINITY | flag::RESET_DENIED,
            ..Director::default()
        };
        assert_eq!(fields.get(), expected);
        fields.set_limits(&Limits::default(), 0);
        let expected = Director {
            flags: flag::LISTS,
            ..Director::default()
        };
        assert_eq!(fields.get(), expected);
    }
}
