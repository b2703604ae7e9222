use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::stats::{AgentState, Figure, Figures};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}

/// What a server does with a connection.
#[derive(Clone, Debug)]
enum Server {
    /// Writes this at once, and closes.
    Writes(&'static str),
    /// Reads a request, writes this, and closes.
    Answers(String),
    /// Reads a request, writes the first, then the second over and over.
    AnswersForEver(&'static str, &'static str),
    /// Reads a request, then writes a byte of this at a time, over and over, with pauses.
    AnswersByDrops(&'static str),
    /// The same without a request.
    Drips(&'static str),
    /// Accepts, reads, says nothing.
    IsSilent,
}

async fn serve(server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream, server.clone()));
        }
    });
    address
}

async fn handle(mut stream: TcpStream, server: Server) -> std::io::Result<()> {
    match server {
        Server::Writes(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            stream.shutdown().await?;
        }
        Server::Answers(text) => {
            request(&mut stream).await?;
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await?;
        }
        Server::AnswersForEver(first, second) => {
            request(&mut stream).await?;
            stream.write_all(first.as_bytes()).await?;
            let block = second.repeat(1000);
            loop {
                stream.write_all(block.as_bytes()).await?;
            }
        }
        Server::AnswersByDrops(text) => {
            request(&mut stream).await?;
            return drip(&mut stream, text).await;
        }
        Server::Drips(text) => return drip(&mut stream, text).await,
        Server::IsSilent => {}
    }
    // Until the poller goes away.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn drip(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    for byte in text.bytes().cycle() {
        stream.write_all(&[byte]).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    Ok(())
}

fn http(body: &str) -> Server {
    let length = body.len();
    Server::Answers(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn target(source: Source, timeout_ms: u64) -> Target {
    Target {
        backend: "mx1".into(),
        source,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(timeout_ms),
    }
}

fn page(url: &str) -> http::Page {
    let url = url.parse().unwrap();
    http::Page { url, roots: None }
}

fn lbd(address: SocketAddr) -> Source {
    Source::Lbd(page(&format!("http://{address}/stats")))
}

async fn once(target: Target) -> Result<Sample, &'static str> {
    let answer = poll(&target, &mut agent_check::Memory::default()).await;
    answer.map_err(|error| error.kind())
}

fn own_answer(node: &str, queued: &str) -> Server {
    http(&format!(
        r#"{{"node":"{node}","time_unix_ms":1,"queued":{queued}}}"#
    ))
}

#[test]
fn each_way_to_answer_badly_has_its_kind() {
    block_on(async {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let not_found = Server::Answers("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".to_owned());
        let table = [
            (own_answer("mx2", "1"), "wrong_node"),
            (own_answer("mx1", "-1"), "negative"),
            (own_answer("mx1", "NaN"), "malformed"),
            (own_answer("mx1", "1e15"), "too_large"),
            (http(""), "empty"),
            (http("\u{1}garbage"), "malformed"),
            (not_found, "status"),
            (Server::Answers(String::new()), "broken"),
            (Server::Writes("SSH-2.0-x\r\n"), "broken"),
            (
                Server::AnswersForEver("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
                "broken",
            ),
            (
                Server::AnswersForEver(head, "8\r\n12345678\r\n"),
                "too_long",
            ),
        ];
        for (server, kind) in table {
            let what = format!("{server:?}");
            let source = lbd(serve(server).await);
            let answer = once(target(source, 60_000)).await;
            assert_eq!(answer, Err(kind), "{what}");
        }
        for server in [Server::IsSilent, Server::AnswersByDrops(head)] {
            let source = lbd(serve(server).await);
            assert_eq!(once(target(source, 300)).await, Err("timed_out"));
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        assert_eq!(once(target(lbd(address), 60_000)).await, Err("connect"));
    });
}

#[test]
fn each_source_gives_a_sample() {
    block_on(async {
        let queued = |n| Sample {
            queued: Some(n),
            ..Sample::default()
        };
        let mut own = once(target(lbd(serve(own_answer("mx1", "1")).await), 60_000)).await;
        if let Ok(sample) = &mut own {
            sample.age_ms = 0;
        }
        assert_eq!(own, Ok(queued(1)));

        let at = |address: SocketAddr| page(&format!("http://{address}/"));
        let pointer = http_json::Pointer::new("/q").unwrap();
        let source = Source::HttpJson {
            page: at(serve(http(r#"{"q": 2}"#)).await),
            pointers: Figures::new([(Figure::Queued, pointer)]),
        };
        assert_eq!(once(target(source, 60_000)).await, Ok(queued(2)));

        let source = Source::Prometheus {
            page: at(serve(http("q{a=\"1\"} 1\nq{a=\"2\"} 2\n")).await),
            selectors: Figures::new([(Figure::Queued, "q".parse().unwrap())]),
        };
        assert_eq!(once(target(source, 60_000)).await, Ok(queued(3)));

        let line = Server::Writes("drain 50%\n");
        let source = Source::AgentCheck(serve(line).await);
        let sample = once(target(source, 60_000)).await.unwrap();
        assert_eq!(sample.state, AgentState::Drain);

        // The line is complete at its end: no waiting for the agent to close.
        let source = Source::AgentCheck(serve(Server::Drips("up\n")).await);
        let sample = once(target(source, 60_000)).await.unwrap();
        assert_eq!(sample.state, AgentState::Up);
    });
}

#[test]
fn figures_by_https_come_from_whom_the_file_of_certificates_knows() {
    use crate::daemon::steering::tls::{
        Roots,
        tests::{AUTHORITY, PEM, SIGNED, acceptor_with},
    };
    let folder = tempfile::tempdir().unwrap();
    let roots = |name: &str, pem: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, pem).unwrap();
        Some(Roots::read(&file).unwrap())
    };
    let (right, other) = (roots("right", AUTHORITY), roots("other", PEM));
    assert_eq!(right, roots("again", AUTHORITY));
    assert_ne!(right, other);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // An address that the certificate does not have.
        let elsewhere = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    accepted = elsewhere.accept() => accepted.unwrap(),
                };
                tokio::spawn(async move {
                    let mut stream = acceptor_with(SIGNED).accept(stream).await?;
                    let _ = stream.read(&mut [0; 1024]).await?;
                    let Server::Answers(text) = http("q 7\n") else {
                        unreachable!("it answers");
                    };
                    stream.write_all(text.as_bytes()).await?;
                    stream.shutdown().await
                });
            }
        });
        let ask = async |host: &str, roots: Option<Roots>| {
            let url = format!("https://{host}:{port}/").parse().unwrap();
            let source = Source::Prometheus {
                page: http::Page { url, roots },
                selectors: Figures::new([(Figure::Queued, "q".parse().unwrap())]),
            };
            once(target(source, 60_000)).await
        };
        for host in ["localhost", "127.0.0.1"] {
            let sample = ask(host, right.clone()).await.unwrap();
            assert_eq!(sample.queued, Some(7), "{host}");
        }
        // Signed by another, or of another name.
        assert_eq!(ask("localhost", other.clone()).await, Err("tls"));
        assert_eq!(ask("127.0.0.2", right.clone()).await, Err("tls"));
    });
}

fn shell(script: &str) -> Source {
    let words = ["/bin/sh", "-c", script];
    Source::Command(words.map(str::to_owned).to_vec())
}

#[test]
fn a_command_is_bounded_in_every_way() {
    block_on(async {
        let table = [
            (shell("echo queued=4"), Ok(Some(4))),
            (shell("echo queued=4; exit 1"), Err("command")),
            (shell("kill -9 $$"), Err("command")),
            (shell("yes"), Err("too_long")),
            (shell("true"), Err("empty")),
            (Source::Command(vec!["/nonexistent".into()]), Err("command")),
            (Source::Command(Vec::new()), Err("command")),
        ];
        for (source, expected) in table {
            let what = format!("{source:?}");
            let answer = once(target(source, 60_000)).await;
            assert_eq!(answer.map(|sample| sample.queued), expected, "{what}");
        }
    });
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("children");
    block_on(async {
        // The child outlives its parent shell unless the whole group is killed.
        let script = format!(
            "sleep 3600 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let polling = tokio::spawn(once(target(shell(&script), 60_000)));
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        polling.abort();
        assert!(polling.await.unwrap_err().is_cancelled());
    });
    let child = std::fs::read_to_string(&file).unwrap();
    // Gone, or a zombie until it is reaped.
    let stat = format!("/proc/{}/stat", child.trim());
    while let Ok(stat) = std::fs::read_to_string(&stat) {
        if stat.contains(") Z ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_silent_source_delays_no_other_and_every_failure_is_counted_once() {
    block_on(async {
        let (events, mut received) = mpsc::channel::<Event>(1000);
        let mut pollers = Pollers::new(events);
        let silent = serve(Server::IsSilent).await;
        let wrong = serve(own_answer("mx9", "1")).await;
        let good = serve(own_answer("good", "7")).await;
        let named = |backend: &str, address, timeout_ms| Target {
            backend: backend.to_owned(),
            ..target(lbd(address), timeout_ms)
        };
        let mut targets = vec![named("wrong", wrong, 60_000), named("good", good, 60_000)];
        targets.extend((0..50).map(|n| named(&format!("silent{n}"), silent, 3_600_000)));
        pollers.replace(targets);

        let (mut answers, mut refusals) = (0, 0);
        while answers < 3 || refusals < 3 {
            let event = received.recv().await.unwrap();
            match (event.backend.as_str(), event.result) {
                ("good", Ok(sample)) => {
                    assert_eq!(sample.queued, Some(7));
                    answers += 1;
                }
                ("wrong", Err(error)) => {
                    assert!(error.to_string().contains("mx9"), "{error}");
                    refusals += 1;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        // No backend is asked any more; what was found before may still be on its way.
        pollers.replace([]);
        tokio::task::yield_now().await;
        while let Ok(event) = received.try_recv() {
            refusals += u64::from(event.result.is_err());
        }
        let failures = pollers.failures();
        let counted = failures[&("wrong".to_owned(), "wrong_node")];
        // A task may be stopped between counting and sending.
        assert!((refusals..=refusals + 1).contains(&counted), "{failures:?}");
        assert_eq!(failures.len(), 1, "{failures:?}");
    });
}

/// Gives a figure only without capabilities, and without a way to gain any.
const NO_CAPABILITIES: &str = "\
    if grep -qE '^Cap(Inh|Prm|Eff|Amb):.*[1-9a-f]' /proc/self/status; then echo caps; exit 1; fi; \
    grep -q '^NoNewPrivs:.*1' /proc/self/status && echo queued=1";

#[test]
fn a_command_has_no_capability_and_gains_none() {
    block_on(async {
        let target = target(shell(NO_CAPABILITIES), 60_000);
        assert_eq!(once(target).await.map(|sample| sample.queued), Ok(Some(1)));
    });
}

/// The processes whose command line has this word.
fn running(word: &str) -> Vec<String> {
    let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(word)).collect()
}

#[test]
fn what_leaves_a_commands_session_ends_with_it() {
    // In a session of its own, orphaned twice, with nothing of the command's left open.
    let leave = |seconds: &str| {
        format!("setsid sh -c 'sleep {seconds} </dev/null >/dev/null 2>&1 &' </dev/null >/dev/null")
    };
    block_on(async {
        for (script, expected) in [
            (format!("{}; sleep 60", leave("7391.25")), "timed_out"),
            (format!("{}; exit 3", leave("7391.25")), "command"),
        ] {
            let answer =
                tokio::time::timeout(Duration::from_mins(1), once(target(shell(&script), 500)));
            assert_eq!(answer.await.unwrap().unwrap_err(), expected, "{script}");
            let mut left = running("7391.25");
            for _ in 0..200 {
                if left.is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                left = running("7391.25");
            }
            assert!(left.is_empty(), "{script}: {left:?}");
        }
    });
}
