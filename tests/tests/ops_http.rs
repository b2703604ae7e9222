//! `node.http` of a running cluster, as a scraper and a browser see it.
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use lbd_tests::{
    cluster::{Cluster, HTTP_PORT, Settings},
    lab::{Host, Lab, Spec},
    smtp::server::Server,
};

/// What `path` answers, head and body.
fn get(lab: &Lab, node: &Host, path: &str) -> String {
    let address = SocketAddr::new(node.address4().into(), HTTP_PORT);
    lab.client()
        .inside(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .unwrap()
}

/// What `promtool check metrics` says of a text; nothing where there is no promtool.
fn promtool(metrics: &str) -> Option<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "promtool: {said}");
    Some(said)
}

#[test]
fn every_node_serves_metrics_that_promtool_accepts() {
    let Some(_turn) = lbd_tests::turn("every_node_serves_metrics_that_promtool_accepts") else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers: Vec<Server> = lab
        .nodes
        .iter()
        .map(|node| Server::start(node, None).unwrap())
        .collect();
    let settings = Settings {
        http: true,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let mut masters = 0;
    for (index, node) in lab.nodes.iter().enumerate() {
        let answer = get(&lab, node, "/metrics");
        let (head, metrics) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let is_master = metrics.contains("\nlbd_master 1\n");
        assert_eq!(is_master, index == master, "{}", node.name);
        masters += usize::from(is_master);
        for backend in &lab.nodes {
            let line = format!("lbd_backend_sessions{{backend=\"{}\",", backend.name);
            assert!(metrics.contains(&line), "{line}: {metrics}");
        }
        assert!(metrics.contains("lbd_election_adverts_sent_total"));
        match promtool(metrics) {
            Some(said) => assert_eq!(said, "", "{}", node.name),
            None => eprintln!("promtool is not installed: the unit tests' parser has to do"),
        }
    }
    assert_eq!(masters, 1);
}
