//! A real HAProxy follows the agent's line: its weight, and every word of its state.
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lbd::{
    agent::{Agent, AgentConfig, Choice, MailSystem, Spool, serve_agent_check},
    stats::{AgentState, AgentWeight, Sample, agent_check},
};
use lbd_tests::programs::or_skip;

/// For HAProxy to follow; a failure, not a measurement.
const PATIENCE: Duration = Duration::from_mins(1);

/// An HAProxy that asks one agent for one server, and ends with its handle.
struct Haproxy {
    child: Child,
    socket: PathBuf,
}

impl Haproxy {
    fn start(folder: &Path, agent: SocketAddr) -> Self {
        let socket = folder.join("haproxy.sock");
        let config = folder.join("haproxy.cfg");
        // The server's own port answers its health check: HAProxy calls a server up only when both
        // agree.
        let text = format!(
            "global\n  stats socket {} mode 600 level admin\n  maxconn 100\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
             backend mail\n  server mx1 {agent} weight 100 check inter 100ms \
             agent-check agent-addr {} agent-port {} agent-inter 100ms\n",
            socket.display(),
            agent.ip(),
            agent.port(),
        );
        fs::write(&config, text).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = haproxy.spawn().expect("haproxy is installed");
        Self { child, socket }
    }

    /// A column of `show stat` for the server; empty until HAProxy answers.
    fn column(&self, name: &str) -> String {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else {
            return String::new();
        };
        let mut table = String::new();
        if stream
            .write_all(b"show stat\n")
            .and_then(|()| stream.read_to_string(&mut table))
            .is_err()
        {
            return String::new();
        }
        let mut lines = table
            .lines()
            .map(|line| line.trim_start_matches("# ").split(','));
        let place = lines
            .next()
            .and_then(|mut head| head.position(|column| column == name));
        let server = lines.find(|line| line.clone().nth(1) == Some("mx1"));
        let value = place
            .zip(server)
            .and_then(|(place, mut server)| server.nth(place));
        value.unwrap_or_default().to_owned()
    }

    /// Waits until a column has a value.
    fn shows(&self, column: &str, value: &str) {
        let started = Instant::now();
        while self.column(column) != value {
            let found = self.column(column);
            assert!(
                started.elapsed() < PATIENCE,
                "{column} is {found}, not {value}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn haproxy_gives_less_to_a_longer_queue() {
    if !or_skip("haproxy_gives_less_to_a_longer_queue", &["haproxy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let active = folder.path().join("spool/active");
    fs::create_dir_all(&active).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (listener, address) = listener();
    let agent = Agent::new(AgentConfig {
        node: "mx1".into(),
        ports: vec![address.port()],
        spools: Choice::These(vec![Spool {
            system: MailSystem::Postfix,
            path: folder.path().join("spool"),
        }]),
        vips: Vec::new(),
    });
    runtime.spawn(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        serve_agent_check(listener, agent, 100).await;
    });

    let haproxy = Haproxy::start(folder.path(), address);
    haproxy.shows("agent_status", "L7OK");
    haproxy.shows("weight", "100");
    for n in 0..100 {
        fs::write(active.join(n.to_string()), "").unwrap();
    }
    haproxy.shows("weight", "50");
    for n in 100..300 {
        fs::write(active.join(n.to_string()), "").unwrap();
    }
    haproxy.shows("weight", "25");
    fs::remove_dir_all(&active).unwrap();
    fs::create_dir(&active).unwrap();
    haproxy.shows("weight", "100");
}

#[test]
fn haproxy_understands_every_state_and_the_way_back() {
    if !or_skip(
        "haproxy_understands_every_state_and_the_way_back",
        &["haproxy"],
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = listener();
    let line = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let answer = std::sync::Arc::clone(&line);
    // Answers until the process ends.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let line = answer.lock().unwrap().clone();
            let _ = (&stream).write_all(line.as_bytes());
        }
    });
    let haproxy = Haproxy::start(folder.path(), address);
    let table = [
        (AgentState::Up, None, "UP"),
        (AgentState::Drain, None, "DRAIN (agent)"),
        (AgentState::Up, None, "UP"),
        (AgentState::Down, Some("no disk left"), "DOWN (agent)"),
        (AgentState::Up, None, "UP"),
        (AgentState::Maint, None, "MAINT"),
        (AgentState::Unsaid, None, "UP"),
    ];
    for (state, note, expected) in table {
        let sample = Sample {
            state,
            note: note.map(str::to_owned),
            weight: Some(AgentWeight::Permille(750)),
            session_limit: Some(30),
            ..Sample::default()
        };
        *line.lock().unwrap() = agent_check::emit(&sample, 1000);
        haproxy.shows("status", expected);
        if let Some(note) = note {
            haproxy.shows("last_agt", &format!("via agent : down ({note})"));
        }
    }
    haproxy.shows("weight", "75");
    haproxy.shows("slim", "30");
}
