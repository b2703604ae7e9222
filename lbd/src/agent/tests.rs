use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::stats::{Figure, Figures, agent_check, own_json, prometheus};

fn config(port: u16) -> AgentConfig {
    AgentConfig {
        node: "mx1".into(),
        ports: vec![port],
        spools: Choice::None,
        vips: Vec::new(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

async fn serving() -> (SocketAddr, SocketAddr) {
    let agent = Agent::new(config(1));
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = (http.local_addr().unwrap(), line.local_addr().unwrap());
    tokio::spawn(serve(http, router(agent.clone())));
    tokio::spawn(serve_agent_check(line, agent, DEFAULT_QUEUE_HALF));
    addresses
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = exchange(address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn every_format_is_served_and_read_back() {
    block_on(async {
        let (http, line) = serving().await;

        let (head, body) = get(http, "/stats").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let sample = own_json::parse(body.as_bytes(), "mx1").unwrap();
        // Nothing listens on this port: on a machine with containers they might have the sessions.
        let sessions = (!may_translate()).then_some(0);
        assert_eq!((sample.queued, sample.sessions), (Some(0), sessions));
        assert!(own_json::parse(body.as_bytes(), "mx2").is_err());

        let (_, body) = get(http, "/metrics").await;
        let queued = "lbd_agent_queued_messages".parse().unwrap();
        let selectors = Figures::new([(Figure::Queued, queued)]);
        let sample = prometheus::parse(body.as_bytes(), &selectors).unwrap();
        assert_eq!(sample.queued, Some(0));

        let (_, from_http) = get(http, "/stats/agent-check?queue_half=5").await;
        let from_tcp = exchange(line, "sent by agent-send\n").await;
        for answer in [from_http, from_tcp] {
            assert_eq!(answer, "ready up 100%\n");
            assert!(agent_check::parse(answer.as_bytes()).is_ok());
        }
    });
}

#[test]
fn what_is_not_asked_for_well_gets_a_clear_status() {
    block_on(async {
        let (http, _) = serving().await;
        let table = [
            ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            (
                "POST /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                "405",
            ),
            (
                "GET /stats/agent-check?queue_half=-1 HTTP/1.1\r\nHost: x\r\n\r\n",
                "400",
            ),
            ("rubbish\r\n\r\n", "400"),
        ];
        for (request, status) in table {
            let answer = exchange(http, request).await;
            let expected = format!("HTTP/1.1 {status}");
            assert!(answer.starts_with(&expected), "{request}: {answer}");
        }
    });
}

#[test]
fn askers_at_once_share_one_measurement() {
    block_on(async {
        let agent = Agent::new(config(1));
        let (a, b) = futures_util::future::join(agent.report(), agent.report()).await;
        assert_eq!(a.as_ref().unwrap().time_unix_ms, b.unwrap().time_unix_ms);
        assert_eq!(a.unwrap().sample.age_ms, 0, "just taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let later = agent.report().await.unwrap();
        assert!(later.sample.age_ms >= 20, "{later:?}");
        agent
            .configure(AgentConfig {
                node: "mx9".into(),
                ..config(1)
            })
            .await;
        assert_eq!(agent.report().await.unwrap().node, "mx9");
    });
}

#[test]
fn what_cannot_be_read_is_unknown_and_said() {
    let report = measure(&AgentConfig {
        spools: Choice::These(vec![Spool {
            system: MailSystem::Postfix,
            path: "/nonexistent/spool".into(),
        }]),
        vips: vec!["203.0.113.25".parse().unwrap()],
        ..config(1)
    });
    let sample = report.sample;
    assert_eq!(sample.queued, None);
    assert_eq!(sample.vip_ready, Some(false));
    assert_eq!(sample.state, AgentState::Unsaid);
    let note = sample.note.unwrap();
    for part in ["/nonexistent/spool", "port 1", "203.0.113.25"] {
        assert!(note.contains(part), "{note}");
    }
}

#[test]
fn who_waits_for_a_hung_measurement_may_give_up() {
    block_on(async {
        let agent = Agent::new(config(1));
        // As a hung disk would: the measurement does not end.
        let hung = Arc::clone(&agent.shared.last).lock_owned().await;
        for _ in 0..3 {
            let gave_up = tokio::time::timeout(Duration::from_millis(20), agent.report());
            assert!(gave_up.await.is_err());
        }
        drop(hung);
        assert_eq!(agent.report().await.unwrap().node, "mx1");
    });
}
