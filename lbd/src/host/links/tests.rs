use super::*;

type Edit = fn(&mut Link);

fn links(links: &[Link]) -> Links {
    Links::of(links.iter().cloned())
}

fn eth0() -> Link {
    Link {
        name: "eth0".into(),
        ifindex: 2,
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        up: true,
        carrier: true,
        addresses: vec![LinkAddress {
            address: [192, 0, 2, 11].into(),
            prefix_bits: 24,
            valid_s: Some(60),
        }],
        ..Link::default()
    }
}

#[test]
fn each_difference_of_a_watched_interface_is_one_change() {
    let names = ["eth0".to_owned()];
    let edits: [(&str, Edit); 5] = [
        ("down", |l| l.up = false),
        ("no carrier", |l| l.carrier = false),
        ("another MAC", |l| l.mac = Some(Mac([2, 0, 0, 0, 0, 2]))),
        ("another MTU", |l| l.mtu = 9000),
        ("no address", |l| l.addresses.clear()),
    ];
    for (what, edit) in edits {
        let mut new = eth0();
        edit(&mut new);
        let changes = links(&[eth0()]).changes(&links(&[new.clone()]), &names);
        assert_eq!(changes, [LinkChange::Now(new)], "{what}");
    }
}

#[test]
fn a_lease_counting_down_is_no_change() {
    let mut later = eth0();
    later.addresses[0].valid_s = Some(59);
    let changes = links(&[eth0()]).changes(&links(&[later]), &["eth0".to_owned()]);
    assert_eq!(changes, []);
}

#[test]
fn an_interface_that_is_not_watched_is_no_change() {
    let changes = links(&[eth0()]).changes(&links(&[]), &["eth1".to_owned()]);
    assert_eq!(changes, []);
}

#[test]
fn a_renamed_interface_is_gone_and_one_made_again_is_both() {
    let names = ["eth0".to_owned()];
    let gone = LinkChange::Gone {
        name: "eth0".into(),
        ifindex: 2,
    };
    let mut renamed = eth0();
    renamed.name = "lan".into();
    let changes = links(&[eth0()]).changes(&links(&[renamed]), &names);
    assert_eq!(changes, std::slice::from_ref(&gone));

    let mut again = eth0();
    again.ifindex = 9;
    let changes = links(&[eth0()]).changes(&links(&[again.clone()]), &names);
    assert_eq!(changes, [gone, LinkChange::Now(again)]);
}
