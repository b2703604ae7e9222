//! `lbd cleanup`.
use std::path::Path;

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    let config = super::load(path)?;
    for done in crate::daemon::cleanup(&config)? {
        println!("{done}");
    }
    Ok(())
}
