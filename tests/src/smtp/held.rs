//! Sessions that stay open while something happens to the cluster.
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use crate::{
    cluster::PATIENCE,
    lab::{Host, addresses},
};

/// A session that says something now and then.
#[derive(Debug)]
pub struct Held {
    stream: BufReader<TcpStream>,
    by: String,
}

impl Held {
    /// Opens one from `client` to port 25 of `vip`, and waits for its greeting.
    pub fn open(client: &Host, vip: IpAddr) -> io::Result<Self> {
        let stream = client.inside(|| {
            TcpStream::connect_timeout(&SocketAddr::new(vip, 25), Duration::from_secs(5))
        })??;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut held = Self {
            stream: BufReader::new(stream),
            by: String::new(),
        };
        let greeting = held.expect("220")?;
        let name = greeting.split_whitespace().nth(1);
        name.unwrap_or_default().clone_into(&mut held.by);
        Ok(held)
    }

    /// Opens so many, to the IPv4 and the IPv6 VIP in turn.
    pub fn open_many(client: &Host, count: usize) -> io::Result<Vec<Self>> {
        let vips = [addresses::VIP4.into(), addresses::VIP6.into()];
        let vips = vips.into_iter().cycle().take(count);
        vips.map(|vip| Self::open(client, vip)).collect()
    }

    /// Opens so many to one VIP.
    pub fn open_to(client: &Host, vip: IpAddr, count: usize) -> io::Result<Vec<Self>> {
        (0..count).map(|_| Self::open(client, vip)).collect()
    }

    /// The server's name, from its greeting.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Its client's address and port.
    pub fn source(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().local_addr()
    }

    /// Whether the server still answers.
    pub fn check(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(b"NOOP\r\n")?;
        self.expect("250").map(drop)
    }

    /// Hands a message over, which the server takes.
    pub fn deliver(&mut self) -> io::Result<()> {
        for (line, code) in [
            ("MAIL FROM:<a@x.test>", "250"),
            ("RCPT TO:<b@x.test>", "250"),
            ("DATA", "354"),
            ("Subject: still here\r\n\r\n.", "250"),
        ] {
            write!(self.stream.get_mut(), "{line}\r\n")?;
            self.expect(code)?;
        }
        Ok(())
    }

    fn expect(&mut self, code: &str) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.starts_with(code) {
            return Ok(line);
        }
        Err(io::Error::other(format!("{line:?} is no {code}")))
    }
}

/// How many of these still work; says on stderr what became of the others.
pub fn survivors(sessions: &mut [Held]) -> usize {
    let works = |held: &mut Held| {
        held.check()
            .inspect_err(|error| {
                let from = held.stream.get_ref().local_addr();
                eprintln!("{from:?} at {}: {error}", held.by);
            })
            .is_ok()
    };
    // All at once: each that is lost takes its whole patience.
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|held| scope.spawn(move || works(held)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .filter(|works| *works)
            .count()
    })
}
