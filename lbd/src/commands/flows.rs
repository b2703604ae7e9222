//! `lbd flows`.
use std::{fmt::Write as _, path::Path};

use hyper::Method;

use super::{
    client,
    table::{self, Column, Paint, Side, Tone, titles},
};
use crate::{
    daemon::operator::flow_query::{FlowList, FlowQuery, MOST},
    flows::FlowState,
};

/// Flags of `lbd flows`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only sessions steered to this backend.
    #[arg(long, value_name = "NODE")]
    backend: Option<String>,
    /// Only sessions from this address or network.
    #[arg(long, value_name = "ADDR")]
    source: Option<String>,
    /// Only sessions in this state.
    #[arg(long, value_enum)]
    state: Option<FlowState>,
    /// List the sources with the most flows instead.
    #[arg(long)]
    by_source: bool,
    /// List at most this many; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(0..=MOST as i64))]
    limit: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let query = FlowQuery {
        backend: args.backend.clone(),
        source: args.source.clone(),
        state: args.state,
        limit: Some(usize::from(args.limit)),
        by_source: args.by_source,
    };
    let query = serde_json::to_value(query)?;
    let list: FlowList = client::request(&socket, Method::POST, "/flows", Some(&query))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        print!("{}", render(&list, Paint::for_stdout()));
    }
    Ok(())
}

const FLOWS: [Column; 5] = [
    ("SOURCE", 31, Side::Left),
    ("VIP", 20, Side::Left),
    ("BACKEND", 10, Side::Left),
    ("STATE", 11, Side::Left),
    ("IDLE", 4, Side::Right),
];

const SOURCES: [Column; 2] = [("SOURCE", 45, Side::Left), ("FLOWS", 10, Side::Right)];

fn render(list: &FlowList, paint: Paint) -> String {
    let mut text = String::new();
    let shown = list.flows.len() + list.sources.len();
    // Writing to a String cannot fail.
    if shown > 0 && list.sources.is_empty() {
        let _ = writeln!(text, "{}", paint.tone(Tone::Faint, &titles(&FLOWS)));
    } else if shown > 0 {
        let _ = writeln!(text, "{}", paint.tone(Tone::Faint, &titles(&SOURCES)));
    }
    for flow in &list.flows {
        let vip = flow.vip.map_or("-".to_owned(), |vip| vip.to_string());
        // IPv6 addresses that do not fit are whole in the JSON.
        let cells = [
            &*flow.source.to_string(),
            &vip,
            &flow.backend,
            flow.state.name(),
            &flow.idle_s.to_string(),
        ];
        let _ = writeln!(text, "{}", table::row(&FLOWS, cells));
    }
    for source in &list.sources {
        let cells = [&*source.source.to_string(), &source.flows.to_string()];
        let _ = writeln!(text, "{}", table::row(&SOURCES, cells));
    }
    let of = if list.matched == list.total {
        String::new()
    } else {
        format!(" of {} in the table", list.total)
    };
    let _ = writeln!(text, "{} flows{of}, {shown} lines shown", list.matched);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::operator::flow_query::{FlowStatus, SourceCount};

    #[test]
    fn flows_and_sources_fit_their_columns() {
        let flow = FlowStatus {
            source: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                .parse()
                .unwrap(),
            vip: Some(
                "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:25"
                    .parse()
                    .unwrap(),
            ),
            backend: "a-long-backend-name".to_owned(),
            state: FlowState::Established,
            idle_s: 1234,
            from_peer: false,
            adopted: false,
        };
        let list = FlowList {
            matched: 5,
            total: 9,
            flows: vec![flow],
            ..FlowList::default()
        };
        let text = render(&list, Paint::PLAIN);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.ends_with("5 flows of 9 in the table, 1 lines shown\n"));

        let list = FlowList {
            matched: 9,
            total: 9,
            sources: vec![SourceCount {
                source: "198.51.100.7".parse().unwrap(),
                flows: 9,
            }],
            ..FlowList::default()
        };
        let text = render(&list, Paint::PLAIN);
        assert!(
            text.contains("198.51.100.7") && !text.contains("VIP"),
            "{text}"
        );
    }
}
