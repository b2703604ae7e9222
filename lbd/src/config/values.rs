//! Single values: from the file's text to a type, or what is wrong with it.
use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{
    address::{self, Network, VirtualAddress},
    duration,
    source::Complaint,
    suggest::shortened,
};
use crate::plain::is_plain;

/// A whole number within a range.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, Complaint>
where
    T: Copy + Display + FromStr + PartialOrd,
{
    move |text| {
        let (low, high) = (range.start(), range.end());
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Complaint::new(
                format!("\"{}\" is not a whole number", shortened(text)),
                format!("give a whole number from {low} to {high}"),
            ));
        }
        // YAML 1.1 reads 051 as the octal 41, YAML 1.2 as 51: what was meant is unclear.
        if digits.len() > 1 && digits.starts_with('0') {
            let plain = digits.trim_start_matches('0');
            let plain = if plain.is_empty() { "0" } else { plain };
            return Err(Complaint::new(
                format!(
                    "{} starts with a 0, which some programs read as octal",
                    shortened(text)
                ),
                format!("write {plain}, if that is what you mean"),
            ));
        }
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let side = if text.starts_with('-') {
                "below"
            } else {
                "outside"
            };
            let bound = if text.starts_with('-') {
                low.to_string()
            } else {
                format!("{low} to {high}")
            };
            Complaint::new(
                format!("{} is {side} {bound}", shortened(text)),
                format!("give a whole number from {low} to {high}"),
            )
        })
    }
}

/// A number with a fraction within a range.
pub(super) fn fraction(range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, Complaint> {
    move |text| {
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            Complaint::new(
                format!(
                    "\"{}\" is not a number from {} to {}",
                    shortened(text),
                    range.start(),
                    range.end()
                ),
                format!("give a number from {} to {}", range.start(), range.end()),
            )
        })
    }
}

/// A length of time within a range.
pub(super) fn time(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, Complaint> {
    move |text| {
        let (low, high) = (
            duration::Shown(*range.start()),
            duration::Shown(*range.end()),
        );
        let Some(value) = duration::parse(text) else {
            return Err(Complaint::new(
                format!("\"{}\" is not a duration", shortened(text)),
                format!("give a number with its unit, from {low} to {high}: 10s, 100ms, 1h30m"),
            ));
        };
        if range.contains(&value) {
            return Ok(value);
        }
        Err(Complaint::new(
            format!("{} is outside {low} to {high}", shortened(text)),
            format!("give a duration from {low} to {high}"),
        ))
    }
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, Complaint> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Complaint::new(
            format!("\"{}\" is neither true nor false", shortened(text)),
            "give true or false",
        )),
    }
}

/// The name of a node, backend or site.
pub(super) fn name(text: &str) -> Result<String, Complaint> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("\"{}\" is no name", shortened(text)),
        "use 1 to 63 letters, digits, `.`, `_` or `-`",
    ))
}

/// A host's name, in small letters.
pub(super) fn host_name(text: &str) -> Result<String, Complaint> {
    let name = text.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let is_name = (1..=253).contains(&name.len())
        && name.bytes().all(allowed)
        && name.split('.').all(|label| (1..=63).contains(&label.len()));
    if is_name {
        return Ok(name);
    }
    Err(Complaint::new(
        format!("\"{}\" is not a host name", shortened(text)),
        "write it with its domain, without a port: mx1.example.com",
    ))
}

/// A name as Linux takes it for an interface (`dev_valid_name`, net/core/dev.c).
pub(super) fn interface(text: &str) -> Result<String, Complaint> {
    let allowed = |c: char| !c.is_whitespace() && is_plain(c) && c != '/' && c != ':';
    if (1..=127).contains(&text.len()) && !matches!(text, "." | "..") && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("\"{}\" cannot be an interface", shortened(text)),
        "use a name or an altname that `ip link` shows, at most 127 bytes",
    ))
}

/// An absolute path.
pub(super) fn path(text: &str) -> Result<PathBuf, Complaint> {
    // Linux's PATH_MAX.
    if text.starts_with('/') && text.len() < 4096 && !text.contains('\0') {
        return Ok(PathBuf::from(text));
    }
    Err(Complaint::new(
        format!("\"{}\" is not an absolute path", shortened(text)),
        "start it with `/`",
    ))
}

/// The path of a socket, which the kernel limits to 107 bytes (unix(7), `sun_path`).
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Complaint> {
    if text.len() > 107 {
        return Err(Complaint::new(
            format!("it has {} bytes, too many for a socket", text.len()),
            "use a path of at most 107 bytes",
        ));
    }
    path(text)
}

/// An address and a port to listen on or to connect to.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Complaint> {
    let address = text.parse::<SocketAddr>().ok().filter(|a| a.port() != 0);
    address.ok_or_else(|| {
        Complaint::new(
            format!("\"{}\" is not an address with a port", shortened(text)),
            "write 127.0.0.1:9425, or \"[::1]:9425\" for IPv6",
        )
    })
}

/// A TCP port.
pub(super) fn port(text: &str) -> Result<u16, Complaint> {
    number(1..=65_535)(text)
}

/// An address that one host can have.
pub(super) fn host_address(text: &str) -> Result<IpAddr, Complaint> {
    if text.contains('/') {
        return Err(Complaint::new(
            format!("\"{}\" has a prefix length", shortened(text)),
            "write the address alone",
        ));
    }
    let address = text.parse().map_err(|_| {
        Complaint::new(
            format!("\"{}\" is no IPv4 or IPv6 address", shortened(text)),
            "write an address such as 192.0.2.11 or \"2001:db8::11\"; names are not looked up",
        )
    })?;
    refuse_special(address)?;
    Ok(address)
}

/// A virtual address.
pub(super) fn virtual_address(text: &str) -> Result<VirtualAddress, Complaint> {
    let (address, prefix_len) = prefix(text, "192.0.2.25/24 or \"2001:db8::25/64\"")?;
    refuse_special(address)?;
    if prefix_len == 0 {
        return Err(Complaint::new(
            "a prefix length of 0 would be a route to everywhere",
            "give the prefix length of the segment",
        ));
    }
    Ok(VirtualAddress {
        address,
        prefix_len,
    })
}

/// A network; bits beyond the prefix are a mistake.
pub(super) fn network(text: &str) -> Result<Network, Complaint> {
    let (address, prefix_len) =
        address::canonical(prefix(text, "198.51.100.0/24 or \"2001:db8::/32\"")?);
    let network = Network::of(address, prefix_len);
    if network.address() != address {
        return Err(Complaint::new(
            format!(
                "{} has bits set beyond its prefix of {prefix_len}",
                shortened(text)
            ),
            format!("write {network}, or {address} for the one address"),
        ));
    }
    Ok(network)
}

/// An HTTP or HTTPS address.
pub(super) fn url(text: &str) -> Result<String, Complaint> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let rest = rest.filter(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && text.len() <= 1024
            && rest.bytes().all(|b| b.is_ascii_graphic())
    });
    match rest {
        Some(_) => Ok(text.to_owned()),
        None => Err(Complaint::new(
            format!("\"{}\" is no http:// or https:// address", shortened(text)),
            "write http://address:port/path; `{address}` and `{name}` stand for the backend's",
        )),
    }
}

/// A text that goes into a line of a protocol: printable ASCII without spaces or brackets.
pub(super) fn protocol_word(text: &str) -> Result<String, Complaint> {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>');
    if (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("\"{}\" cannot stand in an SMTP command", shortened(text)),
        "use 1 to 255 printable ASCII characters without spaces and angle brackets",
    ))
}

/// Any text on one line.
pub(super) fn text(text: &str) -> Result<String, Complaint> {
    if (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        "it is empty, too long, or has control characters",
        "use one line of at most 1024 bytes",
    ))
}

fn prefix(text: &str, example: &str) -> Result<(IpAddr, u8), Complaint> {
    address::parse(text).map_err(|error| {
        Complaint::new(
            format!("\"{}\": {error}", shortened(text)),
            format!("write an address with its prefix length, {example}"),
        )
    })
}

fn refuse_special(address: IpAddr) -> Result<(), Complaint> {
    let broadcast = matches!(address, IpAddr::V4(a) if a.is_broadcast());
    let mapped = matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
    let what = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_loopback() {
        "a loopback address"
    } else if address.is_multicast() || broadcast {
        "a multicast or broadcast address"
    } else if mapped {
        "an IPv4-mapped address"
    } else {
        return Ok(());
    };
    Err(Complaint::new(
        format!("{address} is {what}"),
        "give the address of one host on the network",
    ))
}
