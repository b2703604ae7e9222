//! What a debug build of the XDP program says, for developers: the records of aya-log
//! (`lbd-ebpf/src/xdp/log.rs`). The program that lbd carries says nothing.
use std::{
    mem,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
};

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use tracing::{Level, level_filters::LevelFilter};

/// A line of the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProgramLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// The reader; its descriptor becomes readable with the next line.
pub struct ProgramLog {
    logger: EbpfLogger<Lines>,
    kept: Lines,
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<ProgramLine>>>);

impl ProgramLog {
    /// Has a loader set the level before the load, so that the verifier removes what is off.
    pub fn set_level<'a>(loader: &mut EbpfLoader<'a>, level: &'a u8) {
        // A release build of the program has no such variable.
        loader.override_global(aya_log::LEVEL, level, false);
    }

    /// Takes its map from a loaded program; `None` if it is none that says something.
    pub fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let kept = Lines::default();
        let logger = EbpfLogger::init_with_logger(ebpf, kept.clone()).ok()?;
        Some(Self { logger, kept })
    }

    /// What it has said since.
    pub fn lines(&mut self) -> Vec<ProgramLine> {
        self.logger.flush();
        mem::take(&mut self.kept.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The level of a program's load as aya-log counts: 0 is off, 5 traces.
pub fn level(of: LevelFilter) -> u8 {
    match of.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(Level::TRACE) => 5,
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::ERROR,
            log::Level::Warn => Level::WARN,
            log::Level::Info => Level::INFO,
            log::Level::Debug => Level::DEBUG,
            log::Level::Trace => Level::TRACE,
        };
        let text = record.args().to_string();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(ProgramLine { level, text });
    }

    fn flush(&self) {}
}

impl AsRawFd for ProgramLog {
    fn as_raw_fd(&self) -> RawFd {
        self.logger.as_raw_fd()
    }
}

impl std::fmt::Debug for ProgramLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_aya_log() {
        use aya_log::Level as Theirs;
        assert_eq!(level(LevelFilter::OFF), 0);
        assert_eq!(level(LevelFilter::ERROR), Theirs::Error as u8);
        assert_eq!(level(LevelFilter::WARN), Theirs::Warn as u8);
        assert_eq!(level(LevelFilter::INFO), Theirs::Info as u8);
        assert_eq!(level(LevelFilter::DEBUG), Theirs::Debug as u8);
        assert_eq!(level(LevelFilter::TRACE), Theirs::Trace as u8);
    }
}
