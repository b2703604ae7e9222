//! Keeps a command without privileges, and ends all of it with it.
//!
//! Between lbd and the command stands a process that does nothing but wait: a copy of lbd from the
//! fork, which never runs another program. It is the command's *subreaper* (prctl(2)): all that the
//! command starts becomes its child when the parent in between ends, in any session or process group
//! it has moved to. So it can find all of it, and ends when all of it has.
use std::{io, os::raw::c_int};

use tokio::process::Command;

/// No capability set has more bits.
const CAPABILITIES: libc::c_ulong = 64;
/// `_LINUX_CAPABILITY_VERSION_3` of include/uapi/linux/capability.h.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// An argument that prctl(2) wants to be zero, as wide as it reads it.
const ZERO: libc::c_ulong = 0;
const ONE: libc::c_ulong = 1;
/// How often it is looked again for children of what was just killed.
const AGAIN_NS: i64 = 10_000_000;
/// How often it is looked whether lbd lives.
const LOOK_NS: i64 = 1_000_000_000 - 1;

/// Lets the command run without capabilities and under supervision. The child that is spawned is the
/// supervisor: it ends as the command ends, with its status, and SIGTERM ends the command and all
/// that it started. It must not be killed otherwise.
pub(super) fn supervised(command: &mut Command) {
    // SAFETY: `begin` runs in the child of a process with other threads. It makes system calls on
    // values of its own stack only: it allocates nothing, takes no lock, and does not unwind.
    unsafe { command.pre_exec(begin) };
}

fn begin() -> io::Result<()> {
    give_up_privileges()?;
    // SAFETY: plain numbers. The calls concern this process alone.
    let lbd = unsafe {
        checked(libc::prctl(
            libc::PR_SET_CHILD_SUBREAPER,
            ONE,
            ZERO,
            ZERO,
            ZERO,
        ))?;
        libc::getppid()
    };
    // The handlers of lbd are still set; nothing may run them, here or in the command.
    let before = block_signals()?;
    // SAFETY: a fork without shared memory, as fork(2) makes it, but without the C library's handlers,
    // whose locks another thread may have held.
    let command = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(libc::SIGCHLD),
            ZERO,
            ZERO,
            ZERO,
            ZERO,
        )
    };
    match command {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: `before` was filled by the kernel; a group of its own is for SIGTTOU and the like.
            unsafe {
                checked(libc::sigprocmask(
                    libc::SIG_SETMASK,
                    &raw const before,
                    std::ptr::null_mut(),
                ))?;
                checked(libc::setpgid(0, 0))?;
            }
            Ok(())
        }
        // The kernel's process ids have 22 bits.
        #[expect(clippy::cast_possible_truncation, reason = "a process id")]
        command => supervise(command as libc::pid_t, lbd),
    }
}

/// No capability now, and none by the next exec: not by inheritance, not as root, not by a file.
fn give_up_privileges() -> io::Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let none = [[0_u32; 3]; 2];
    // SAFETY: plain numbers, and a header and two sets as capset(2) has them, which outlive the call.
    unsafe {
        checked(libc::prctl(
            libc::PR_SET_NO_NEW_PRIVS,
            ONE,
            ZERO,
            ZERO,
            ZERO,
        ))?;
        checked(libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            ZERO,
            ZERO,
            ZERO,
        ))?;
        // Root gets the bounding set back by exec. Only who has CAP_SETPCAP can empty it, which root
        // has; the service's user has it not, and gets nothing back either.
        for capability in 0..CAPABILITIES {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, ZERO, ZERO, ZERO) != 0 {
                break;
            }
        }
        let set = libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr());
        checked(c_int::from(set != 0).wrapping_neg())
    }
}

fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: both sets are zeroed, which is a valid sigset_t, and outlive the calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        checked(libc::sigfillset(&raw mut all))?;
        checked(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            &raw mut before,
        ))?;
        Ok(before)
    }
}

/// Waits for the command, or for the word to end it; then ends all that it started.
fn supervise(command: libc::pid_t, lbd: libc::pid_t) -> ! {
    // SAFETY: nothing here uses a descriptor of lbd's any more. The pipe to lbd must close with the
    // exec, and the command's output with the command.
    unsafe {
        if libc::syscall(
            libc::SYS_close_range,
            ZERO,
            libc::c_ulong::from(u32::MAX),
            ZERO,
        ) != 0
        {
            for descriptor in 0..65_536 {
                libc::close(descriptor);
            }
        }
        // lbd's keys cannot be read out of this copy.
        libc::prctl(libc::PR_SET_DUMPABLE, ZERO, ZERO, ZERO, ZERO);
    }
    let mut status = None;
    let mut told = false;
    loop {
        loop {
            let mut ended = 0;
            // SAFETY: `ended` outlives the call.
            match unsafe { libc::waitpid(-1, &raw mut ended, libc::WNOHANG) } {
                // None are left.
                -1 => end_as(status.unwrap_or(0)),
                0 => break,
                id if id == command => status = Some(ended),
                _ => {}
            }
        }
        // SAFETY: the call takes nothing and cannot fail.
        let orphaned = unsafe { libc::getppid() } != lbd;
        let ending = told || orphaned || status.is_some();
        if ending {
            kill_children(command);
        }
        told |= wait_for_signal(if ending { AGAIN_NS } else { LOOK_NS });
    }
}

/// Waits for SIGCHLD or SIGTERM for so long. Whether SIGTERM came.
fn wait_for_signal(ns: i64) -> bool {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: ns,
    };
    // SAFETY: the set is zeroed, which is a valid sigset_t, and outlives the calls, as `time` does.
    unsafe {
        let mut awaited: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut awaited);
        libc::sigaddset(&raw mut awaited, libc::SIGCHLD);
        libc::sigaddset(&raw mut awaited, libc::SIGTERM);
        libc::sigtimedwait(&raw const awaited, std::ptr::null_mut(), &raw const time)
            == libc::SIGTERM
    }
}

/// Kills every child, as proc(5) lists them. Their own children are this process's afterwards.
fn kill_children(command: libc::pid_t) {
    let mut list = [0_u8; 4096];
    // SAFETY: the path ends with a zero, and `list` is as long as is said.
    let length = unsafe {
        let file = libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY);
        let length = libc::read(file, list.as_mut_ptr().cast(), list.len());
        libc::close(file);
        length
    };
    let Ok(length @ 1..) = usize::try_from(length) else {
        // Without /proc at least what stayed in the command's group.
        // SAFETY: plain numbers.
        unsafe { libc::kill(-command, libc::SIGKILL) };
        return;
    };
    let mut id = 0;
    // A number that is cut at the end of the list has no blank behind it: it is for the next time.
    for byte in list.iter().take(length) {
        if byte.is_ascii_digit() {
            id = id * 10 + libc::pid_t::from(byte - b'0');
            continue;
        }
        if id > 1 {
            // SAFETY: plain numbers. It is a child that was not waited for.
            unsafe { libc::kill(id, libc::SIGKILL) };
        }
        id = 0;
    }
}

/// Ends this process as the command ended.
fn end_as(status: c_int) -> ! {
    // SAFETY: plain numbers, and a set that outlives the calls.
    unsafe {
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            libc::signal(signal, libc::SIG_DFL);
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::kill(libc::getpid(), signal);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
        libc::_exit(if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            1
        })
    }
}

fn checked(result: c_int) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
