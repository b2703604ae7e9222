use proptest::prelude::*;

use super::*;

const BANNER: &str = "220 mx ESMTP\r\n";
const EHLO: &str = "250-mx\r\n250-STARTTLS\r\n250 SIZE 10240000\r\n";

fn probing() -> Settings {
    Settings {
        helo: "lb.example".into(),
        tls: Tls::StartTls,
        probe: Some(Envelope {
            from: String::new(),
            to: "postmaster@example.com".into(),
        }),
        ..Settings::default()
    }
}

/// What the server does when the dialogue reads.
#[derive(Clone, Copy, Debug)]
enum Server<'a> {
    Says(&'a str),
    /// Does the handshake of TLS.
    Secures,
    Closes,
    IsSilent,
}
use Server::{Closes, IsSilent, Says, Secures};

/// Runs a dialogue against a script; gives the commands that were sent and the verdict. The script's
/// end is an orderly close.
fn run(settings: Settings, script: &[Server<'_>]) -> (Vec<String>, Verdict) {
    let mut dialogue = Dialogue::new(settings);
    let mut script = script.iter();
    let mut sent = Vec::new();
    for _ in 0..100 {
        match dialogue.next_action() {
            Action::Send(bytes) => {
                let line = String::from_utf8(bytes).unwrap();
                sent.push(line.strip_suffix("\r\n").unwrap().to_owned());
            }
            Action::Handshake { .. } => match script.next() {
                Some(Secures) => dialogue.secured(),
                Some(IsSilent) => dialogue.timed_out(),
                Some(Says(_) | Closes) | None => dialogue.tls_failed("no handshake"),
            },
            Action::Read { .. } => match script.next() {
                Some(Secures) => panic!("a handshake that was not asked for: {sent:?}"),
                Some(Says(text)) => dialogue.feed(text.as_bytes()),
                Some(IsSilent) => dialogue.timed_out(),
                Some(Closes) | None => dialogue.closed(),
            },
            Action::Done(verdict) => return (sent, verdict),
        }
    }
    panic!("the dialogue does not end: {sent:?}");
}

fn full(stage: Stage, code: u16, text: &str) -> Verdict {
    let text = text.to_owned();
    Verdict::Full { stage, code, text }
}

fn refused(stage: Stage, code: u16, text: &str) -> Verdict {
    let text = text.to_owned();
    Verdict::NotServing(Reason::Refused { stage, code, text })
}

#[test]
fn a_healthy_server_is_greeted_and_left_politely() {
    let (sent, verdict) = run(
        Settings::default(),
        &[Says(BANNER), Says(EHLO), Says("221 bye\r\n")],
    );
    assert_eq!(sent, ["EHLO localhost", "QUIT"]);
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn a_probe_resets_and_never_sends_data() {
    let ok = Says("250 ok\r\n");
    let (sent, verdict) = run(
        probing(),
        &[
            Says(BANNER),
            Says(EHLO),
            ok,
            ok,
            ok,
            // What follows in clear is no answer to anything (RFC 3207, section 6).
            Says("220 go\r\n554 injected\r\n"),
            Secures,
            Says("221 bye\r\n"),
        ],
    );
    assert_eq!(
        sent,
        [
            "EHLO lb.example",
            "MAIL FROM:<>",
            "RCPT TO:<postmaster@example.com>",
            "RSET",
            "STARTTLS",
            "QUIT",
        ]
    );
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn a_server_that_offers_starttls_and_refuses_it_does_not_serve() {
    let asking = Settings {
        tls: Tls::StartTls,
        ..Settings::default()
    };
    let refusal = "454 4.7.0 TLS not available due to local problem";
    let down = |code, text| refused(Stage::StartTls, code, text);
    let table = [
        (refusal, down(454, &refusal[4..])),
        ("502 not implemented", down(502, "not implemented")),
        ("250 ok", down(250, "ok")),
        ("421 too busy", full(Stage::StartTls, 421, "too busy")),
    ];
    for (answer, expected) in table {
        let line = format!("{answer}\r\n");
        let script = [Says(BANNER), Says(EHLO), Says(&line), Says("221 bye\r\n")];
        let (sent, verdict) = run(asking.clone(), &script);
        assert_eq!(verdict, expected, "{answer}");
        assert_eq!(sent, ["EHLO localhost", "STARTTLS", "QUIT"], "{answer}");
    }
    // After a probe that it took, too.
    let ok = Says("250 ok\r\n");
    let line = format!("{refusal}\r\n");
    let script = [Says(BANNER), Says(EHLO), ok, ok, ok, Says(&line)];
    let (sent, verdict) = run(probing(), &script);
    assert_eq!(verdict, down(454, &refusal[4..]));
    assert_eq!(sent.last().unwrap(), "QUIT");
    let silent = [Says(BANNER), Says(EHLO), ok, ok, ok, IsSilent];
    let (_, verdict) = run(probing(), &silent);
    assert!(
        matches!(verdict, Verdict::NotServing(Reason::TimedOut { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_server_whose_handshake_fails_does_not_serve() {
    let asking = |tls| Settings {
        tls,
        ..Settings::default()
    };
    let failed = Verdict::NotServing(Reason::Tls("no handshake".to_owned()));
    let after_starttls = [Says(BANNER), Says(EHLO), Says("220 go\r\n"), Closes];
    let (sent, verdict) = run(asking(Tls::StartTls), &after_starttls);
    assert_eq!(
        (sent.last().unwrap().as_str(), &verdict),
        ("STARTTLS", &failed)
    );
    // A plain server where TLS is spoken first: its banner is no handshake.
    let (sent, verdict) = run(asking(Tls::Implicit), &[Says(BANNER)]);
    assert_eq!((sent.len(), verdict), (0, failed));
    let (_, verdict) = run(asking(Tls::Implicit), &[IsSilent]);
    let in_time = |verdict: &Verdict| {
        matches!(
            verdict,
            Verdict::NotServing(Reason::TimedOut {
                stage: Stage::Tls,
                ..
            })
        )
    };
    assert!(in_time(&verdict), "{verdict:?}");
}

#[test]
fn implicit_tls_comes_before_the_banner() {
    let settings = Settings {
        tls: Tls::Implicit,
        ..Settings::default()
    };
    let script = [
        Secures,
        Says(BANNER),
        Says("250 mx\r\n"),
        Says("221 bye\r\n"),
    ];
    let (sent, verdict) = run(settings, &script);
    assert_eq!(sent, ["EHLO localhost", "QUIT"]);
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn a_multiline_banner_may_come_in_pieces() {
    // Postscreen's teaser, six seconds before the rest.
    let script = [
        Says("220-mx.example ES"),
        Says("MTP\r\n"),
        Says("220 mx.example ESMTP\r"),
        Says("\n"),
        Says("250 mx\r\n"),
        Says("221 bye\r\n"),
    ];
    let (sent, verdict) = run(Settings::default(), &script);
    assert_eq!(sent, ["EHLO localhost", "QUIT"]);
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn the_default_patience_outlasts_postscreen() {
    let mut dialogue = Dialogue::new(Settings::default());
    let Action::Read { within } = dialogue.next_action() else {
        panic!("it must wait for the banner first");
    };
    assert!(within > Duration::from_secs(6));
}

#[test]
fn four_hundreds_are_full_and_the_rest_does_not_serve() {
    let table: &[(&[Server<'_>], Verdict)] = &[
        (
            &[Says("421 too busy\r\n")],
            full(Stage::Banner, 421, "too busy"),
        ),
        (
            &[Says("220-mx\r\n"), Says("450 later\r\n")],
            full(Stage::Banner, 450, "later"),
        ),
        (
            &[Says(BANNER), Says("451 no\r\n")],
            full(Stage::Ehlo, 451, "no"),
        ),
        (
            &[Says(BANNER), Says(EHLO), Says("452 disk\r\n")],
            full(Stage::Mail, 452, "disk"),
        ),
        (
            &[
                Says(BANNER),
                Says(EHLO),
                Says("250 ok\r\n"),
                Says("450 grey\r\n"),
                Says("250 reset\r\n"),
            ],
            full(Stage::Rcpt, 450, "grey"),
        ),
        (
            &[Says("554 no service\r\n")],
            refused(Stage::Banner, 554, "no service"),
        ),
        (&[Says("250 odd\r\n")], refused(Stage::Banner, 250, "odd")),
        (
            &[Says(BANNER), Says(EHLO), Says("354 go\r\n")],
            refused(Stage::Mail, 354, "go"),
        ),
        (
            &[
                Says(BANNER),
                Says(EHLO),
                Says("250 ok\r\n"),
                Says("550 who\r\n"),
                Says("250 reset\r\n"),
            ],
            refused(Stage::Rcpt, 550, "who"),
        ),
        (
            &[Says(BANNER), Says("250 mx\r\n")],
            Verdict::NotServing(Reason::NoStartTls),
        ),
    ];
    for (script, expected) in table {
        let (sent, verdict) = run(probing(), script);
        assert_eq!(verdict, *expected, "{script:?}");
        assert_eq!(sent.last().unwrap(), "QUIT", "{script:?}");
    }
}

#[test]
fn what_goes_wrong_is_said_with_its_stage() {
    let closed = |stage| Verdict::NotServing(Reason::Closed { stage });
    let table: &[(&[Server<'_>], Verdict, usize)] = &[
        (&[Closes], closed(Stage::Banner), 0),
        (&[Says("220"), Closes], closed(Stage::Banner), 0),
        (&[Says(BANNER), Closes], closed(Stage::Ehlo), 1),
        (
            &[IsSilent],
            Verdict::NotServing(Reason::TimedOut {
                stage: Stage::Banner,
                after: Duration::from_secs(10),
            }),
            // Nothing may be sent before the banner.
            0,
        ),
        (
            &[Says(BANNER), IsSilent, IsSilent],
            Verdict::NotServing(Reason::TimedOut {
                stage: Stage::Ehlo,
                after: Duration::from_secs(10),
            }),
            2,
        ),
        (
            &[Says("SSH-2.0-x\r\n")],
            Verdict::NotServing(Reason::Malformed {
                stage: Stage::Banner,
                what: "no reply code in \"SSH-2.0-x\"".into(),
            }),
            1,
        ),
    ];
    for (script, expected, sends) in table {
        let (sent, verdict) = run(Settings::default(), script);
        assert_eq!(verdict, *expected, "{script:?}");
        assert_eq!(sent.len(), *sends, "{script:?}: {sent:?}");
    }
}

#[test]
fn what_happens_at_quit_changes_no_verdict() {
    for last in [Closes, IsSilent, Says("500 what?\r\n"), Says("rubbish\r\n")] {
        let (_, verdict) = run(Settings::default(), &[Says(BANNER), Says(EHLO), last]);
        assert_eq!(verdict, Verdict::Up, "{last:?}");
    }
}

#[test]
fn a_server_without_ehlo_is_asked_by_helo() {
    let script = [
        Says(BANNER),
        Says("502 unknown\r\n"),
        Says("250 mx\r\n"),
        Says("221 bye\r\n"),
    ];
    let (sent, verdict) = run(Settings::default(), &script);
    assert_eq!(sent, ["EHLO localhost", "HELO localhost", "QUIT"]);
    assert_eq!(verdict, Verdict::Up);
    let refuses_both = [Says(BANNER), Says("502 a\r\n"), Says("502 b\r\n")];
    let (_, verdict) = run(Settings::default(), &refuses_both);
    assert_eq!(verdict, refused(Stage::Ehlo, 502, "b"));
}

#[test]
fn a_configured_name_cannot_smuggle_a_command() {
    let settings = Settings {
        helo: "a\r\nDATA".into(),
        ..Settings::default()
    };
    let (sent, _) = run(settings, &[Says(BANNER), Says(EHLO)]);
    assert_eq!(sent, ["EHLO aDATA", "QUIT"]);
}

proptest! {
    #[test]
    fn no_server_keeps_it_talking_or_hears_quit_twice(
        chunks in proptest::collection::vec(
            "(2[0-9]{2}|250|220|421|5[0-9]{2}|[a-z]{0,3})[- ]?[a-z]{0,4}(\r\n)?",
            0..12,
        ),
    ) {
        let script: Vec<_> = chunks.iter().map(|chunk| Says(chunk)).collect();
        let (sent, _) = run(probing(), &script);
        prop_assert!(sent.len() <= 7, "{:?}", sent);
        prop_assert!(sent.iter().all(|line| !line.starts_with("DATA")));
        let quits = sent.iter().filter(|line| *line == "QUIT").count();
        prop_assert!(quits <= 1);
    }

    #[test]
    fn no_bytes_panic(chunks: Vec<Vec<u8>>) {
        let mut dialogue = Dialogue::new(probing());
        for chunk in chunks {
            let _ = dialogue.next_action();
            dialogue.feed(&chunk);
        }
        dialogue.closed();
        prop_assert!(matches!(dialogue.next_action(), Action::Done(_)));
    }
}
