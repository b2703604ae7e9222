//! What the event loop asks of the thread.
use std::num::NonZeroU64;

use super::{On, Worker};
use crate::{
    channel::{Channel, Epoch},
    daemon::{
        clock,
        cluster::channel::{Request, complaints::Complaints, refresh::Refresh},
    },
};

impl Worker {
    pub(super) fn obey(&mut self, order: Request) {
        let now_ns = clock::boottime_ns();
        let on = self.on.as_mut();
        let outputs = match (order, on) {
            (
                Request::IdMap {
                    id_map,
                    home,
                    idle_ns,
                },
                _,
            ) => {
                self.id_map = *id_map;
                self.other_ways.clear();
                self.refresh = Refresh::new(idle_ns);
                self.serve_from(home, now_ns);
                return;
            }
            (Request::Off, _) => {
                self.on = None;
                // No box tells of its sessions any more.
                self.id_map
                    .ids()
                    .for_each(|id| self.tables.signs().set_speaks(id, false));
                self.note_own_sign();
                return;
            }
            (Request::On { name, socket, keys }, _) => {
                let mut channel = Channel::new(&name, new_epoch(), keys, now_ns);
                // It has no peers yet whom to tell.
                let _ = channel.set_clock(clock::unix_ns(), now_ns);
                let _ = channel.tell_edition(self.edition, now_ns);
                let _ = channel.tell_station(self.station.clone(), now_ns);
                let _ = channel.tell_sessions(self.own.tells(), now_ns);
                let _ = channel.tell_no_listener(self.own.lacks().clone());
                self.on = Some(On {
                    socket,
                    channel,
                    is_joining: false,
                    awaits_ids: false,
                    complaints: Complaints::new(self.learned.flows_no_room),
                    send_failed: 0,
                });
                return;
            }
            (Request::Edition(edition), on) => {
                self.edition = edition;
                match on {
                    Some(on) => on.channel.tell_edition(edition, now_ns),
                    None => return,
                }
            }
            (Request::Station(station), on) => {
                self.station = station.clone();
                match on {
                    Some(on) => on.channel.tell_station(station, now_ns),
                    None => return,
                }
            }
            (Request::Configure { keys, peers }, Some(on)) => {
                on.channel.configure(keys, &peers);
                return;
            }
            (Request::Join, Some(on)) => {
                on.is_joining = true;
                on.channel.join(now_ns)
            }
            (Request::OtherWaysTaken { has_new }, Some(on)) => {
                on.awaits_ids = false;
                match (has_new, on.is_joining) {
                    (false, _) => return,
                    (true, true) => on.channel.join(now_ns),
                    (true, false) => on.channel.ask_for_tables(now_ns),
                }
            }
            (Request::AskForTables, Some(on)) => on.channel.ask_for_tables(now_ns),
            (Request::ChecksSucceed(succeed), Some(on)) => {
                on.channel.tell_checks_succeed(succeed, now_ns)
            }
            (Request::Leave, Some(on)) => on.channel.leave(),
            (Request::EventsLost, Some(on)) => {
                on.channel.note_lost_events();
                return;
            }
            (Request::Weights(backends), Some(on)) => on.channel.tell_weights(&backends, now_ns),
            (Request::Orders(orders), Some(on)) => on.channel.tell_orders(&orders, now_ns),
            (Request::Denials(denials), Some(on)) => on.channel.tell_denials(&denials, now_ns),
            (Request::History { to, message }, Some(on)) => {
                on.channel.queue_history(to, &message, now_ns);
                return;
            }
            (Request::End, _) | (_, None) => return,
        };
        self.perform(outputs);
    }
}

/// Nanoseconds since 1970 differ from start to start, even where the clock is set back in between.
fn new_epoch() -> Epoch {
    Epoch(NonZeroU64::new(clock::unix_ns()).unwrap_or(NonZeroU64::MIN))
}
