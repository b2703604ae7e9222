//! The compiled XDP program, as the build put it into this binary.
use std::borrow::Cow;

use super::error::{DataPlaneError, Result};

/// The ELF object with the program `lbd` and its maps, for `aya::EbpfLoader::load`.
///
/// Aligned as the ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-xdp"));

/// Names a file to load in its place, for developers: `lbd-xdp-log`. A release build of lbd knows nothing of it.
const OTHER: &str = "LBD_XDP_OBJECT";

/// What is loaded.
pub(super) fn object() -> Result<Cow<'static, [u8]>> {
    let other = cfg!(debug_assertions).then(|| std::env::var_os(OTHER));
    let Some(path) = other.flatten() else {
        return Ok(Cow::Borrowed(OBJECT));
    };
    let read = std::fs::read(&path).map_err(|error| {
        DataPlaneError::Load(format!("{OTHER}: cannot read {}: {error}", path.display()))
    })?;
    Ok(Cow::Owned(read))
}
