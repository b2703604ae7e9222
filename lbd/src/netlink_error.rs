//! What the kernel refuses by netlink, as an error of the operating system.
use std::io;

use netlink_packet_core::ErrorMessage;

/// The error of an `NLMSG_ERROR`, whose code is a negative errno (netlink(7)). `ErrorMessage::to_io` takes
/// the absolute value, which the smallest number has not.
pub(crate) fn refusal(error: &ErrorMessage) -> io::Error {
    io::Error::from_raw_os_error(error.raw_code().saturating_abs())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use super::*;

    #[test]
    fn every_code_is_an_error() {
        for (code, expected) in [(-2, libc::ENOENT), (i32::MIN, i32::MAX), (0, 0)] {
            let mut message = ErrorMessage::default();
            message.code = NonZeroI32::new(code);
            assert_eq!(refusal(&message).raw_os_error(), Some(expected), "{code}");
        }
    }
}
