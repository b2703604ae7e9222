//! Prints what a packet costs.
use lbd_tests::xdp::bench::{Effort, Report, run};

fn main() -> anyhow::Result<()> {
    let report = run(Effort {
        rounds: std::env::args().nth(1).map_or(Ok(7), |n| n.parse())?,
        packets: 300_000,
    })?;
    print!("{:>20}", "ns a packet, net");
    for kind in Report::kinds() {
        print!("{kind:>16}");
    }
    println!();
    for program in Report::programs() {
        print!("{program:>20}");
        for kind in Report::kinds() {
            print!("{:>16.1}", report.ns(program, kind).unwrap_or(f64::NAN));
        }
        println!();
    }
    for (what, ratio, most) in report.ratios() {
        println!("{what:>30}  {ratio:.2} (at most {most})");
    }
    Ok(())
}
