//! Where the `lbd` under test is.
use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// The `lbd` program: `LBD_BIN` when set, else the one in the target folder of this program.
pub fn lbd_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("LBD_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = env::current_exe()?;
    // target/debug/lbd-lab, or target/debug/deps/<test>-<hash>.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("lbd"))
        .find(|file| file.is_file())
        .with_context(|| {
            let own = own.display();
            format!("there is no `lbd` next to {own}; `cargo build --package lbd` makes one")
        })
}
