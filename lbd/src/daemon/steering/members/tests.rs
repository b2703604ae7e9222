//! Members through changes of the configuration, and what counts as dead.
use super::*;

const FILE: &str = "
node: {name: mx1, interfaces: [eth0]}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  ports: [25]
  sites:
    - name: here
      backends:
        - {name: mx1, address: 192.0.2.11, forwarding: nat}
        - {name: mx2, address: 192.0.2.12, forwarding: nat}
        - {name: mx3, address: 192.0.2.13}
";

/// Gives ids as the maps do: what has one keeps it.
fn configure(
    members: &mut Members,
    known: &mut BTreeMap<Endpoint, BackendId>,
    file: &str,
) -> Vec<u16> {
    let cluster = config::Config::parse(file, "f").unwrap().cluster;
    for endpoint in endpoints("mx1", &cluster) {
        let next = BackendId(u16::try_from(known.len()).unwrap());
        known.entry(endpoint).or_insert(next);
    }
    let gone = members.configure("mx1", &cluster, known);
    gone.into_iter().map(|id| id.0).collect()
}

#[test]
fn a_backend_whose_sockets_become_others_gets_another_id_and_its_own_one_back() {
    let (mut members, mut known) = (Members::default(), BTreeMap::new());
    let line = "mx3, address: 192.0.2.13";
    let as_is = |more: &str| FILE.replace(line, &format!("{line}{more}"));
    // What mx3 is changed to, its id then, and the leaving ids.
    let steps: [(&str, u16, &[u16]); 8] = [
        ("", 2, &[]),
        (", forwarding: ipip", 2, &[]),
        (", forwarding: nat", 3, &[2]),
        (", forwarding: nat, port: 25", 3, &[]),
        (", forwarding: nat, port: 2525", 4, &[3]),
        ("", 2, &[4]),
        (", forwarding: nat", 3, &[2]),
        (", weight: 7", 2, &[3]),
    ];
    for (more, id, gone) in steps {
        assert_eq!(
            configure(&mut members, &mut known, &as_is(more)),
            gone,
            "{more}"
        );
        let mx3 = members.by_name("mx3").unwrap();
        assert_eq!(mx3.id, BackendId(id), "{more}");
        mx3.heard_ns = 42;
    }
    let removed = FILE.replace("        - {name: mx3, address: 192.0.2.13}\n", "");
    assert_eq!(configure(&mut members, &mut known, &removed), [2]);
}

#[test]
fn a_round_waits_for_no_backend_that_is_not_asked() {
    let heard = |members: &mut Members, names: &[&str]| {
        for member in members.iter_mut() {
            member.heard_ns = if names.contains(&member.name.as_str()) {
                42
            } else {
                0
            };
        }
        members.all_heard_since(41)
    };
    let (mut members, mut known) = (Members::default(), BTreeMap::new());
    configure(&mut members, &mut known, FILE);
    assert!(!heard(&mut members, &["mx1", "mx2"]), "mx3 is asked");
    let line = "mx3, address: 192.0.2.13";
    let unasked = FILE.replace(line, &format!("{line}, stats: {{source: none}}"));
    configure(&mut members, &mut known, &unasked);
    assert!(heard(&mut members, &["mx1", "mx2"]));
    assert!(!heard(&mut members, &["mx1"]));
    assert!(members.any_polled());
}

#[test]
fn a_box_is_dead_only_when_its_own_agent_does_not_say_otherwise() {
    const S: u64 = 1_000_000_000;
    const FAILING_SINCE: u64 = 100 * S;
    let measured = |at_ns: u64, sessions: u64| {
        let sample = Sample {
            sessions: Some(sessions),
            ..Sample::default()
        };
        Some((sample, at_ns))
    };
    let failed = || Some("connection refused".to_owned());
    // What the agent said last, how the last poll failed, and what follows at 110 s.
    let table = [
        ("no agent", None, None, HealthState::Down),
        (
            "sessions since",
            measured(105 * S, 3),
            None,
            HealthState::NotServing,
        ),
        ("none since", measured(105 * S, 0), None, HealthState::Down),
        (
            "not asked since",
            measured(99 * S, 3),
            None,
            HealthState::NotServing,
        ),
        (
            "not asked since, none before",
            measured(99 * S, 0),
            None,
            HealthState::NotServing,
        ),
        (
            "does not answer",
            measured(99 * S, 3),
            failed(),
            HealthState::Down,
        ),
        ("too old", measured(79 * S, 3), None, HealthState::Down),
    ];
    for (what, answered, poll_error, expected) in table {
        let (mut members, mut known) = (Members::default(), BTreeMap::new());
        configure(&mut members, &mut known, FILE);
        let member = members.by_name("mx2").unwrap();
        member.checked = Checked {
            state: HealthState::Down,
            reason: Some("no connection".to_owned()),
            failing_since_ns: FAILING_SINCE,
        };
        (member.answered, member.poll_error) = (answered, poll_error);
        member.settle_health(30 * S, 110 * S);
        assert_eq!(member.health.state, expected, "{what}");
    }
}

#[test]
fn this_box_serves_the_virtual_address_however_others_reach_it() {
    let mut members = Members::default();
    configure(&mut members, &mut BTreeMap::new(), FILE);
    let translated: Vec<bool> = members
        .iter()
        .map(|it| it.endpoint.is_translated())
        .collect();
    assert_eq!(translated, [false, true, false]);
    let addresses: Vec<IpAddr> = members.nat_backends().map(|nat| nat.address).collect();
    assert_eq!(addresses, [IpAddr::from([192, 0, 2, 12])]);
}

#[test]
fn a_configuration_that_says_nothing_gives_the_policys_own_defaults() {
    let yaml = include_str!("../../../../../deploy/lbd.yaml");
    let config = config::Config::parse(yaml, "lbd.yaml").expect("shipped");
    let settings = policy_settings(&config.cluster);
    assert_eq!(settings, policy::Settings::default());
}
