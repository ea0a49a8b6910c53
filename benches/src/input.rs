//! Input that is the same in every run: numbers, prefixes, attribute sets, candidates.

use std::net::Ipv4Addr;

use codec::{AsPath, AttributeWriter, Ipv4Prefix, Origin};
use rib::{Candidate, Summary};

/// A generator (xorshift); the seed is not 0.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }

    /// The items in another order.
    pub fn shuffled<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut items = items.to_vec();
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u32 + 1) as usize);
        }
        items
    }
}

/// The canonical form of an attribute set, one for each number.
pub fn canonical(n: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = AttributeWriter::new(&mut out);
    writer.origin(Origin::Igp);
    writer.as_path(&AsPath::default(), &[65002, 3356, 174, 100_000 + n], true);
    writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
    writer.communities(&[0x0d1c_0001, 0x0d1c_0002, 0x0d1c_0064]);
    out
}

/// Lengths as in the table: three in five a /24, most others a little shorter.
pub fn made_up(count: u32) -> Vec<Ipv4Prefix> {
    let mut random = Random(1);
    let lengths = [24, 24, 24, 24, 24, 24, 23, 22, 20, 16];
    let mut made_up = |_| {
        let length = lengths[random.below(10) as usize];
        let address = 0x0100_0000 + random.below(0xdf00_0000 >> 10) * (1 << 10);
        Ipv4Prefix::masked(Ipv4Addr::from(address + (random.below(4) << 8)), length)
    };
    (0..count).map(&mut made_up).collect()
}

/// Paths from as many peers, two of each neighbor AS, whose MEDs are below `meds`.
pub fn candidates(paths: u32, meds: u32, random: &mut Random) -> Vec<Candidate> {
    let mut candidate = |n| Candidate {
        usable: true,
        local: false,
        external: true,
        router_id: random.below(1000),
        address: Some(Ipv4Addr::from(0x0a00_0000 + n).into()),
        path_id: 0,
        summary: Summary {
            med: random.below(meds),
            neighbor_as: 65000 + n / 2,
            path_length: 3,
            ..Summary::of(&canonical(n))
        },
    };
    (0..paths).map(&mut candidate).collect()
}
