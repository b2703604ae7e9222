//! `lbd cleanup`.
use std::path::Path;

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    // Neither keys nor lists are needed; a key of the daemon's own user is refused to root.
    let config = super::config_file::parse(path)?;
    for done in crate::daemon::cleanup(&config)? {
        println!("{done}");
    }
    Ok(())
}
