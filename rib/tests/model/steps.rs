//! What shards may do to the table, drawn at random: prefixes that collide, batches, and everything else in
//! between.

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};
use proptest::prelude::*;
use rib::PathFlags;

pub(crate) const SHARDS: u8 = 2;
pub(crate) const SOURCES: usize = 3;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Upsert {
        shard: usize,
        source: usize,
        prefix: IpPrefix,
        path_id: u32,
        attributes: u8,
        flags: PathFlags,
    },
    Withdraw {
        shard: usize,
        source: usize,
        prefix: IpPrefix,
        path_id: u32,
    },
    UpsertBatch {
        shard: usize,
        paths: Vec<(usize, IpPrefix, u32, u8, PathFlags)>,
    },
    WithdrawBatch {
        shard: usize,
        source: usize,
        paths: Vec<(IpPrefix, u32)>,
    },
    WithdrawAll {
        shard: usize,
        source: usize,
    },
    Publish {
        shard: usize,
    },
    Take {
        shard: usize,
        max: usize,
    },
    Flush {
        shard: usize,
    },
    Reclaim {
        shard: usize,
    },
    /// Selection changes, and each shard chooses best paths anew.
    Select {
        always_compare_med: bool,
    },
}

fn prefix() -> impl Strategy<Value = IpPrefix> {
    prop_oneof![2 => nested(), 1 => apart()]
}

/// Prefixes that go the same way for any number of bits, and then not: few lie in one another.
fn apart() -> impl Strategy<Value = IpPrefix> {
    let lengths = prop::sample::select(vec![24, 31, 32, 48, 125, 128]);
    (0..128u8, lengths, any::<bool>()).prop_map(|(at, length, v4)| {
        let bits = 0x2a02_0d68_5555_cccc_u128 << 64 ^ 1 << at;
        if v4 {
            IpPrefix::V4(Ipv4Prefix::from_left_aligned(
                bits ^ 1 << (96 + at / 4),
                length,
            ))
        } else {
            IpPrefix::V6(Ipv6Prefix::from_left_aligned(bits, length))
        }
    })
}

fn nested() -> impl Strategy<Value = IpPrefix> {
    // Few distinct bits, every length, so that prefixes nest and meet.
    let bits = prop::sample::select(vec![
        0u128,
        0x0a,
        0x0a01,
        0x0a0180,
        0xffff_ffff,
        0x8000_0000,
    ]);
    (bits, 0..=128u8, any::<bool>()).prop_map(|(bits, length, v4)| {
        let bits = bits << (128 - 32) | bits << 40 | bits;
        if v4 {
            IpPrefix::V4(Ipv4Prefix::from_left_aligned(bits, length % 33))
        } else {
            IpPrefix::V6(Ipv6Prefix::from_left_aligned(bits, length))
        }
    })
}

fn flags() -> impl Strategy<Value = PathFlags> {
    prop_oneof![
        6 => Just(PathFlags::NONE),
        2 => Just(PathFlags::REJECTED),
        1 => Just(PathFlags::STALE),
        1 => Just(PathFlags::LOCAL),
    ]
}

/// Sometimes more than are looked at together.
fn batch<S: Strategy>(each: S) -> impl Strategy<Value = Vec<S::Value>> {
    prop::collection::vec(each, 0..40)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let (shard, source) = (0..SHARDS as usize, 0..SOURCES);
    prop_oneof![
        12 => (shard.clone(), source.clone(), prefix(), 0..3u32, 0..12u8, flags()).prop_map(
            |(shard, source, prefix, path_id, attributes, flags)| Step::Upsert {
                shard, source, prefix, path_id: path_id.saturating_sub(1), attributes, flags,
            },
        ),
        6 => (shard.clone(), source.clone(), prefix(), 0..2u32).prop_map(
            |(shard, source, prefix, path_id)| Step::Withdraw { shard, source, prefix, path_id },
        ),
        2 => (shard.clone(), batch((source.clone(), prefix(), 0..2u32, 0..12u8, flags())))
            .prop_map(|(shard, paths)| Step::UpsertBatch { shard, paths }),
        1 => (shard.clone(), source.clone(), batch((prefix(), 0..2u32))).prop_map(
            |(shard, source, paths)| Step::WithdrawBatch { shard, source, paths },
        ),
        1 => (shard.clone(), source).prop_map(|(shard, source)| Step::WithdrawAll { shard, source }),
        4 => shard.clone().prop_map(|shard| Step::Publish { shard }),
        3 => (shard.clone(), 0..9usize).prop_map(|(shard, max)| Step::Take { shard, max }),
        3 => shard.clone().prop_map(|shard| Step::Flush { shard }),
        8 => shard.prop_map(|shard| Step::Reclaim { shard }),
        1 => any::<bool>().prop_map(|always_compare_med| Step::Select { always_compare_med }),
    ]
}
