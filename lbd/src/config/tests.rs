use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const DESIGN: &str = r#"
node:
  name: mx1
  interfaces: [eth0]
  priority: 200
  start_as: backup
  xdp: auto
  pin_dir: /sys/fs/bpf/lbd
  state_dir: /var/lib/lbd
  control: /run/lbd/lbd.sock
  http: 127.0.0.1:9425
  channel: 192.0.2.11:9426
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24, "2001:db8::25/64"]
  ports: [25]
  mode: active-active
  forwarding: dsr
  advertisement_interval: 1s
  preempt: true
  secret_file: /etc/lbd/cluster.key
  stats: {interval: 10s, source: lbd}
  health: {interval: 5s, timeout: 10s, rise: 2, fall: 3}
  policy: {kind: queue-aware, above_average: 50, high_threshold: 200, min_active: 0.5}
  access: {allow: [], deny: [198.51.100.0/24], deny_file: null, new_per_second: null}
  sites:
    - name: dallas
      backends:
        - {name: mx1, address: 192.0.2.11, weight: 100}
        - {name: mx2, address: 192.0.2.12, weight: 50}
        - {name: mx3, address: 192.0.2.13, weight: 50, stats: {source: prometheus, url: "http://192.0.2.13:9154/metrics", queued: showq_queue_depth}}
"#;

fn parse(text: &str) -> Config {
    Config::parse(text, "lbd.yaml").unwrap_or_else(|errors| panic!("{}", shown(&errors)))
}

/// Every configuration that is shipped, with its name.
fn shipped() -> Vec<(String, String)> {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let folders = [deploy.to_owned(), format!("{deploy}/examples")];
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    files.map(read).collect()
}

fn shown(errors: &[ConfigError]) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("\n\n")
}

#[test]
fn every_key_of_the_design_is_read() {
    let config = parse(DESIGN);
    assert_eq!(config.warnings(), []);
    assert_eq!(config.node.priority.0, 200);
    assert_eq!(config.cluster.virtual_addresses.len(), 2);
    assert_eq!(config.cluster.access.deny[0].to_string(), "198.51.100.0/24");
    let mx3 = config.cluster.backends().nth(2).unwrap().1;
    let Source::Prometheus { url, fields, .. } = &mx3.stats else {
        panic!("{:?}", mx3.stats);
    };
    assert_eq!(url, "http://192.0.2.13:9154/metrics");
    assert_eq!(fields.queued.as_deref(), Some("showq_queue_depth"));
}

#[test]
fn an_ipv6_advertisement_begins_with_a_link_local_address() {
    let mut config = parse(DESIGN);
    let v6 = config.cluster.virtual_addresses_v6();
    assert_eq!(v6[0].to_string(), "fe80::200:5eff:fe00:233");
    assert_eq!(v6[1].to_string(), "2001:db8::25");
    let own: IpAddr = "fe80::25".parse().unwrap();
    config.cluster.virtual_addresses.push(VirtualAddress {
        address: own,
        prefix_len: 64,
    });
    let v6 = config.cluster.virtual_addresses_v6();
    assert_eq!(v6.len(), 2);
    assert_eq!(IpAddr::from(v6[0]), own);
    assert_eq!(config.cluster.virtual_addresses_v4().len(), 1);
}

#[test]
fn a_short_file_has_every_default() {
    let text = include_str!("../../../deploy/lbd.yaml");
    let config = parse(text);
    assert_eq!(config.cluster.ports, [25]);
    assert_eq!(config.node.buckets4(), lbd_common::flow::BUCKETS4);
    assert_eq!(config.node.buckets6(), lbd_common::flow::BUCKETS6);
    let mx2 = config.cluster.backends().nth(1).unwrap().1;
    let expected = "192.0.2.12:9426".parse().unwrap();
    assert_eq!(config.stats_address(mx2), Some(expected));
}

/// Each `testdata/config/<case>.yaml` with what is printed for it next to it in `<case>.txt`.
/// `LBD_BLESS=1` writes the expected texts anew; read the difference before committing it.
#[test]
fn each_mistake_is_told_as_recorded() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/config");
    let mut cases: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 40, "{dir} has {} cases", cases.len());
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let errors = Config::parse(&text, "lbd.yaml").expect_err(&case.display().to_string());
        let told = shown(&errors) + "\n";
        let expected = case.with_extension("txt");
        if std::env::var_os("LBD_BLESS").is_some() {
            std::fs::write(&expected, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert!(
            told == expected,
            "{}:\n{told}\nexpected:\n{expected}",
            case.display()
        );
    }
}

#[test]
fn every_example_is_what_its_name_says() {
    let examples: std::collections::BTreeMap<_, _> = shipped()
        .into_iter()
        .map(|(name, text)| (name, parse(&text)))
        .collect();
    let names: Vec<&str> = examples.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "active-active",
            "active-passive",
            "ecmp",
            "ipip",
            "lbd",
            "nat",
            "two-sites"
        ]
    );
    for (name, config) in &examples {
        let warned: Vec<&str> = config.warnings().iter().map(|w| w.path.as_str()).collect();
        assert_eq!(warned, Vec::<&str>::new(), "{name}");
    }
    assert_eq!(examples["active-passive"].cluster.mode, Mode::ActivePassive);
    assert_eq!(
        examples["ecmp"].cluster.virtual_router_id, 61,
        "the node's own"
    );
    assert_eq!(examples["two-sites"].cluster.sites[0].spill, ["atlanta"]);
    for (name, forwarding) in [("nat", Forwarding::Nat), ("ipip", Forwarding::Ipip)] {
        let config = &examples[name];
        assert!(
            config
                .cluster
                .backends()
                .all(|(_, b)| b.forwarding == forwarding),
            "{name}"
        );
    }
}

#[test]
fn one_file_tells_all_its_mistakes() {
    let text = include_str!("../../testdata/config/ten-mistakes.yaml");
    let errors = Config::parse(text, "lbd.yaml").unwrap_err();
    assert_eq!(errors.len(), 10, "{}", shown(&errors));
    assert!(errors.is_sorted_by_key(|error| error.place));
}

#[test]
fn a_thousand_mistakes_are_told_briefly() {
    let keys: Vec<String> = (0..1000).map(|i| format!("  key{i}: 1")).collect();
    let text = format!("{DESIGN}\nmore:\n{}\n{}", keys.join("\n"), keys.join("\n"));
    let errors = Config::parse(&text, "lbd.yaml").unwrap_err();
    assert_eq!(errors.len(), 1);
    let text = DESIGN.replace("node:\n", &format!("node:\n{}\n", keys.join("\n")));
    let errors = Config::parse(&text, "lbd.yaml").unwrap_err();
    assert_eq!(errors.len(), reader::MAX_ERRORS + 1);
    assert_eq!(errors.last().unwrap().problem, "and 900 more errors");
}

#[test]
fn a_file_that_grows_without_end_is_refused() {
    let aliases = |name: &str| format!("[{}]", vec![format!("*{name}"); 9].join(","));
    let levels: Vec<String> = ('b'..='i')
        .zip('a'..)
        .map(|(name, below)| format!("{name}: &{name} {}", aliases(&below.to_string())))
        .collect();
    let bomb = format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}\n", levels.join("\n"));
    let deep = "[".repeat(100_000);
    let block = (0..10_000)
        .map(|i| " ".repeat(i) + "a:")
        .collect::<Vec<_>>()[..200]
        .join("\n");
    let large = format!("node: {}", "x".repeat(yaml::MAX_BYTES));
    for text in [&bomb, &deep, &block, &large] {
        let errors = Config::parse(text, "lbd.yaml").unwrap_err();
        assert_eq!(errors.len(), 1, "{}", shown(&errors));
    }
}

#[test]
fn a_pure_director_and_a_file_that_serves_nothing_are_warned_of() {
    let text = DESIGN
        .replace("name: mx1\n", "name: director\n")
        .replace("weight: 100", "weight: 0")
        .replace("weight: 50", "weight: 0")
        .replace("  secret_file: /etc/lbd/cluster.key\n", "");
    let warnings = parse(&text);
    let paths: Vec<&str> = warnings
        .warnings()
        .iter()
        .map(|w| w.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "node.name",
            "cluster.sites",
            "node.channel",
            "cluster.authentication"
        ]
    );
}

#[test]
fn a_number_with_a_leading_zero_is_refused_with_what_to_write() {
    let text = DESIGN.replace("virtual_router_id: 51", "virtual_router_id: 051");
    let errors = Config::parse(&text, "lbd.yaml").unwrap_err();
    assert!(
        errors.len() == 1 && errors[0].hint.contains("write 51"),
        "{errors:?}"
    );
}

#[test]
fn a_link_local_virtual_address_is_warned_of() {
    for (address, link_local) in [
        ("192.0.2.25/24", "169.254.1.25/16"),
        ("2001:db8::25/64", "fe80::25/64"),
    ] {
        let config = parse(&DESIGN.replace(address, link_local));
        let paths: Vec<&str> = config.warnings().iter().map(|w| w.path.as_str()).collect();
        assert_eq!(paths, ["cluster.virtual_addresses"], "{link_local}");
    }
}

#[test]
fn every_choice_that_is_open_to_the_segment_is_warned_of() {
    let warned = |text: &str| -> Vec<String> {
        let config = parse(text);
        config.warnings().iter().map(|w| w.path.clone()).collect()
    };
    let key = "  secret_file: /etc/lbd/cluster.key\n";
    let choose = |authentication: &str| {
        DESIGN.replace(key, &format!("{key}  authentication: {authentication}\n"))
    };
    assert_eq!(warned(&choose("enforce")), Vec::<String>::new());
    for open in ["off", "receive-only", "permissive"] {
        assert_eq!(warned(&choose(open)), ["cluster.authentication"], "{open}");
    }
    for http in ["0.0.0.0:9425", "192.0.2.11:9425", "'[::]:9425'"] {
        let text = choose("enforce").replace("127.0.0.1:9425", http);
        assert_eq!(warned(&text), ["node.http"], "{http}");
    }
    let keyless = DESIGN.replace(key, "");
    assert_eq!(warned(&keyless), ["node.channel", "cluster.authentication"]);
}

#[test]
fn a_tunnel_from_an_unknown_address_is_warned_of() {
    let file = "
node: {name: mx1, interfaces: [eth0]}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  forwarding: ipip
  secret_file: /etc/lbd/cluster.key
  sites:
    - name: here
      backends:
        - {name: mx1, address: 192.0.2.11}
        - {name: mx2, address: 203.0.113.12}
        - {name: mx3, address: \"2001:db8:3::13\"}
";
    let warned = |text: &str| -> Vec<String> {
        let config = parse(text);
        config.warnings().iter().map(|w| w.path.clone()).collect()
    };
    assert_eq!(warned(file), ["cluster.sites[0].backends[2].address"]);
    let known = file.replace(
        "  sites:\n",
        "  unicast_peers: [192.0.2.11, \"2001:db8::11\"]\n  sites:\n",
    );
    let known = known.replace("192.0.2.25/24", "192.0.2.25/24, \"2001:db8::25/64\"");
    assert_eq!(warned(&known), Vec::<String>::new());
    let alone = file.replace("        - {name: mx3, address: \"2001:db8:3::13\"}\n", "");
    assert_eq!(warned(&alone), Vec::<String>::new());
}

#[test]
fn a_director_that_is_no_backend_is_one_that_the_others_know() {
    let file = "
node: {name: lb1, interfaces: [eth0], channel: '192.0.2.2:9426'}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  secret_file: /etc/lbd/cluster.key
  directors: [192.0.2.3]
  sites:
    - name: here
      backends: [{name: mx1, address: 192.0.2.11}]
";
    let warned = |text: &str| -> Vec<String> {
        let config = parse(text);
        config.warnings().iter().map(|w| w.path.clone()).collect()
    };
    assert_eq!(warned(file), ["node.name", "cluster.directors"]);
    let known = file.replace("[192.0.2.3]", "[192.0.2.2, 192.0.2.3]");
    assert_eq!(warned(&known), Vec::<String>::new());
    assert_eq!(warned(&file.replace("lb1", "mx1")), Vec::<String>::new());
    let keyless = file.replace("  secret_file: /etc/lbd/cluster.key\n", "");
    assert_eq!(
        warned(&keyless),
        ["node.name", "node.channel", "cluster.authentication"]
    );
    for wrong in ["192.0.2.11", "192.0.2.25"] {
        let text = file.replace("192.0.2.3", wrong);
        let errors = Config::parse(&text, "lbd.yaml").unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(errors.len() == 1 && errors[0].contains(wrong), "{errors:?}");
    }
}

#[test]
fn what_is_presented_means_the_same() {
    let mut cases: Vec<String> = shipped().into_iter().map(|(_, text)| text).collect();
    cases.push(DESIGN.to_owned());
    cases.push(DESIGN.replace("  preempt: true\n", ALL_OTHER_KEYS));
    for text in cases {
        let config = parse(&text);
        let presented = config.present();
        assert_eq!(parse(&presented), config, "{presented}");
    }
}

/// The keys that the design's example leaves out, each with a value that is not its default.
const ALL_OTHER_KEYS: &str = r#"
  preempt: true
  preempt_delay: 90s
  sync_timeout: 0.5s
  unicast_peers: [192.0.2.11, "2001:db8::12"]
  directors: [192.0.2.2, "2001:db8::2"]
  vrrp_checksum: rfc9568
  advertise_link_local: false
  authentication: receive-only
  announce: {count: 9, gap: 0s, repeat: 0s}
  no_healthy_backend: ignore
  selection: {affinity: source, max_skew: 2.25}
  idle: {half_open: 5s, established: 2h, closing: 10s}
  drain: {deadline: 1h, at_deadline: reset}
"#;

#[test]
fn an_error_found_later_points_at_its_key() {
    let config = parse(DESIGN);
    let error = config.error_at("node.http", "the port is taken", "choose another");
    assert_eq!(
        error.to_string(),
        "lbd.yaml:11:9: node.http: the port is taken\n11 |   http: 127.0.0.1:9425\n   |         ^\n  choose another"
    );
    // A default has no place of its own: the table it belongs in is shown.
    let error = config.error_at("node.queue.spool", "there is no such folder", "name one");
    assert_eq!(error.place.map(|place| place.line), Some(3));
}

/// A text that was a configuration before lines, characters and words of it were changed.
fn mutated() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("-1"),
        Just("null"),
        Just("~"),
        Just("[]"),
        Just("{}"),
        Just("&a"),
        Just("*a"),
        Just("<<: *a"),
        Just("\t"),
        Just("\u{feff}"),
        Just("!!int"),
        Just("? "),
        Just("---"),
        Just("..."),
        Just("0x1f"),
        Just("1e400"),
        Just(".nan"),
        Just("99999999999999999999"),
        Just("::"),
        Just("é\u{1b}"),
        Just("'"),
        Just("\""),
        Just("|\n"),
        Just(": "),
        Just("- "),
        Just("\n"),
        Just("0s"),
        Just("255"),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, word), 1..6);
    edits.prop_map(|edits| {
        let mut text: Vec<char> = DESIGN.chars().collect();
        for (at, removed, word) in edits {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, word.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn a_changed_file_is_a_configuration_or_mistakes_with_a_place(text in mutated()) {
        match Config::parse(&text, "lbd.yaml") {
            Ok(config) => prop_assert_eq!(parse(&config.present()), config),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                let lines = u32::try_from(text.lines().count()).unwrap() + 1;
                for error in errors {
                    prop_assert!(!error.problem.is_empty() && !error.hint.is_empty());
                    let line = error.place.map_or(1, |place| place.line);
                    prop_assert!((1..=lines).contains(&line), "{error}");
                    prop_assert!(!error.to_string().contains('\u{1b}'), "{error}");
                }
            }
        }
    }

    #[test]
    fn any_text_at_all_is_answered(text in "\\PC{0,200}", bytes: Vec<u8>) {
        let _ = Config::parse(&text, "lbd.yaml");
        let _ = Config::parse(&String::from_utf8_lossy(&bytes), "lbd.yaml");
    }
}
