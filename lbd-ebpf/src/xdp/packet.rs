//! The frame in the kernel.
use aya_ebpf::{
    helpers::generated::{bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use lbd_ebpf::wire::{checksum::Sum, frame::Frame};

/// The frame that the program was called for.
pub(crate) struct Packet {
    ctx: XdpContext,
    start: usize,
    end: usize,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn new(ctx: XdpContext) -> Self {
        let (start, end) = (ctx.data(), ctx.data_end());
        Self { ctx, start, end }
    }

    /// The context, for helpers.
    #[inline(always)]
    pub(crate) fn context(&self) -> &XdpContext {
        &self.ctx
    }

    /// The frame again, after a helper has moved its ends.
    #[inline(always)]
    pub(crate) fn refresh(&mut self) {
        self.start = self.ctx.data();
        self.end = self.ctx.data_end();
    }

    /// Cuts the frame to `length` bytes; `None` if it has fewer.
    #[inline(always)]
    pub(crate) fn cut(&mut self, length: usize) -> Option<()> {
        let by = length as i32 - self.len() as i32;
        if by > 0 {
            return None;
        }
        // SAFETY: the context is the one this program was called with; every window taken before is
        // given up (this borrow is exclusive), because the helper invalidates it.
        let failed = unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, by) } != 0;
        self.refresh();
        (!failed).then_some(())
    }

    /// Moves the frame's start `by` bytes towards its end; a negative number makes room.
    #[inline(always)]
    pub(crate) fn move_start(&mut self, by: i32) -> Option<()> {
        // SAFETY: as in `cut`.
        let failed = unsafe { bpf_xdp_adjust_head(self.ctx.ctx, by) } != 0;
        self.refresh();
        (!failed).then_some(())
    }

    /// Adds `N` bytes from `offset` on to a sum; `N` is a multiple of 4, at most 512 (the most that
    /// kernels before 6.13 take at once).
    #[inline(always)]
    pub(crate) fn sum<const N: usize>(&self, offset: usize, sum: Sum) -> Option<Sum> {
        const { assert!(N <= 512 && N.is_multiple_of(4)) };
        let bytes: &[u8; N] = self.window(offset)?;
        let bytes = bytes.as_ptr().cast_mut().cast();
        // SAFETY: the window has `N` bytes, which the helper only reads.
        let sum =
            unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, bytes, N as u32, sum.partial()) };
        Some(Sum::from_partial(sum as u32))
    }

    /// `N` bytes from `offset` on, to be changed.
    #[inline(always)]
    pub(crate) fn window_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let at = self.start + offset;
        if at + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie inside the frame (the verifier checks the same comparison), which
        // belongs to this program until it returns; the borrow of `self` is exclusive.
        Some(unsafe { &mut *(at as *mut [u8; N]) })
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let at = self.start + offset;
        if at + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie inside the frame (the verifier checks the same comparison), which
        // belongs to this program until it returns.
        Some(unsafe { &*(at as *const [u8; N]) })
    }
}
