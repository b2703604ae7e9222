//! A spool folder like Postfix's, worked off at a rate that can be set.
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

/// The folders that Postfix keeps below its spool.
const FOLDERS: [&str; 5] = ["maildrop", "incoming", "active", "deferred", "hold"];

/// Messages that may be `active` at once: Postfix's `qmgr_message_active_limit`.
const ACTIVE_LIMIT: usize = 20_000;

/// A spool: a file per message, from `incoming` to `active` to gone.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    incoming: VecDeque<u64>,
    active: VecDeque<u64>,
    next: u64,
    /// Part of a message that the last [`Self::work`] had time for.
    credit: f64,
}

impl Spool {
    /// Makes the folders.
    pub fn new(folder: &Path) -> io::Result<Self> {
        for name in FOLDERS {
            fs::create_dir_all(folder.join(name))?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            incoming: VecDeque::new(),
            active: VecDeque::new(),
            next: 0,
            credit: 0.0,
        })
    }

    /// Files a message.
    pub fn accept(&mut self, message: &[u8]) -> io::Result<()> {
        let id = self.next;
        self.next += 1;
        fs::write(self.path("incoming", id), message)?;
        self.incoming.push_back(id);
        Ok(())
    }

    /// Delivers what `per_second` messages a second come to in `elapsed_s` seconds.
    pub fn work(&mut self, elapsed_s: f64, per_second: f64) -> io::Result<()> {
        while self.active.len() < ACTIVE_LIMIT
            && let Some(id) = self.incoming.pop_front()
        {
            fs::rename(self.path("incoming", id), self.path("active", id))?;
            self.active.push_back(id);
        }
        self.credit += elapsed_s * per_second;
        while self.credit >= 1.0 {
            let Some(id) = self.active.pop_front() else {
                // An idle mail system does not save its time up.
                self.credit = 0.0;
                break;
            };
            self.credit -= 1.0;
            fs::remove_file(self.path("active", id))?;
        }
        Ok(())
    }

    /// Messages in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.incoming.len() + self.active.len()
    }

    /// Whether it holds no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn path(&self, queue: &str, id: u64) -> PathBuf {
        // Queue ids are upper-case hex, as Postfix's short ones.
        self.folder.join(queue).join(format!("{id:010X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        FOLDERS
            .iter()
            .map(|name| fs::read_dir(folder.join(name)).unwrap().count())
            .sum()
    }

    #[test]
    fn what_is_queued_is_what_lies_in_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path()).unwrap();
        for _ in 0..30 {
            spool.accept(b"Subject: test\r\n\r\n").unwrap();
        }
        assert_eq!((spool.len(), files(folder.path())), (30, 30));
        spool.work(1.0, 10.0).unwrap();
        assert_eq!((spool.len(), files(folder.path())), (20, 20));
        spool.work(1.0, 0.0).unwrap();
        assert_eq!((spool.len(), files(folder.path())), (20, 20));
        spool.work(100.0, 1.0).unwrap();
        assert_eq!((spool.len(), files(folder.path())), (0, 0));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path()).unwrap();
        spool.work(1000.0, 10.0).unwrap();
        for _ in 0..30 {
            spool.accept(b"").unwrap();
        }
        spool.work(1.0, 10.0).unwrap();
        assert_eq!(spool.len(), 20);
    }
}
