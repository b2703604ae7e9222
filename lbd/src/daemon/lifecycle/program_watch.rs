//! Whether the XDP program runs where it is attached. Pure.
//!
//! A driver may lose the program while the kernel's books say that it is attached (virtio-net on 6.1 after
//! a suspend). What tells is a frame that the driver counts as received and the program never saw. Every
//! frame counts that the driver has in `rx_packets`: unicast, multicast and broadcast, for lbd or not.
use std::collections::BTreeMap;

/// Looks with frames received and none seen, until every frame is made to take the chain. Most boxes
/// have an ARP question, an advert or a SYN in every second, and never come that far.
const UNTIL_ASKED: u32 = 2;
/// Further such looks until the program is taken for one that does not run. More than one, because a
/// driver may count a frame some time after the program saw it.
const UNTIL_STOPPED: u32 = 2;
/// From one question of every frame to the next.
const REST_NS: u64 = 10_000_000_000;
/// How long an attachment that brought nothing is left alone, at first and at most.
const FIRST_WAIT_NS: u64 = 60_000_000_000;
const LONGEST_WAIT_NS: u64 = 3_600_000_000_000;

/// One look at an interface.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct Look {
    pub(in crate::daemon) ifindex: u32,
    /// Frames, as the driver counts them.
    pub(in crate::daemon) received: u64,
    /// Whether the program has seen one since it was asked.
    pub(in crate::daemon) has_run: bool,
}

/// The program is attached to an interface and does not run there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) struct Stopped {
    /// Frames that it did not see.
    pub(in crate::daemon) frames: u64,
    /// It was attached anew before, which did not help.
    pub(in crate::daemon) again: bool,
}

#[derive(Debug)]
struct Watched {
    ifindex: u32,
    received: u64,
    /// Frames since the program last ran.
    frames: u64,
    /// Looks with such frames.
    looks: u32,
    /// Every frame is made to take the chain from then on, if need be.
    ask_from_ns: u64,
    /// The wait after the next attachment.
    wait_ns: u64,
}

/// The interfaces.
#[derive(Debug, Default)]
pub(in crate::daemon) struct ProgramWatch {
    by_name: BTreeMap<String, Watched>,
}

impl ProgramWatch {
    /// Takes a look at an interface to which the program is attached, about once a second.
    pub(in crate::daemon) fn look(
        &mut self,
        name: &str,
        look: Look,
        now_ns: u64,
    ) -> Option<Stopped> {
        let former = self.by_name.get_mut(name);
        let Some(watched) = former.filter(|watched| watched.ifindex == look.ifindex) else {
            self.by_name.insert(name.to_owned(), Watched::new(look));
            return None;
        };
        // A driver that sets its queues up anew may count from 0.
        let frames = look.received.saturating_sub(watched.received);
        watched.received = look.received;
        if look.has_run {
            if watched.is_asking(now_ns) {
                watched.ask_from_ns = now_ns + REST_NS;
            }
            watched.wait_ns = FIRST_WAIT_NS;
            (watched.frames, watched.looks) = (0, 0);
            return None;
        }
        if frames == 0 {
            return None;
        }
        watched.frames += frames;
        if watched.looks < UNTIL_ASKED || watched.is_asking(now_ns) {
            watched.looks += 1;
        }
        if watched.looks < UNTIL_ASKED + UNTIL_STOPPED {
            return None;
        }
        let stopped = Stopped {
            frames: watched.frames,
            again: watched.wait_ns > FIRST_WAIT_NS,
        };
        watched.ask_from_ns = now_ns + watched.wait_ns;
        watched.wait_ns = (watched.wait_ns * 2).min(LONGEST_WAIT_NS);
        (watched.frames, watched.looks) = (0, 0);
        Some(stopped)
    }

    /// Whether every frame has to take the chain, so that the program shows whether it runs.
    pub(in crate::daemon) fn is_asking(&self, now_ns: u64) -> bool {
        self.by_name
            .values()
            .any(|watched| watched.is_asking(now_ns))
    }

    /// Forgets what is not among `names`.
    pub(in crate::daemon) fn keep(&mut self, names: &[String]) {
        self.by_name.retain(|name, _| names.contains(name));
    }
}

impl Watched {
    fn new(look: Look) -> Self {
        Self {
            ifindex: look.ifindex,
            received: look.received,
            frames: 0,
            looks: 0,
            ask_from_ns: 0,
            wait_ns: FIRST_WAIT_NS,
        }
    }

    fn is_asking(&self, now_ns: u64) -> bool {
        self.looks >= UNTIL_ASKED && now_ns >= self.ask_from_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// An interface over time: frames received and whether the program ran, a second each.
    #[derive(Default)]
    struct Interface {
        watch: ProgramWatch,
        now_s: u64,
        received: u64,
    }

    impl Interface {
        fn after_a_second(&mut self, frames: u64, has_run: bool) -> Option<Stopped> {
            self.now_s += 1;
            self.received += frames;
            let look = Look {
                ifindex: 2,
                received: self.received,
                has_run,
            };
            self.watch.look("eth0", look, self.now_s * S)
        }

        fn is_asking(&self) -> bool {
            self.watch.is_asking(self.now_s * S)
        }
    }

    #[test]
    fn frames_that_no_program_sees_are_a_program_that_does_not_run() {
        let mut eth0 = Interface::default();
        eth0.after_a_second(100, true);
        assert_eq!(eth0.after_a_second(10, true), None);
        let told: Vec<_> = (0..4).map(|_| eth0.after_a_second(10, false)).collect();
        let stopped = Stopped {
            frames: 40,
            again: false,
        };
        assert_eq!(told, [None, None, None, Some(stopped)]);
    }

    #[test]
    fn an_interface_that_receives_nothing_is_left_alone() {
        let mut eth0 = Interface::default();
        assert!((0..1000).all(|_| eth0.after_a_second(0, false).is_none()));
        assert!(!eth0.is_asking());
    }

    #[test]
    fn one_that_receives_what_takes_the_short_way_alone_is_asked_and_not_attached_anew() {
        let mut eth0 = Interface::default();
        let mut asked = 0;
        for _ in 0..100 {
            // It runs, and shows it only while every frame takes the chain.
            let has_run = eth0.is_asking();
            asked += u32::from(has_run);
            assert_eq!(eth0.after_a_second(5, has_run), None);
        }
        assert!((5..=10).contains(&asked), "{asked}");
    }

    #[test]
    fn what_an_attachment_does_not_cure_is_tried_ever_more_seldom() {
        let mut eth0 = Interface::default();
        let mut at_s = Vec::new();
        for _ in 0..4000 {
            if let Some(stopped) = eth0.after_a_second(5, false) {
                assert_eq!(stopped.again, !at_s.is_empty());
                at_s.push(eth0.now_s);
            }
        }
        let waits: Vec<u64> = at_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().is_sorted() && waits[0] >= 60, "{waits:?}");
        assert!((4..8).contains(&at_s.len()), "{at_s:?}");
        // One that was cured is attached anew at once the next time.
        assert_eq!(eth0.after_a_second(5, true), None);
        let told: Vec<_> = (0..4 + 3600)
            .filter_map(|_| eth0.after_a_second(5, false))
            .collect();
        assert!(!told[0].again);
    }

    #[test]
    fn an_interface_that_was_made_anew_begins_anew() {
        let mut watch = ProgramWatch::default();
        let look = |ifindex, received| Look {
            ifindex,
            received,
            has_run: false,
        };
        for second in 0..20 {
            let now = u64::from(second);
            let told = watch.look("eth0", look(second, now * 10), now * S);
            assert_eq!(told, None);
        }
    }
}
