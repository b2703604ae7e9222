//! The frame in the kernel.
use aya_ebpf::programs::XdpContext;
use lbd_ebpf::frame::Frame;

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
