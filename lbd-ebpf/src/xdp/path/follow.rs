//! What a frame does to the flow that it belongs to.
//!
//! A frame of a client is a claim: a stranger can send it in the client's name. So it makes a flow at most
//! unproven, and a FIN or RST marks it at most; what TCP at the backend ignores (RFC 5961) then changes
//! nothing that counts. The backend's half decides: its box's word (the daemon writes it into the table),
//! or what it replies, where the replies pass here ([`said_by_backend`]).
use lbd_common::{
    backend::{mode, state as backend_state},
    counters::Reason,
    event::kind,
    flow::{
        FlowWord, NOTED_UNITS, PROVING_FRAMES, RESEND_FINE, RESEND_UNSURE_FINE, age, fine_age,
        flag, state,
    },
    sign,
};
use lbd_ebpf::wire::parse::tcp_flag;

use super::{
    admit,
    flow::{Known, change, retire},
    segment::ForVip,
    select::{Routed, no_backend},
};
use crate::xdp::{
    code::{EARLY, NO_BACKEND, STAYS},
    exit::{Exit, Stage, count},
    family::{Family, Key, V4, V6},
    tables::{
        backend::{Target, weight},
        clock, event,
        sign::{flags, is_avoided, lived_within, proven, speaks, unanswered},
    },
};

/// How long after its client's mark a session's end is waited for, in units of `seen`: 1.1 to 2.1 s.
const EARLY_UNITS: u16 = 2;

/// What becomes of a frame of a known flow.
pub(crate) enum Followed {
    /// It goes there.
    Goes(Routed),
    /// It is a SYN that begins anew, if it can not with this backend ([`NO_BACKEND`]: with any).
    Anew(u32),
}

/// Follows a known flow, and notes what the frame does to it.
#[inline(always)]
pub(crate) fn follow<const K: usize, F: Noted<K>>(
    known: &Known,
    frame: &ForVip<K>,
) -> Stage<Followed> {
    let word = known.word();
    let (at, bits) = known.place();
    if frame.is_syn() {
        let (_, _, vip_id) = F::parts(&frame.key);
        let but = begins_anew(at, bits, vip_id as u32);
        if but == EARLY {
            return Err(Exit::Drop(Reason::DropSynEarly));
        }
        if but != STAYS {
            return Ok(Followed::Anew(but as u32));
        }
    }
    if word.state == state::DOOMED {
        return Ok(Followed::Goes(Routed::Reset(Reason::ResetDoomed)));
    }
    let Some(target) = Target::get(word.backend) else {
        return Err(Exit::Drop(Reason::DropNoBackend));
    };
    if target.backend.state != backend_state::UP {
        if target.backend.state == backend_state::UNRESOLVED {
            return Err(Exit::Drop(Reason::DropUnresolved));
        }
        retire(known);
        if frame.is_syn() {
            return Ok(Followed::Anew(no_backend()));
        }
        return Ok(Followed::Goes(Routed::Reset(Reason::ResetDead)));
    }
    if !is_nothing_new(word, frame) {
        F::note(at, bits, &frame.key, frame.what());
    }
    Ok(Followed::Goes(Routed::To {
        target,
        opened: false,
    }))
}

/// Whether a SYN on a known 4-tuple begins a new session, and with whom it does not.
///
/// While its box has the session and takes new ones, the SYN goes there, for only the TCP there answers
/// rightly: a challenge ACK to a stranger's (RFC 5961, section 4), a new session to one that comes after
/// the last (RFC 9293, section 3.6.1).
///
/// A function of its own, as are those that follow, because the kernel verifies it once and not for every
/// place that a flow can have.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begins_anew(at: *mut u64, bits: u64, vip_id: u32) -> u64 {
    if at.is_null() {
        return STAYS;
    }
    let known = Known::at(at, bits);
    match anew(&known, vip_id as u16) {
        Some(but) => {
            retire(&known);
            but as u64
        }
        None if is_early(known.word(), vip_id as u16) => EARLY,
        None => STAYS,
    }
}

/// Whether a SYN comes before its box's word on the end of the session before it, and the box takes no new
/// ones.
///
/// A client that has forgotten a session answers its box's challenge ACK with a reset, and sends its SYN again
/// within some milliseconds (`tcp_rcv_synsent_state_process` of net/ipv4/tcp_input.c), which may be before
/// the box's word has come. The next one comes a second later (RFC 6298, section 2.1). It stays with its box
/// if that has said nothing by then: the reset was lost, or forged. So a stranger's reset and SYN
/// end nothing here.
#[inline(always)]
fn is_early(word: FlowWord, vip_id: u16) -> bool {
    word.state == state::ESTABLISHED
        && word.flags & flag::CLIENT_ENDED != 0
        && age(clock::seen(), word.seen) < EARLY_UNITS
        && speaks(word.backend, vip_id)
        && !takes_new(word.backend, vip_id)
}

#[inline(always)]
fn anew(known: &Known, vip_id: u16) -> Option<u32> {
    let word = known.word();
    Some(match word.state {
        state::ENDED | state::DOOMED => NO_BACKEND,
        state::HALF_OPEN => unanswered_by(word)? as u32,
        _ if takes_new(word.backend, vip_id) => return None,
        // Its box has said that it has the session, and is believed when it says that it no longer has it.
        state::ESTABLISHED | state::CLOSING if is_end_heard(word.backend, vip_id) => return None,
        // A box that takes none: the SYN is left with the flow unless it can begin here.
        _ if !admit::is_leased_master() => return None,
        _ => NO_BACKEND,
    })
}

/// Whether this box hears when a backend ends a session: its box tells so, or its replies pass here.
#[inline(always)]
fn is_end_heard(id: u16, vip_id: u16) -> bool {
    speaks(id, vip_id) || Target::get(id).is_some_and(|target| target.backend.mode == mode::NAT)
}

/// Whether new sessions of a service may go to a backend.
#[inline(always)]
fn takes_new(id: u16, vip_id: u16) -> bool {
    let Some(target) = Target::get(id) else {
        return false;
    };
    let is_there = matches!(
        target.backend.state,
        backend_state::UP | backend_state::UNRESOLVED
    );
    is_there && weight(id as u32) != 0 && !is_avoided(id, vip_id)
}

/// The backend of a half-open flow whose SYN has come again, if it gave no sign of life since the SYN came
/// first: the session then tries the other candidate, and the client has lost a second and not a minute.
///
/// A SYN-ACK that comes after all, from a box that lived and was silent, breaks no mail. The client takes
/// the SYN-ACK that comes first; its ACK goes to the second box, whose TCP resets what does not
/// acknowledge its own SYN-ACK (RFC 9293, section 3.10.7.4, SYN-RECEIVED), before any greeting: the client
/// connects again. So this waits for the client's timer, and for its second one where nothing is heard of
/// a living box for a second: a SYN-ACK that was only lost has been sent again by then.
#[inline(always)]
fn unanswered_by(word: FlowWord) -> Option<u16> {
    let target = Target::get(word.backend)?;
    if target.is_local() || !admit::is_leased_master() {
        return None;
    }
    let begun = (word.seen as u32) << 4 | word.fine() as u32;
    let age = fine_age(clock::fine(), begun);
    let flags = flags(word.backend);
    let is_suspect = flags & sign::flag::SUSPECT != 0;
    let is_heard_often = flags & sign::flag::SPEAKS != 0 || target.backend.mode == mode::NAT;
    let wait = if is_suspect || is_heard_often {
        RESEND_FINE
    } else {
        RESEND_UNSURE_FINE
    };
    if age < wait || !is_suspect && lived_within(word.backend, age) {
        return None;
    }
    unanswered(word.backend);
    count(Reason::SynUnanswered);
    Some(word.backend)
}

/// Whether the frame leaves its flow as it is, as most of those do that [`super::flow::steady`] leaves.
#[inline(always)]
fn is_nothing_new<const K: usize>(word: FlowWord, frame: &ForVip<K>) -> bool {
    frame.is_data()
        && matches!(word.state, state::ESTABLISHED | state::ENDED)
        && !is_old(word, clock::seen())
}

#[inline(always)]
fn is_old(word: FlowWord, now: u16) -> bool {
    now.wrapping_sub(word.seen) >= NOTED_UNITS
}

/// A family whose flows are noted by a function of its own.
pub(crate) trait Noted<const K: usize>: Family<K> {
    /// Notes what a frame does to the flow whose word, read as `bits`, is at `at`.
    fn note(at: *mut u64, bits: u64, key: &Key<K>, what: u32);
}

impl Noted<1> for V4 {
    #[inline(always)]
    fn note(at: *mut u64, bits: u64, key: &Key<1>, what: u32) {
        note4(at, bits, key[0], what as u64);
    }
}

impl Noted<3> for V6 {
    #[inline(always)]
    fn note(at: *mut u64, bits: u64, key: &Key<3>, what: u32) {
        note6(at, bits, key[0], key[1], key[2] | (what as u64) << 32);
    }
}

/// Notes what a frame does to an IPv4 flow. Above the 32 bits of what a key ends with, `what` of a frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note4(at: *mut u64, bits: u64, key: u64, what: u64) -> u32 {
    if at.is_null() {
        return 0;
    }
    note::<1, V4>(&Known::at(at, bits), &ForVip::from_what([key], what as u32));
    1
}

/// Likewise for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note6(at: *mut u64, bits: u64, high: u64, low: u64, rest: u64) -> u32 {
    if at.is_null() {
        return 0;
    }
    let key = [high, low, rest & 0xffff_ffff];
    let frame = ForVip::from_what(key, (rest >> 32) as u32);
    note::<3, V6>(&Known::at(at, bits), &frame);
    1
}

/// Notes what a frame of the client does to its flow.
#[inline(always)]
fn note<const K: usize, F: Family<K>>(known: &Known, frame: &ForVip<K>) {
    let word = known.word();
    if frame.flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
        client_ends::<K, F>(known, word, frame);
        return;
    }
    if !frame.is_data() {
        return;
    }
    let now = clock::seen();
    let mut new = FlowWord { seen: now, ..word };
    new.flags &= !flag::FROM_PEER;
    let told = match word.state {
        state::HALF_OPEN => {
            new.state = state::UNPROVEN;
            new.flags = new.flags & flag::ADOPTED | flag::COUNTED;
            kind::OPENED
        }
        state::UNPROVEN => {
            let (_, _, vip_id) = F::parts(&frame.key);
            if !frame.has_payload || speaks(word.backend, vip_id) {
                return;
            }
            new.flags &= !flag::CLIENT_ENDED;
            if word.fine() + 1 >= PROVING_FRAMES {
                new.state = state::ESTABLISHED;
                new.flags |= flag::COUNTED;
                new = new.with_fine(0);
                kind::PROVEN
            } else {
                new.seen = word.seen;
                new = new.with_fine(word.fine() + 1);
                0
            }
        }
        state::CLOSING if frame.has_payload => {
            new.state = state::ESTABLISHED;
            new.flags = (new.flags | flag::COUNTED) & !flag::CLIENT_ENDED;
            kind::PROVEN
        }
        _ if is_old(word, now) => 0,
        _ => return,
    };
    // Who was faster, another frame of the flow or the sweep, wrote what is as good.
    if change(known, new) && told != 0 {
        event::emit::<K, F>(&frame.key, word.backend, told);
        if told == kind::OPENED {
            count(Reason::FlowOpened);
        } else {
            proven(word.backend);
        }
    }
}

/// FIN or RST came in the client's name.
#[inline(always)]
fn client_ends<const K: usize, F: Family<K>>(known: &Known, word: FlowWord, frame: &ForVip<K>) {
    let (_, _, vip_id) = F::parts(&frame.key);
    let speaks = speaks(word.backend, vip_id);
    let is_open = word.state == state::ESTABLISHED;
    let is_marked = word.flags & flag::CLIENT_ENDED != 0;
    let now = clock::seen();
    // Of an open session the mark's time is kept too: see [`is_early`].
    let is_renewed = speaks && is_open && word.seen != now;
    if is_marked && !is_renewed || word.state >= state::CLOSING {
        return;
    }
    let mut new = word;
    new.flags |= flag::CLIENT_ENDED;
    if speaks {
        if is_open {
            new.seen = now;
        }
    } else {
        new.flags &= !flag::COUNTED;
        if is_open {
            new.state = state::CLOSING;
            new.seen = now;
        }
    }
    if !change(known, new) || is_marked {
        return;
    }
    if word.state != state::HALF_OPEN {
        count(Reason::FlowClosed);
    }
    if !speaks {
        event::emit::<K, F>(&frame.key, word.backend, kind::CLOSED);
    }
}

/// A reply of the backend's own says more than the client can: with payload it has the session open,
/// even if frames came in its client's name, with FIN or RST it has ended it.
#[inline(always)]
pub(crate) fn said_by_backend<const K: usize, F: Family<K>>(
    known: &Known,
    frame: &ForVip<K>,
    ends: bool,
) {
    let word = known.word();
    let mut new = FlowWord {
        seen: clock::seen(),
        flags: 0,
        ..word
    };
    if ends {
        if word.state >= state::ENDED {
            return;
        }
        new.state = state::ENDED;
        if change(known, new) {
            event::emit::<K, F>(&frame.key, word.backend, kind::CLOSED);
            if word.state != state::HALF_OPEN && word.flags & flag::CLIENT_ENDED == 0 {
                count(Reason::FlowClosed);
            }
        }
    } else if matches!(word.state, state::UNPROVEN | state::CLOSING) {
        new.state = state::ESTABLISHED;
        new.flags = flag::COUNTED;
        if change(known, new) {
            proven(word.backend);
            event::emit::<K, F>(&frame.key, word.backend, kind::PROVEN);
        }
    }
}
