//! `lbd init`: a first configuration, from what this box has.
use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{ErrorKind, Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};

use crate::{
    agent::Spool,
    config::{Network, VirtualAddress},
    host::{self, gateways, links::Links},
};

/// Flags of `lbd init`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address that mail is sent to, with its prefix length; without it the file says where it belongs.
    #[arg(long, value_name = "ADDRESS/BITS", value_parser = address)]
    virtual_address: Option<String>,
    /// Print the configuration and write nothing.
    #[arg(long)]
    print: bool,
}

fn address(text: &str) -> Result<String, String> {
    // What stands for itself elsewhere is a mistake here: the prefix is the segment's.
    if !text.contains('/') {
        return Err("give its prefix length too, such as 192.0.2.25/24".to_owned());
    }
    let address = text.parse::<VirtualAddress>();
    address
        .map(|address| address.to_string())
        .map_err(|error| error.to_string())
}

/// What the configuration is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Facts {
    /// The host name without its domain.
    name: String,
    /// The interface of the default route, else the first one with an address.
    interface: String,
    /// Other interfaces that have a carrier.
    others: Vec<String>,
    /// The box's own address there, and the length of its prefix.
    address: IpAddr,
    prefix_bits: u8,
    /// The default gateway there.
    gateway: Option<IpAddr>,
    /// The mail server's queue.
    spool: Option<Spool>,
}

pub(super) fn run(path: &Path, args: &Args) -> anyhow::Result<()> {
    let key = path.with_file_name("cluster.key");
    let text = text(&facts()?, args.virtual_address.as_deref(), &key);
    if args.print {
        print!("{text}");
        return Ok(());
    }
    // Neither is ever replaced. The configuration comes first: where there is one, nothing is written.
    write_new(path, 0o640, text.as_bytes())?;
    println!("wrote {}", path.display());
    if key.exists() {
        println!("kept {}", key.display());
    } else {
        write_new(&key, 0o600, new_key()?.as_bytes())?;
        println!("wrote {}: copy it to the other boxes", key.display());
    }
    if args.virtual_address.is_none() {
        println!("next: fill in `virtual_addresses`");
    }
    println!("next: name the other boxes under `backends`, then `lbd check`");
    Ok(())
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let mut new = OpenOptions::new();
    let mut file = match new.write(true).create_new(true).mode(mode).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!(
                "{} is there already, and stays; `lbd init --print` shows what it would be",
                path.display()
            );
        }
        opened => opened.with_context(|| path.display().to_string())?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| path.display().to_string())
}

/// 32 random bytes in hexadecimal digits, and a line break.
fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    let mut text = String::new();
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    Ok(text)
}

fn facts() -> anyhow::Result<Facts> {
    let links = Links::read()?;
    let usable = || {
        links
            .iter()
            .filter(|link| !link.loopback && link.is_usable())
    };
    let mut found = None;
    for link in usable().filter(|link| link.mac.is_some()) {
        let gateway = gateways(link.ifindex)?.into_iter().min();
        // One that mail can be sent to, IPv4 first.
        let own = |address: &IpAddr| match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        let addresses = link.addresses.iter();
        let address = addresses
            .filter(|own_one| own(&own_one.address) && own_one.valid_s.is_none())
            .min_by_key(|address| address.address.is_ipv6());
        let Some(address) = address else { continue };
        let is_better = found.is_none() || gateway.is_some();
        if is_better {
            found = Some((link, *address, gateway));
        }
        if gateway.is_some() {
            break;
        }
    }
    let Some((link, address, gateway)) = found else {
        bail!("no interface of this box is up and has an address: set up its network first");
    };
    let name = host::short_name().unwrap_or_default();
    Ok(Facts {
        name: if name.is_empty() {
            "mx1".to_owned()
        } else {
            name
        },
        interface: link.name.clone(),
        others: usable()
            .filter(|other| other.ifindex != link.ifindex && other.port_of.is_none())
            .map(|other| other.name.clone())
            .collect(),
        address: address.address,
        prefix_bits: address.prefix_bits,
        gateway,
        spool: Spool::of_this_box(),
    })
}

/// A name or path as YAML has it: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn text(facts: &Facts, virtual_address: Option<&str>, key: &Path) -> String {
    let Facts {
        name,
        interface,
        address,
        prefix_bits,
        ..
    } = facts;
    let segment = Network::of(*address, *prefix_bits);
    let channel = std::net::SocketAddr::new(*address, crate::config::CHANNEL_PORT);
    let mut text = String::from(
        "# Made by `lbd init` from what this box has. `lbd check` says what is missing or wrong, and\n\
         # `lbd check --print` shows every other key with its default.\nnode:\n",
    );
    // Writing to a String cannot fail.
    let mut line = |line: String| _ = writeln!(text, "{line}");
    line(format!(
        "  name: {}    # this box's host name; one name a box",
        quoted(name)
    ));
    line(match facts.gateway {
        Some(gateway) => format!("  # The way to the default gateway, {gateway}."),
        None => {
            "  # The first interface with an address; this box has no default gateway.".to_owned()
        }
    });
    line(format!("  interfaces: [{}]", quoted(interface)));
    if !facts.others.is_empty() {
        let others = facts.others.join(", ");
        line(format!(
            "  # Also up: {others}. Add those that clients or backends are behind."
        ));
    }
    line(
        "  priority: 100    # 1 to 254: of the boxes that are up, the highest is the master"
            .to_owned(),
    );
    line(format!(
        "  channel: {}    # where the other boxes find this one",
        quoted(&channel.to_string())
    ));
    if let Some(Spool { system, path }) = &facts.spool {
        line(format!("  # The {} queue that was found.", system.name()));
        line(format!(
            "  queue: {{system: {}, spool: {}}}",
            system.name(),
            quoted_path(path)
        ));
    } else {
        line("  # No queue of Postfix, Exim or Sendmail was found here; a box that serves mail has one:".to_owned());
        line("  # queue: {system: postfix, spool: /var/spool/postfix}".to_owned());
        line("  queue: {system: none}".to_owned());
    }
    line(
        "# All that follows is the same on every box; `lbd push` hands it on.\ncluster:".to_owned(),
    );
    line(
        "  virtual_router_id: 51    # 1 to 255; no other VRRP router on the segment may have it"
            .to_owned(),
    );
    if let Some(virtual_address) = virtual_address {
        line(format!(
            "  virtual_addresses: [{}]",
            quoted(virtual_address)
        ));
    } else {
        line(format!(
            "  # The address that mail is sent to: a free one of {segment}, with its /{prefix_bits}."
        ));
        line("  virtual_addresses: []".to_owned());
    }
    line("  ports: [25]".to_owned());
    line(format!("  secret_file: {}", quoted_path(key)));
    line("  sites:\n    - name: here\n      backends:".to_owned());
    line(format!(
        "        - {{name: {}, address: {}, weight: 100}}",
        quoted(name),
        quoted(&address.to_string())
    ));
    line("        # The other boxes, by their own addresses:".to_owned());
    line("        # - {name: mx2, address: 192.0.2.12, weight: 100}".to_owned());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::MailSystem, config::Config};

    fn box_with(address: &str, spool: Option<Spool>) -> Facts {
        Facts {
            name: "mx1".to_owned(),
            interface: "eth0.100".to_owned(),
            others: vec!["eth1".to_owned()],
            address: address.parse().unwrap(),
            prefix_bits: 24,
            gateway: None,
            spool,
        }
    }

    fn parsed(facts: &Facts, vip: Option<&str>) -> Result<Config, String> {
        let text = text(facts, vip, Path::new("/etc/lbd/cluster.key"));
        Config::parse(&text, "lbd.yaml").map_err(|errors| format!("{errors:?}\n{text}"))
    }

    #[test]
    fn what_it_writes_is_a_configuration_of_the_facts() {
        let spool = Spool {
            system: MailSystem::Postfix,
            path: "/srv/a spool: #1".into(),
        };
        for address in ["192.0.2.11", "2001:db8::11"] {
            let vip = if address.contains(':') {
                "2001:db8::25/64"
            } else {
                "192.0.2.25/24"
            };
            let facts = box_with(address, Some(spool.clone()));
            let config = parsed(&facts, Some(vip)).unwrap();
            assert_eq!(config.node.name, "mx1");
            assert_eq!(config.node.interfaces, ["eth0.100"]);
            assert_eq!(config.node.channel.unwrap().ip(), facts.address);
            assert_eq!(config.node.queue.spool.as_deref(), Some(&*spool.path));
            assert_eq!(config.own_backend().unwrap().address, facts.address);
            let none = parsed(&box_with(address, None), Some(vip)).unwrap();
            assert_eq!(none.node.queue.spool, None);
        }
    }

    #[test]
    fn a_name_that_is_something_else_in_yaml_stays_a_name() {
        for name in ["null", "no", "0x10", "1e3"] {
            let mut facts = box_with("192.0.2.11", None);
            facts.interface = name.to_owned();
            let config = parsed(&facts, Some("192.0.2.25/24")).unwrap();
            assert_eq!(config.node.interfaces, [name]);
        }
    }

    #[test]
    fn without_the_virtual_address_the_check_asks_for_it_alone() {
        let errors = parsed(&box_with("192.0.2.11", None), None).unwrap_err();
        assert!(errors.contains("virtual_addresses"), "{errors}");
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lbd.yaml");
        write_new(&file, 0o640, b"mine").unwrap();
        let refused = write_new(&file, 0o640, b"new").unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn a_key_is_64_digits() {
        let key = new_key().unwrap();
        assert_eq!(key.trim_end().len(), 64);
        assert_ne!(key, new_key().unwrap());
    }

    #[test]
    fn only_an_address_with_its_prefix_is_a_virtual_address() {
        assert_eq!(address("192.0.2.25/24").unwrap(), "192.0.2.25/24");
        for text in ["192.0.2.25", "192.0.2.25/33", "::1/x", "mx/24"] {
            address(text).unwrap_err();
        }
    }
}
