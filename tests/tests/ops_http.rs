//! `node.http` of a running cluster, as a scraper and a browser see it.
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use lbd_tests::{
    browser::Browser,
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

/// A lab whose nodes serve mail and HTTP, and its cluster.
fn serving() -> (Lab, Vec<Server>, Cluster, usize) {
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        http: true,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    (lab, servers, cluster, master)
}

#[test]
fn a_browser_shows_every_backend_with_its_plots_and_a_drain() {
    let name = "a_browser_shows_every_backend_with_its_plots_and_a_drain";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    if !lbd_tests::programs::or_skip(name, &["chromium"]) {
        return;
    }
    let (lab, _servers, cluster, master) = serving();
    let node = &lab.nodes[master];
    let drained = &lab.nodes[2].name;
    assert!(
        cluster
            .lbd(master, &["drain", drained])
            .unwrap()
            .status
            .success()
    );
    let mut browser = lab.client().command("timeout");
    browser
        .args([
            "60",
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .arg(format!(
            "--user-data-dir={}",
            lab.folder().join("browser").display()
        ))
        // The page keeps a stream open: what is there after the load is what counts.
        .args(["--no-first-run", "--timeout=5000", "--dump-dom"])
        .arg(format!("http://{}:{HTTP_PORT}/", node.address4()));
    let output = browser.output().unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        page.contains(&format!("lbd on {}", node.name)),
        "{page} {said}"
    );
    for backend in &lab.nodes {
        let label = format!("aria-label=\"Sessions of {}: now ", backend.name);
        assert!(page.contains(&label), "{label}: {page}");
    }
    assert!(page.contains("drained by the operator"), "{page}");
    assert!(page.contains("no new sessions"), "{page}");
    assert!(page.contains("class=\"mastered\""), "{page}");
}

#[test]
fn the_dashboard_is_used_by_keyboard_alone() {
    let name = "the_dashboard_is_used_by_keyboard_alone";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    if !lbd_tests::programs::or_skip(name, &["chromium"]) {
        return;
    }
    let (lab, _servers, _cluster, master) = serving();
    let profile = lab.folder().join("browser");
    let mut page = Browser::start(lab.client(), &profile).unwrap();
    let address = lab.nodes[master].address4();
    page.open(&format!("http://{address}:{HTTP_PORT}/"))
        .unwrap();
    page.wait("document.querySelectorAll('#backends li').length === 3")
        .unwrap();
    let focused = "document.activeElement";
    // The first stop leads past the head, to the backends.
    page.press("Tab").unwrap();
    page.wait(&format!("{focused}.className === 'skip'"))
        .unwrap();
    page.press("Enter").unwrap();
    page.wait("location.hash === '#backends'").unwrap();
    // j and k go through the backends, and stay at the ends.
    let at =
        |index: usize| format!("{focused} === document.querySelectorAll('#backends li')[{index}]");
    for (key, index) in [("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)] {
        page.press(key).unwrap();
        page.wait(&at(index)).unwrap();
    }
    let outlined = format!("getComputedStyle({focused}).outlineStyle !== 'none'");
    page.wait(&outlined).unwrap();
    // What the focus is on survives a second's new state.
    let line = "document.getElementById('role').textContent";
    let before = page.evaluate(line).unwrap();
    page.wait(&format!("{line} !== {before}")).unwrap();
    page.wait(&at(1)).unwrap();
    // The one switch there is works by the blank.
    page.evaluate("document.getElementById('only').focus()")
        .unwrap();
    page.press(" ").unwrap();
    page.wait("document.getElementById('only').checked")
        .unwrap();
    page.wait("[...document.querySelectorAll('#backends li')].every(li => li.hidden)")
        .unwrap();
}

#[test]
fn every_node_serves_metrics_that_promtool_accepts() {
    let Some(_turn) = lbd_tests::turn("every_node_serves_metrics_that_promtool_accepts") else {
        return;
    };
    let (lab, _servers, _cluster, master) = serving();
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

#[test]
fn the_openapi_document_is_served_and_a_public_validator_finds_it_valid() {
    let name = "the_openapi_document_is_served_and_a_public_validator_finds_it_valid";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let (lab, _servers, cluster, master) = serving();
    let answer = get(&lab, &lab.nodes[master], "/api/openapi.json");
    let (head, served) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let document: serde_json::Value = serde_json::from_str(served).unwrap();
    assert!(document["paths"]["/api/status"]["get"].is_object());
    drop(cluster);
    let validate = |document: &serde_json::Value| oas3::from_json(document.to_string());
    let spec = validate(&document).unwrap();
    assert!(spec.validate_version().is_ok(), "{}", spec.openapi);
    // The validator can tell.
    let mut broken = document;
    broken["paths"]["/api/status"]["get"]["responses"] = "none".into();
    assert!(validate(&broken).is_err());
}
