//! Boxes that are cut off beyond their carrier while they are directors and backends at once: not the
//! daemon dies, the box does, and comes back as it was. `box_returns` has more of them.
//!
//! Each test has a lab of its own and waits for most of its time, so that several may run at a time.
use std::time::Duration;

use lbd_tests::{
    box_death::{CASE, Case, Who},
    box_deaths,
    lab::Cut,
};

box_deaths! {
    a_master_of_two_that_is_cut_off_gets_nothing_new: CASE;

    a_backup_of_two_that_is_cut_off_gets_nothing_new: Case {
        who: Who::Backup,
        ..CASE
    };

    fast_adverts_replace_a_master_of_three_at_once: Case {
        nodes: 3,
        adverts: "100ms",
        ..CASE
    };

    a_tunnelled_backup_of_three_gets_nothing_new_in_ipv6: Case {
        nodes: 3,
        who: Who::Backup,
        forwarding: "ipip",
        ipv6: true,
        ..CASE
    };

    #[ignore = "takes half a minute"]
    a_master_of_two_gets_nothing_new_in_ipv6: Case { ipv6: true, ..CASE };

    a_translating_master_that_is_cut_off_loses_nothing: Case {
        nodes: 4,
        directors: 2,
        forwarding: "nat",
        ..CASE
    };

    #[ignore = "a quarter of a minute; another of its kind runs always"]
    a_translated_backend_that_is_cut_off_gets_nothing_new: Case {
        nodes: 4,
        directors: 2,
        who: Who::Backend,
        forwarding: "nat",
        ..CASE
    };

    a_backup_that_hears_and_is_not_heard_gets_nothing_new: Case {
        nodes: 3,
        who: Who::Backup,
        cut: Cut::Outgoing,
        adverts: "200ms",
        ..CASE
    };

    a_backup_that_is_heard_and_hears_nothing_gets_nothing_new: Case {
        nodes: 3,
        who: Who::Backup,
        cut: Cut::Incoming,
        adverts: "200ms",
        ..CASE
    };

    a_master_that_is_heard_and_hears_nothing_gets_nothing_new: Case {
        nodes: 3,
        cut: Cut::Incoming,
        adverts: "200ms",
        ..CASE
    };

    #[ignore = "a quarter of a minute; another of its kind runs always"]
    a_backup_that_returns_after_a_second_costs_no_session: Case {
        who: Who::Backup,
        adverts: "200ms",
        away: Some(Duration::from_secs(1)),
        ..CASE
    };

    a_master_that_returns_after_a_second_costs_no_session: Case {
        adverts: "200ms",
        away: Some(Duration::from_secs(1)),
        ..CASE
    };

    #[ignore = "takes half a minute"]
    a_backup_that_returns_after_ten_seconds_costs_no_session: Case {
        who: Who::Backup,
        adverts: "200ms",
        away: Some(Duration::from_secs(10)),
        ..CASE
    };

    #[ignore = "takes half a minute"]
    a_master_that_returns_after_ten_seconds_costs_no_session: Case {
        adverts: "200ms",
        away: Some(Duration::from_secs(10)),
        ..CASE
    };

    #[ignore = "takes two minutes; the verdict of death falls meanwhile"]
    a_master_that_returns_after_a_minute_costs_no_session: Case {
        away: Some(Duration::from_mins(1)),
        ..CASE
    };

    #[ignore = "takes a minute"]
    a_thousand_sessions_survive_the_return_of_a_master: Case {
        adverts: "200ms",
        away: Some(Duration::from_secs(15)),
        held: 1_000,
        ..CASE
    };
}
