//! A whole Postfix with a configuration, a queue and mailboxes of its own.
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// What every one of them has in its main.cf.
const MAIN_CF: &str = "compatibility_level = 3.6
queue_directory = FOLDER/queue
data_directory = FOLDER/data
maillog_file = /dev/stdout
alias_maps =
";

/// A running Postfix; dropping it ends it.
#[derive(Debug)]
pub struct Postfix {
    folder: PathBuf,
    starter: Child,
}

impl Postfix {
    /// Starts one that has all its files in `folder`, which its own user must be able to enter. In `main`
    /// and `master`, what its main.cf and master.cf are to say, `FOLDER` stands for it.
    pub fn start(folder: &Path, main: &str, master: &str) -> Result<Self> {
        let conf = folder.join("conf");
        for folder in [&conf, &folder.join("queue"), &folder.join("data")] {
            fs::create_dir_all(folder)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let mut owner = Command::new("chown");
        let owned = owner.arg("postfix").arg(folder.join("data")).status()?;
        ensure!(
            owned.success(),
            "there is no user postfix: is it installed?"
        );
        let placed = |text: &str| text.replace("FOLDER", &folder.display().to_string());
        fs::write(conf.join("main.cf"), placed(&format!("{MAIN_CF}{main}")))?;
        fs::write(conf.join("master.cf"), placed(master))?;

        let output = File::create(folder.join("log"))?;
        let mut start = command(folder);
        start.arg("start-fg").stdin(Stdio::null());
        let starter = start.stdout(output.try_clone()?).stderr(output).spawn();
        let postfix = Self {
            folder: folder.to_owned(),
            starter: starter.context("postfix")?,
        };
        crate::until("Postfix's master runs", || {
            postfix.log().contains("daemon started")
        });
        Ok(postfix)
    }

    /// The folder of its main.cf: `MAIL_CONFIG` for its sendmail.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.folder.join("conf")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("postfix");
    command.arg("-c").arg(folder.join("conf"));
    command
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // The starter is a script: its master would outlive it.
        let _ = command(&self.folder)
            .arg("abort")
            .stderr(Stdio::null())
            .status();
        let _ = self.starter.wait();
    }
}
