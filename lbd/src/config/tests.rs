use std::net::IpAddr;

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
    let Source::Prometheus { url, fields } = &mx3.stats else {
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
