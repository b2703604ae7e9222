//! Files of their own for nodes that share one file system: what all nodes name by the same path is
//! another file on each.
//!
//! A node's daemon and commands run in a mount namespace each, where [`OwnFiles::path`] is the node's
//! own folder.
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::lab::Lab;

/// The folder that all nodes name alike.
#[derive(Clone, Debug)]
pub struct OwnFiles {
    path: PathBuf,
    lab: PathBuf,
}

/// What a node's own files are on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disk {
    /// As usual.
    Usual,
    /// The own files cannot be written.
    ReadOnly,
    /// `node.state_dir` is on a disk of so many KiB.
    SmallState(u32),
}

impl OwnFiles {
    /// Makes the folders of all nodes of a lab.
    pub fn new(lab: &Lab) -> Result<Self> {
        let own = Self {
            path: lab.folder().join("etc"),
            lab: lab.folder().to_owned(),
        };
        fs::create_dir_all(&own.path)?;
        for node in &lab.nodes {
            fs::create_dir_all(own.of(&node.name, ""))?;
        }
        Ok(own)
    }

    /// A file by the path that all nodes have for it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The same file of one node, as the other nodes see it.
    #[must_use]
    pub fn of(&self, node: &str, name: &str) -> PathBuf {
        self.lab.join(node).join("etc").join(name)
    }

    /// From the next start of a node's daemon on.
    pub fn set_disk(&self, node: &str, disk: Disk) -> Result<()> {
        let text = match disk {
            Disk::Usual => String::new(),
            Disk::ReadOnly => "mount -o remount,bind,ro \"$ETC\"\n".to_owned(),
            Disk::SmallState(kib) => {
                format!("mount -t tmpfs -o size={kib}k,mode=0700 tmpfs \"$NODE/state\"\n")
            }
        };
        Ok(fs::write(self.lab.join(node).join("disk"), text)?)
    }

    /// A program that runs `lbd` inside, for [`super::Cluster::replace_binary`]. The last argument is
    /// the configuration file, as the cluster gives it.
    pub fn program(&self, lbd: &Path) -> Result<PathBuf> {
        let program = self.lab.join("lbd");
        let inside = self.lab.join("lbd-inside");
        fs::write(
            &program,
            format!(
                "#!/bin/sh\nexec unshare --mount --propagation private {} \"$@\"\n",
                inside.display()
            ),
        )?;
        fs::write(
            &inside,
            format!(
                "#!/bin/sh\nset -e\nfor CONFIG; do :; done\nNODE=${{CONFIG%/*}} ETC={}\n\
                 mount --bind \"$NODE/etc\" \"$ETC\"\n[ ! -e \"$NODE/disk\" ] || . \"$NODE/disk\"\n\
                 exec {} \"$@\"\n",
                self.path.display(),
                lbd.display(),
            ),
        )?;
        for file in [&program, &inside] {
            fs::set_permissions(file, Permissions::from_mode(0o755))?;
        }
        Ok(program)
    }
}
