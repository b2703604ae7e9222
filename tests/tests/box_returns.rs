//! Boxes that were cut off and come back, and ways that fail in one direction only, over all ways of
//! forwarding and both families. `box_death` has the others.
use std::time::Duration;

use lbd_tests::{
    box_death::{CASE, Case, Who},
    box_deaths,
    lab::Cut,
};

const SECOND: Option<Duration> = Some(Duration::from_secs(1));
const TEN: Option<Duration> = Some(Duration::from_secs(10));
const MINUTE: Option<Duration> = Some(Duration::from_mins(1));

/// Two directors before two mail servers.
const TRANSLATED: Case = Case {
    nodes: 4,
    directors: 2,
    forwarding: "nat",
    adverts: "200ms",
    ..CASE
};

const THREE: Case = Case {
    nodes: 3,
    adverts: "200ms",
    ..CASE
};

const TWO: Case = Case {
    adverts: "200ms",
    ..CASE
};

/// Mail servers that run no lbd.
const FOREIGN: Case = Case {
    nodes: 4,
    directors: 2,
    foreign: true,
    who: Who::Backend,
    ..TWO
};

box_deaths! {
    // Back after a second.

    #[ignore = "by name: one of its kind runs always"]
    a_tunnelled_master_of_three_is_back_after_a_second_in_ipv6: Case {
        forwarding: "ipip",
        ipv6: true,
        away: SECOND,
        ..THREE
    };

    #[ignore = "by name: one of its kind runs always"]
    a_master_of_three_is_back_after_a_second: Case { away: SECOND, ..THREE };

    #[ignore = "by name: one of its kind runs always"]
    a_backup_of_three_is_back_after_a_second_in_ipv6: Case {
        who: Who::Backup,
        ipv6: true,
        away: SECOND,
        ..THREE
    };

    #[ignore = "by name: one of its kind runs always"]
    a_translating_master_is_back_after_a_second: Case { away: SECOND, ..TRANSLATED };

    #[ignore = "by name: one of its kind runs always"]
    a_translated_backend_is_back_after_a_second_in_ipv6: Case {
        who: Who::Backend,
        ipv6: true,
        away: SECOND,
        ..TRANSLATED
    };

    // After ten.

    #[ignore = "by name: one of its kind runs always"]
    a_translating_master_is_back_after_ten_seconds_in_ipv6: Case {
        ipv6: true,
        away: TEN,
        ..TRANSLATED
    };

    #[ignore = "by name: one of its kind runs always"]
    a_translated_backend_is_back_after_ten_seconds: Case {
        who: Who::Backend,
        away: TEN,
        ..TRANSLATED
    };

    #[ignore = "by name: one of its kind runs always"]
    a_tunnelled_master_of_two_is_back_after_ten_seconds: Case {
        forwarding: "ipip",
        away: TEN,
        ..TWO
    };

    #[ignore = "by name: one of its kind runs always"]
    a_tunnelled_backup_of_three_is_back_after_ten_seconds_in_ipv6: Case {
        forwarding: "ipip",
        ipv6: true,
        who: Who::Backup,
        away: TEN,
        ..THREE
    };

    // After a minute, in which the verdict of death falls.

    #[ignore = "takes more than a minute"]
    a_backup_of_two_is_back_after_a_minute: Case { who: Who::Backup, away: MINUTE, ..CASE };

    #[ignore = "takes more than a minute"]
    a_tunnelled_master_of_three_is_back_after_a_minute_in_ipv6: Case {
        forwarding: "ipip",
        ipv6: true,
        away: MINUTE,
        ..THREE
    };

    #[ignore = "takes more than a minute"]
    a_translating_master_is_back_after_a_minute: Case { away: MINUTE, ..TRANSLATED };

    #[ignore = "takes more than a minute"]
    a_translated_backend_is_back_after_a_minute_in_ipv6: Case {
        who: Who::Backend,
        ipv6: true,
        away: MINUTE,
        ..TRANSLATED
    };

    // One direction.

    a_master_of_three_that_hears_and_is_not_heard_gets_nothing_new: Case {
        cut: Cut::Outgoing,
        ..THREE
    };

    #[ignore = "by name: others of its kind run always"]
    a_master_of_two_that_hears_and_is_not_heard_gets_nothing_new: Case {
        cut: Cut::Outgoing,
        ..TWO
    };

    #[ignore = "by name: others of its kind run always"]
    a_master_of_two_that_is_heard_and_hears_nothing_gets_nothing_new: Case {
        gateway: true,
        cut: Cut::Incoming,
        ..TWO
    };

    #[ignore = "by name: others of its kind run always"]
    a_backup_of_two_that_hears_and_is_not_heard_gets_nothing_new_in_ipv6: Case {
        who: Who::Backup,
        cut: Cut::Outgoing,
        ipv6: true,
        ..TWO
    };

    #[ignore = "by name: others of its kind run always"]
    a_backup_of_two_that_is_heard_and_hears_nothing_gets_nothing_new: Case {
        who: Who::Backup,
        cut: Cut::Incoming,
        ..TWO
    };

    #[ignore = "by name: others of its kind run always"]
    a_tunnelled_backup_of_three_that_is_heard_and_hears_nothing_gets_nothing_new_in_ipv6: Case {
        forwarding: "ipip",
        ipv6: true,
        who: Who::Backup,
        cut: Cut::Incoming,
        ..THREE
    };

    #[ignore = "by name: others of its kind run always"]
    a_tunnelled_master_of_three_that_hears_and_is_not_heard_gets_nothing_new: Case {
        forwarding: "ipip",
        cut: Cut::Outgoing,
        ..THREE
    };

    #[ignore = "by name: others of its kind run always"]
    a_translating_master_that_hears_and_is_not_heard_loses_nothing: Case {
        cut: Cut::Outgoing,
        ..TRANSLATED
    };

    #[ignore = "by name: others of its kind run always"]
    a_translated_backend_that_hears_and_is_not_heard_gets_nothing_new: Case {
        who: Who::Backend,
        cut: Cut::Outgoing,
        ..TRANSLATED
    };

    #[ignore = "by name: others of its kind run always"]
    a_translated_backend_that_is_heard_and_hears_nothing_gets_nothing_new_in_ipv6: Case {
        who: Who::Backend,
        cut: Cut::Incoming,
        ipv6: true,
        ..TRANSLATED
    };

    #[ignore = "by name: others of its kind run always"]
    a_master_of_three_is_heard_again_after_ten_seconds: Case {
        cut: Cut::Outgoing,
        away: TEN,
        ..THREE
    };

    #[ignore = "by name: others of its kind run always"]
    a_master_of_three_hears_again_after_ten_seconds_in_ipv6: Case {
        cut: Cut::Incoming,
        ipv6: true,
        away: TEN,
        ..THREE
    };

    // Mail servers without lbd: no channel and no word of theirs.

    a_mail_server_without_lbd_that_is_cut_off_gets_nothing_new: FOREIGN;

    #[ignore = "by name: one of its kind runs always"]
    a_mail_server_without_lbd_that_hears_and_is_not_heard_gets_nothing_new_in_ipv6: Case {
        cut: Cut::Outgoing,
        ipv6: true,
        ..FOREIGN
    };

    #[ignore = "by name: one of its kind runs always"]
    a_translated_mail_server_without_lbd_gets_nothing_new: Case { foreign: true, who: Who::Backend, ..TRANSLATED };

    #[ignore = "by name: one of its kind runs always"]
    a_mail_server_without_lbd_is_back_after_ten_seconds: Case { away: TEN, ..FOREIGN };
}
