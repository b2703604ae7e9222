//! Any answers in an SMTP health check, in pieces of any length. The first byte chooses what is asked.
//! It ends with a verdict for any server, and never with a command of two lines.
#![no_main]
use lbd::smtp::{Action, Dialogue, Envelope, Settings, Tls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut answers)) = input.split_first() else {
        return;
    };
    let probe = (choice & 2 != 0).then(|| Envelope {
        from: String::new(),
        to: "postmaster@example.com".to_owned(),
    });
    let mut dialogue = Dialogue::new(Settings {
        tls: [Tls::Off, Tls::StartTls, Tls::Implicit][usize::from(choice & 1) + usize::from(choice & 5 == 5)],
        probe,
        ..Settings::default()
    });
    let piece = usize::from(choice >> 2).max(1);
    // Bounded by what the server says: each turn either sends, takes some of it, or ends.
    for _ in 0..input.len() + 64 {
        match dialogue.next_action() {
            Action::Send(bytes) => {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                assert!(lines == 1 && bytes.ends_with(b"\r\n"), "{bytes:?}");
            }
            Action::Handshake { .. } => dialogue.secured(),
            Action::Read { .. } if answers.is_empty() => dialogue.closed(),
            Action::Read { .. } => {
                let (now, later) = answers.split_at(piece.min(answers.len()));
                dialogue.feed(now);
                answers = later;
            }
            Action::Done(_) => return,
        }
    }
    panic!("no verdict after all that the server said");
});
