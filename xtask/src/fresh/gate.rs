//! The way out of a network namespace that has none: a port of its loopback, whose connections this
//! process passes on. It speaks what HTTP proxies speak, as apt, cargo, rustup and curl know it.
use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::Path,
    thread,
};

use anyhow::{Context, Result};

/// Where it listens, in the namespace.
pub(super) const ADDRESS: &str = "127.0.0.1:3128";
/// A request's line and headers are no longer.
const LONGEST_HEAD: u64 = 64 * 1024;

/// Opens it in a namespace, for as long as this process lives.
pub(super) fn open(namespace: &Path) -> Result<()> {
    let namespace = File::open(namespace)?;
    // A socket belongs to the namespace in which it was made, whoever uses it.
    let made = thread::spawn(move || -> io::Result<TcpListener> {
        // SAFETY: the descriptor is open; only this thread changes its namespace, and ends.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        TcpListener::bind(ADDRESS)
    });
    let listener = made
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .with_context(|| format!("cannot listen on {ADDRESS} there"))?;
    let upstream = upstream();
    thread::spawn(move || serve(&listener, upstream.as_deref()));
    Ok(())
}

/// This machine's own proxy, as `host:port`, where it has one.
fn upstream() -> Option<String> {
    let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"];
    let value = names.iter().find_map(|name| env::var(name).ok())?;
    Some(authority(&value).to_owned())
}

/// `host:port` in `http://user@host:port/`.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    rest.rsplit('@').next().unwrap_or(rest)
}

fn serve(listener: &TcpListener, upstream: Option<&str>) {
    for client in listener.incoming().flatten() {
        let upstream = upstream.map(str::to_owned);
        thread::spawn(move || {
            // A download that breaks is seen by who asked for it.
            let _ = match upstream {
                Some(upstream) => {
                    TcpStream::connect(upstream).and_then(|server| join(client, server))
                }
                None => pass(client),
            };
        });
    }
}

/// One request: a tunnel, or a page that is fetched.
fn pass(mut client: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?.take(LONGEST_HEAD));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line);
    }
    let Some(request) = Request::of(&head) else {
        return client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    };
    let Ok(mut server) = TcpStream::connect(&request.to) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n");
    };
    if request.tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        server.write_all(request.text.as_bytes())?;
    }
    // What came with the head.
    server.write_all(reader.buffer())?;
    join(client, server)
}

#[derive(Debug, Eq, PartialEq)]
struct Request {
    to: String,
    tunnel: bool,
    /// As the server gets it.
    text: String,
}

impl Request {
    /// From the lines of a request's head.
    fn of(head: &[String]) -> Option<Self> {
        let mut words = head.first()?.split_whitespace();
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if method == "CONNECT" {
            return Some(Self {
                to: target.to_owned(),
                tunnel: true,
                text: String::new(),
            });
        }
        let rest = target.strip_prefix("http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let to = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut text = format!("{method} /{path} {version}\r\n");
        for line in &head[1..] {
            let name = line
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            if !["connection", "proxy-connection"].contains(&name.as_str()) {
                text.push_str(line.trim_end());
                text.push_str("\r\n");
            }
        }
        text.push_str("Connection: close\r\n\r\n");
        Some(Self {
            to,
            tunnel: false,
            text,
        })
    }
}

/// Passes bytes both ways until both have ended.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || one_way(from, to));
    one_way(server, client)?;
    up.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn one_way(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let result = io::copy(&mut from, &mut to).map(drop);
    let _ = to.shutdown(Shutdown::Write);
    // The other direction of a connection that is over would wait for ever.
    let _ = from.shutdown(Shutdown::Read);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Vec<String> {
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    #[test]
    fn a_request_names_its_server() {
        let tunnel = Request::of(&head("CONNECT index.crates.io:443 HTTP/1.1\r\n")).unwrap();
        assert!(tunnel.tunnel && tunnel.to == "index.crates.io:443");
        let get = head(
            "GET http://deb.debian.org/debian/dists/x HTTP/1.1\r\nHost: deb.debian.org\r\nConnection: keep-alive\r\n",
        );
        let get = Request::of(&get).unwrap();
        assert_eq!(get.to, "deb.debian.org:80");
        assert_eq!(
            get.text,
            "GET /debian/dists/x HTTP/1.1\r\nHost: deb.debian.org\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(Request::of(&head("GET / HTTP/1.1\r\n")), None);
        assert_eq!(Request::of(&head("GET\r\n")), None);
    }

    #[test]
    fn a_page_comes_through() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, through) = (server.local_addr().unwrap(), gate.local_addr().unwrap());
        thread::spawn(move || serve(&gate, None));
        thread::spawn(move || {
            for client in server.incoming() {
                let mut client = client.unwrap();
                let mut bytes = [0; 4096];
                let count = client.read(&mut bytes).unwrap();
                assert!(bytes[..count].starts_with(b"GET /page "));
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            }
        });
        for request in [
            format!("GET http://{at}/page HTTP/1.1\r\n\r\n"),
            format!("CONNECT {at} HTTP/1.1\r\n\r\nGET /page HTTP/1.1\r\n\r\n"),
        ] {
            let mut client = TcpStream::connect(through).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("200 OK\r\n\r\nhello"), "{answer}");
        }
    }

    #[test]
    fn a_proxy_is_told_by_its_host_and_port() {
        assert_eq!(
            authority("http://me:secret@proxy.example:8080/"),
            "proxy.example:8080"
        );
        assert_eq!(authority("proxy.example:3128"), "proxy.example:3128");
    }
}
