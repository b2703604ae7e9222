use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use HealthState::{Full, NotServing, Up};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

fn target(address: SocketAddr) -> Target {
    Target {
        backend: "mx1".into(),
        address,
        is_local: false,
        probe: Probe::Smtp(Settings::default()),
        interval: Duration::from_millis(20),
        timeout: Duration::from_mins(1),
        rise: 2,
        fall: 2,
    }
}

/// The next change of a backend's health.
async fn change(told: &mut mpsc::Receiver<Event>) -> Change {
    loop {
        if let Event::Changed(change) = told.recv().await.unwrap() {
            return change;
        }
    }
}

/// A server that gives each connection the next of these banners, the last one for ever, and what
/// the clients said.
async fn serve(banners: &'static [&'static str]) -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = mpsc::channel(100);
    tokio::spawn(async move {
        let last = banners.last().into_iter().cycle();
        for banner in banners.iter().chain(last) {
            let (stream, _) = listener.accept().await.unwrap();
            let commands = talk(stream, banner).await.unwrap_or_default();
            if said.send(commands).await.is_err() {
                return;
            }
        }
    });
    (address, heard)
}

async fn talk(mut stream: TcpStream, banner: &str) -> std::io::Result<Vec<String>> {
    use tokio::io::AsyncWriteExt;
    let mut commands = Vec::new();
    stream.write_all(banner.as_bytes()).await?;
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(10_000)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match line.as_str() {
            "QUIT" => "221 bye\r\n",
            _ => "250-mx\r\n250 SIZE\r\n",
        };
        let over = line == "QUIT";
        commands.push(line);
        write.write_all(answer.as_bytes()).await?;
        if over {
            break;
        }
    }
    Ok(commands)
}

#[test]
fn every_check_leaves_by_quit_and_only_changes_are_told() {
    const GOOD: &str = "220-hello\r\n220 mx ESMTP\r\n";
    const BUSY: &str = "421 too many\r\n";
    const NO: &str = "554 no\r\n";
    block_on(async {
        let script = &[GOOD, GOOD, GOOD, BUSY, BUSY, GOOD, GOOD, NO, GOOD, NO, NO];
        let (address, mut heard) = serve(script).await;
        let (events, mut told) = mpsc::channel::<Event>(100);
        let mut checkers = Checkers::new(events);
        checkers.replace([target(address)]);
        for banner in script {
            let commands = heard.recv().await.unwrap();
            assert_eq!(
                commands.last().map(String::as_str),
                Some("QUIT"),
                "{banner}"
            );
        }
        let mut states = Vec::new();
        while states.len() < 4 {
            let event = change(&mut told).await;
            assert_eq!(event.reason.is_some(), event.state != HealthState::Up);
            states.push(event.state);
        }
        assert_eq!(states, [Up, Full, Up, NotServing]);
        assert!(told.try_recv().is_err(), "nothing else changed");
    });
}

#[test]
fn a_closed_port_is_down_at_once_and_says_where() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (events, mut told) = mpsc::channel::<Event>(100);
        let mut checkers = Checkers::new(events);
        checkers.replace([target(address)]);
        let event = change(&mut told).await;
        assert_eq!(event.state, HealthState::Down);
        let reason = event.reason.unwrap();
        assert!(reason.contains(&address.to_string()), "{reason}");
    });
}

#[test]
fn a_server_that_is_silent_times_out_without_a_word_to_it() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut silent = target(address);
        silent.timeout = Duration::from_millis(200);
        let (verdict, said) = futures_util::future::join(check::check(&silent, |_| {}), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            said
        })
        .await;
        assert!(verdict.to_string().contains("the banner"), "{verdict}");
        assert_eq!(said, b"", "postscreen bans who speaks first");
    });
}

#[test]
fn what_is_not_checked_is_up() {
    block_on(async {
        let (events, mut told) = mpsc::channel::<Event>(100);
        let mut checkers = Checkers::new(events);
        let mut off = target("192.0.2.1:25".parse().unwrap());
        off.probe = Probe::Off;
        checkers.replace([off]);
        let event = change(&mut told).await;
        assert_eq!((event.state, event.reason), (HealthState::Up, None));
    });
}

/// The target that a configuration gives.
fn configured(health: &str, backend: &str) -> Target {
    let text = format!(
        "node: {{name: mx1, interfaces: [eth0]}}\n\
             cluster:\n  virtual_router_id: 51\n  virtual_addresses: [192.0.2.25/24]\n  \
             ports: [587]\n  health: {{{health}}}\n  sites:\n    - name: here\n      \
             backends:\n        - {{name: mx2, address: 192.0.2.12{backend}}}\n"
    );
    let config = Config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors:?}"));
    targets(&config).remove(0)
}

#[test]
fn the_configuration_says_what_to_check() {
    let config = configured;
    let plain = config("", "");
    assert_eq!(plain.address, "192.0.2.12:587".parse().unwrap());
    let Probe::Smtp(settings) = plain.probe else {
        panic!("the dialogue is the default");
    };
    assert_eq!(settings.helo, "mx1");
    assert!(
        settings.timeouts.banner > Duration::from_secs(6),
        "postscreen"
    );

    let nat = config("rise: 4, fall: 5", ", forwarding: nat, port: 2525");
    assert_eq!(nat.address.port(), 2525);
    assert_eq!((nat.rise, nat.fall), (4, 5));
    let own_port = config("port: 2626, check: tcp", ", forwarding: nat, port: 2525");
    assert_eq!(
        (own_port.address.port(), own_port.probe),
        (2626, Probe::Tcp)
    );
    assert_eq!(config("check: off", "").probe, Probe::Off);

    let probing = config(
        "helo: lb.example, starttls: true, recipient: a@b.example",
        "",
    );
    let Probe::Smtp(settings) = probing.probe else {
        panic!("a recipient needs the dialogue");
    };
    assert_eq!(
        (settings.helo.as_str(), settings.tls),
        ("lb.example", Tls::StartTls)
    );
    let envelope = Envelope {
        from: String::new(),
        to: "a@b.example".into(),
    };
    assert_eq!(settings.probe, Some(envelope));
}

#[test]
fn tls_follows_from_the_port_unless_it_is_named() {
    for (health, expected) in [
        ("", Tls::Off),
        ("port: 465", Tls::Implicit),
        ("port: 465, starttls: true", Tls::StartTls),
        ("port: 465, tls: off", Tls::Off),
        ("tls: implicit", Tls::Implicit),
        ("tls: starttls", Tls::StartTls),
        ("tls: null, port: 465", Tls::Implicit),
    ] {
        let Probe::Smtp(settings) = configured(health, "").probe else {
            panic!("the dialogue is the default");
        };
        assert_eq!(settings.tls, expected, "{health}");
    }
}

/// A server that answers one visitor in TLS, by STARTTLS or at once, and says what it was told within.
async fn secured_server(listener: TcpListener, tls: Tls) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    if tls == Tls::StartTls {
        let mut commands = BufReader::new(&mut stream);
        for answer in ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            commands
                .get_mut()
                .write_all(answer.as_bytes())
                .await
                .unwrap();
            if answer != "220 go\r\n" {
                commands.read_line(&mut String::new()).await.unwrap();
            }
        }
    }
    let Ok(stream) = super::super::tls::tests::acceptor().accept(stream).await else {
        return "no handshake".to_owned();
    };
    let mut commands = BufReader::new(stream);
    let mut said = String::new();
    if tls == Tls::Implicit {
        for answer in ["220 mx\r\n", "250 mx\r\n"] {
            commands
                .get_mut()
                .write_all(answer.as_bytes())
                .await
                .unwrap();
            commands.read_line(&mut said).await.unwrap();
        }
    } else {
        commands.read_line(&mut said).await.unwrap();
    }
    commands.get_mut().write_all(b"221 bye\r\n").await.unwrap();
    // An end without close_notify would be an error here.
    commands.read_line(&mut said).await.unwrap();
    said
}

#[test]
fn a_check_does_a_whole_handshake_and_leaves_by_quit_within_it() {
    for (tls, expected) in [
        (Tls::Implicit, "EHLO localhost\r\nQUIT\r\n"),
        (Tls::StartTls, "QUIT\r\n"),
    ] {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut secured = target(listener.local_addr().unwrap());
            secured.probe = Probe::Smtp(Settings {
                tls,
                ..Settings::default()
            });
            let check = check::check(&secured, |_| {});
            let server = secured_server(listener, tls);
            let (verdict, said) = futures_util::future::join(check, server).await;
            assert_eq!(verdict, Verdict::Up, "{tls:?}");
            assert_eq!(said, expected, "{tls:?}");
        });
    }
}

#[test]
fn a_server_that_speaks_no_tls_where_it_should_does_not_serve() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clear = target(listener.local_addr().unwrap());
        clear.probe = Probe::Smtp(Settings {
            tls: Tls::Implicit,
            ..Settings::default()
        });
        let (verdict, ()) = futures_util::future::join(check::check(&clear, |_| {}), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mx ESMTP\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        assert!(matches!(&verdict, Verdict::NotServing(_)), "{verdict:?}");
        assert!(verdict.to_string().contains("TLS handshake"), "{verdict}");
    });
}
