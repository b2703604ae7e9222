//! How a backend is asked: the configuration's source, made ready.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use super::super::tls::Roots;
use super::http::{Page, Url, UrlError};
use crate::{
    agent::Agent,
    config::{self, Backend, Config},
    stats::{
        Figure, Figures,
        http_json::{Pointer, PointerError},
        prometheus::{Selector, SelectorError},
    },
};

/// How to ask one backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// This box.
    Own(Agent),
    /// lbd's own JSON, from another lbd or `lbd agent`.
    Lbd(Page),
    /// Any JSON.
    HttpJson {
        /// Where.
        page: Page,
        /// What to take from it.
        pointers: Figures<Pointer>,
    },
    /// Prometheus text.
    Prometheus {
        /// Where.
        page: Page,
        /// What to take from it.
        selectors: Figures<Selector>,
    },
    /// HAProxy's line.
    AgentCheck(SocketAddr),
    /// A program and its arguments.
    Command(Vec<String>),
    /// The configuration cannot be followed: every poll says so, and no other backend is affected.
    Invalid(SourceError),
}

/// What a configured source gets wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// The address to ask.
    #[error("stats.url: {0}")]
    Url(#[from] UrlError),
    /// The certificates to believe.
    #[error("stats.ca_file: {file}: {problem}")]
    Roots {
        /// Which file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A JSON pointer.
    #[error("stats.{figure}: {error}")]
    Pointer {
        /// For which figure.
        figure: Figure,
        /// What is wrong.
        error: PointerError,
    },
    /// A metric selector.
    #[error("stats.{figure}: {error}")]
    Selector {
        /// For which figure.
        figure: Figure,
        /// What is wrong.
        error: SelectorError,
    },
}

/// An URL as configured, and its `ca_file`.
type At<'a> = (&'a str, Option<&'a Path>);

impl Source {
    /// The source of a backend; `None` when it gives no figures.
    pub(super) fn of(config: &Config, backend: &Backend, own: &Agent) -> Option<Self> {
        let address = config.stats_address(backend);
        let itself = backend.name == config.node.name;
        let source = match &backend.stats {
            config::Source::None => return None,
            config::Source::Lbd { address: None } if itself => Ok(Self::Own(own.clone())),
            config::Source::Lbd { .. } => {
                let url = format!("http://{}/stats", address?);
                let page = |url| Page { url, roots: None };
                Url::from_str(&url)
                    .map(|url| Self::Lbd(page(url)))
                    .map_err(Into::into)
            }
            config::Source::HttpJson {
                url,
                ca_file,
                fields,
            } => http_json(backend, (url, ca_file.as_deref()), fields),
            config::Source::Prometheus {
                url,
                ca_file,
                fields,
            } => prometheus(backend, (url, ca_file.as_deref()), fields),
            config::Source::AgentCheck { .. } => Ok(Self::AgentCheck(address?)),
            config::Source::Command { command } => Ok(Self::Command(
                command
                    .iter()
                    .map(|word| fill_in(word, backend, false))
                    .collect(),
            )),
        };
        Some(source.unwrap_or_else(Self::Invalid))
    }
}

/// The page of a backend. The certificates are read anew with each configuration.
fn page(backend: &Backend, (url, ca_file): At<'_>) -> Result<Page, SourceError> {
    let url: Url = fill_in(url, backend, true).parse()?;
    if !url.is_https() {
        return Ok(Page { url, roots: None });
    }
    let file = ca_file.unwrap_or(Path::new(config::CA_FILE));
    let roots = Roots::read(file).map_err(|problem| SourceError::Roots {
        file: file.display().to_string(),
        problem,
    })?;
    Ok(Page {
        url,
        roots: Some(roots),
    })
}

fn http_json(
    backend: &Backend,
    at: At<'_>,
    fields: &config::Fields,
) -> Result<Source, SourceError> {
    let pointers = figures(fields, |figure, text| {
        Pointer::new(text).map_err(|error| SourceError::Pointer { figure, error })
    })?;
    let page = page(backend, at)?;
    Ok(Source::HttpJson { page, pointers })
}

fn prometheus(
    backend: &Backend,
    at: At<'_>,
    fields: &config::Fields,
) -> Result<Source, SourceError> {
    let selectors = figures(fields, |figure, text| {
        text.parse()
            .map_err(|error| SourceError::Selector { figure, error })
    })?;
    let page = page(backend, at)?;
    Ok(Source::Prometheus { page, selectors })
}

fn figures<T>(
    fields: &config::Fields,
    read: impl Fn(Figure, &str) -> Result<T, SourceError>,
) -> Result<Figures<T>, SourceError> {
    let named = fields
        .iter()
        .filter_map(|(name, text)| Some((Figure::from_name(name)?, text)));
    let read = named.map(|(figure, text)| Ok((figure, read(figure, text)?)));
    Ok(Figures::new(read.collect::<Result<Vec<_>, SourceError>>()?))
}

/// Puts a backend's address and name in the place of `{address}` and `{name}`. In a URL an IPv6
/// address stands in brackets.
fn fill_in(text: &str, backend: &Backend, in_url: bool) -> String {
    let address = match backend.address {
        IpAddr::V6(address) if in_url => format!("[{address}]"),
        address => address.to_string(),
    };
    text.replace("{address}", &address)
        .replace("{name}", &backend.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{AgentConfig, Choice};

    fn agent() -> Agent {
        Agent::new(AgentConfig {
            node: "mx1".into(),
            ports: vec![25],
            spools: Choice::None,
            vips: Vec::new(),
        })
    }

    fn config(stats: &str) -> Config {
        let text = format!(
            "node: {{name: mx1, interfaces: [eth0], channel: \"192.0.2.11:9999\"}}\n\
             cluster:\n  virtual_router_id: 51\n  virtual_addresses: [192.0.2.25/24]\n  \
             sites:\n    - name: here\n      backends:\n        \
             - {{name: mx1, address: 192.0.2.11}}\n        \
             - {{name: mx2, address: \"2001:db8::12\", forwarding: ipip{stats}}}\n"
        );
        Config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn source(stats: &str) -> Option<Source> {
        let config = config(stats);
        let (_, backend) = config.cluster.backends().nth(1).unwrap();
        Source::of(&config, backend, &agent())
    }

    fn page(text: &str) -> Page {
        let url = text.parse().unwrap();
        Page { url, roots: None }
    }

    #[test]
    fn each_source_is_made_ready() {
        let queued = |selector: &str| Figures::new([(Figure::Queued, selector.parse().unwrap())]);
        let table = [
            ("", Source::Lbd(page("http://[2001:db8::12]:9999/stats"))),
            (
                ", stats: {source: prometheus, url: \"http://{address}:9154/metrics\", queued: depth}",
                Source::Prometheus {
                    page: page("http://[2001:db8::12]:9154/metrics"),
                    selectors: queued("depth"),
                },
            ),
            (
                ", stats: {source: http-json, url: \"http://q/{name}\", queued: /q}",
                Source::HttpJson {
                    page: page("http://q/mx2"),
                    pointers: Figures::new([(Figure::Queued, Pointer::new("/q").unwrap())]),
                },
            ),
            (
                ", stats: {source: agent-check}",
                Source::AgentCheck("[2001:db8::12]:9427".parse().unwrap()),
            ),
            (
                ", stats: {source: command, command: [/bin/q, \"{address}\", \"{name}\"]}",
                Source::Command(
                    ["/bin/q", "2001:db8::12", "mx2"]
                        .map(str::to_owned)
                        .to_vec(),
                ),
            ),
        ];
        for (stats, expected) in table {
            assert_eq!(source(stats), Some(expected), "{stats}");
        }
        assert_eq!(source(", stats: {source: none}"), None);
    }

    #[test]
    fn this_box_is_asked_without_a_connection() {
        let config = config("");
        let (_, own) = config.cluster.backends().next().unwrap();
        let agent = agent();
        let source = Source::of(&config, own, &agent);
        assert_eq!(source, Some(Source::Own(agent)));
    }

    #[test]
    fn a_selector_that_cannot_be_followed_is_named() {
        let stats = ", stats: {source: prometheus, url: \"http://q/\", sessions: sum(depth)}";
        let Some(Source::Invalid(error)) = source(stats) else {
            panic!("{:?}", source(stats));
        };
        assert!(error.to_string().starts_with("stats.sessions: "), "{error}");
    }

    #[test]
    fn an_https_source_without_certificates_says_so_and_does_not_connect() {
        let stats = |file: &str| {
            format!(
                ", stats: {{source: prometheus, url: \"https://q/\", ca_file: {file}, sessions: depth}}"
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none.pem");
        std::fs::write(&none, "no certificate").unwrap();
        for file in [none.to_str().unwrap(), "/nonexistent"] {
            let Some(Source::Invalid(error)) = source(&stats(file)) else {
                panic!("{file}");
            };
            let said = error.to_string();
            assert!(
                said.starts_with(&format!("stats.ca_file: {file}: ")),
                "{said}"
            );
        }
    }
}
