//! The floor programs, and packets of many flows in turn.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunAttrs, Xdp, XdpMode, xdp::XdpLink},
};
use lbd_floor::{FLOOR_RING, Walk};
use lbd_tests::xdp::{
    object,
    packet::{ACK, SYN, VIP4, v4, v6},
    world::{backend_mac, verdict},
};

use crate::machine::cpu_ns;

/// The floor programs and the walk through flows.
pub(crate) struct Floor {
    ebpf: Ebpf,
}

/// Which packets are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packets {
    /// 4 or 6.
    pub(crate) family: u8,
    /// IPv4 only.
    pub(crate) to: Ipv4Addr,
    /// TCP flags.
    pub(crate) flags: u8,
    /// A power of two.
    pub(crate) flows: u64,
    /// The number of the first one.
    pub(crate) first: u64,
    /// In host byte order; of an IPv6 address the last word.
    pub(crate) first_source: u32,
    /// In random order instead of that of insertion.
    pub(crate) shuffled: bool,
}

impl Packets {
    /// Of flows that are opened with [`Floor::open`].
    pub(crate) fn of(family: u8, flags: u8, flows: u64) -> Self {
        Self {
            family,
            to: VIP4,
            flags,
            flows,
            first: 0,
            first_source: 0x0b00_0000,
            shuffled: false,
        }
    }
}

impl Floor {
    /// For [`VIP4`] and so many backends, which need not exist.
    pub(crate) fn load(backends: u16) -> Result<Self> {
        let macs: Vec<[u8; 6]> = (0..backends).map(backend_mac).collect();
        Self::load_for(VIP4, &macs)
    }

    /// For port 25 of an address, and the MACs of its backends.
    pub(crate) fn load_for(vip: Ipv4Addr, backends: &[[u8; 6]]) -> Result<Self> {
        let vip = u32::from_ne_bytes(vip.octets());
        let port = 25_u16.to_be();
        let mut ebpf = EbpfLoader::new()
            .override_global("FLOOR_VIP", &vip, true)
            .override_global("FLOOR_PORT", &port, true)
            .load(object::FLOOR)?;
        for name in [
            "nothing", "parse", "swap", "lru", "bucket", "walk", "walk6", "generate", "sink",
        ] {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load()?;
        }
        let mut ring: Array<&mut MapData, u32> =
            ebpf.map_mut("RING").context("RING")?.try_into()?;
        for slot in 0..FLOOR_RING {
            ring.set(slot, slot % u32::try_from(backends.len())?, 0)?;
        }
        let mut macs: Array<&mut MapData, u64> =
            ebpf.map_mut("MACS").context("MACS")?.try_into()?;
        for (id, mac) in (0..).zip(backends) {
            let mut bytes = [0; 8];
            bytes[..6].copy_from_slice(mac);
            macs.set(id, u64::from_le_bytes(bytes), 0)?;
        }
        Ok(Self { ebpf })
    }

    pub(crate) fn fd(&self, name: &str) -> Result<ProgramFd> {
        let program: &Xdp = self.ebpf.program(name).context("program")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Opens the flows of these packets: a SYN each, then an ACK each.
    pub(crate) fn open(&mut self, program: &ProgramFd, packets: Packets) -> Result<()> {
        let syn = Packets {
            flags: SYN,
            ..packets
        };
        self.go(program, syn, u32::try_from(packets.flows)?)?;
        self.hear(program, packets)
    }

    /// An ACK of each of them: they are all as new, and the LRU hash has them again.
    pub(crate) fn hear(&mut self, program: &ProgramFd, packets: Packets) -> Result<()> {
        let ack = Packets {
            flags: ACK,
            first: 0,
            shuffled: false,
            ..packets
        };
        self.go(program, ack, u32::try_from(packets.flows)?)
    }

    /// Attaches a program in native mode, in the caller's namespace, until the link is dropped.
    pub(crate) fn attach(&mut self, name: &str, ifindex: u32) -> Result<XdpLink> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context("program")?.try_into()?;
        let link = program.attach_to_if_index(ifindex, XdpMode::Driver)?;
        Ok(program.take_link(link)?)
    }

    /// Sends so many frames out of an interface of the caller's namespace, as a driver would receive
    /// them at its other end.
    pub(crate) fn send(&mut self, packets: Packets, ifindex: u32, repeat: u32) -> Result<()> {
        let frame = v4(0).to4(packets.to).payload(10).bytes();
        let mut state: Array<&mut MapData, Walk> =
            self.ebpf.map_mut("WALK").context("WALK")?.try_into()?;
        state.set(0, entry(packets, frame.len())?, 0)?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, u32::try_from(frame.len())?, 0, ifindex, 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let generate: &Xdp = self
            .ebpf
            .program("generate")
            .context("generate")?
            .try_into()?;
        generate.test_run(TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }

    /// How many frames `sink` has counted.
    pub(crate) fn sunk(&mut self) -> Result<u64> {
        let map: Array<&mut MapData, u64> =
            self.ebpf.map_mut("SUNK").context("SUNK")?.try_into()?;
        Ok(map.get(&0, 0)?)
    }

    /// Gross nanoseconds a packet.
    pub(crate) fn time(
        &mut self,
        program: &ProgramFd,
        packets: Packets,
        repeat: u32,
    ) -> Result<f64> {
        // A signal ends a run early (EINTR), such as when the machine is paused: once more then.
        let mut tries = 0;
        loop {
            let start = cpu_ns();
            match self.go(program, packets, repeat) {
                Ok(()) => return Ok((cpu_ns() - start) / f64::from(repeat)),
                Err(error) if tries == 3 => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    /// Whether a program sends these packets on. One that lets all pass is quick, and measures nothing.
    pub(crate) fn forwards(&mut self, program: &ProgramFd, packets: Packets) -> Result<bool> {
        Ok(self.answer(program, packets, 1)? == verdict::TX)
    }

    fn go(&mut self, program: &ProgramFd, packets: Packets, repeat: u32) -> Result<()> {
        self.answer(program, packets, repeat).map(drop)
    }

    fn answer(&mut self, program: &ProgramFd, packets: Packets, repeat: u32) -> Result<u32> {
        let (frame, walk) = if packets.family == 4 {
            (v4(0).to4(packets.to).payload(10).bytes(), "walk")
        } else {
            (v6(0).payload(10).bytes(), "walk6")
        };
        let mut state: Array<&mut MapData, Walk> =
            self.ebpf.map_mut("WALK").context("WALK")?.try_into()?;
        state.set(0, entry(packets, frame.len())?, 0)?;
        let mut target: ProgramArray<&mut MapData> =
            self.ebpf.map_mut("TARGET").context("TARGET")?.try_into()?;
        target.set(0, program, 0)?;
        let walk: &Xdp = self.ebpf.program(walk).context("walk")?.try_into()?;
        let mut out = vec![0; 256];
        let result = walk.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::default()
        })?;
        ensure!(
            [verdict::TX, verdict::PASS, verdict::DROP].contains(&result.return_value),
            "a program under test answered {}",
            result.return_value
        );
        Ok(result.return_value)
    }
}

fn entry(packets: Packets, length: usize) -> Result<Walk> {
    let mask = packets.flows - 1;
    Ok(Walk {
        next: packets.first,
        mask,
        length: u32::try_from(length)?,
        tcp_flags: packets.flags.into(),
        first_source: packets.first_source,
        shuffled: packets.shuffled.into(),
        half_bits: u64::from(mask.count_ones() / 2).max(1),
        destination: u32::from_ne_bytes(packets.to.octets()),
        reserved: 0,
    })
}
