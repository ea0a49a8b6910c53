//! Generated UPDATEs.

use codec::{
    AsPath, AttributeWriter, Family, Ipv4Prefix, Ipv6Prefix, MAX_LEN, NextHop, Origin, Prefix,
    encode_mp_update, encode_nlri, encode_update, mp_update_room, update_room,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A valid UPDATE of either kind, and its prefixes in words.
pub(crate) fn any_update() -> impl Strategy<Value = (Vec<u8>, Vec<String>, Vec<u8>)> {
    (
        vec(1u32.., 0..300),
        vec(any::<u32>(), 0..40),
        vec(any::<[u32; 3]>(), 0..8),
        proptest::option::of(any::<u32>()),
        vec((any::<u128>(), 0u8..=128), 1..60),
        any::<bool>(),
    )
        .prop_map(|(asns, communities, large, med, prefixes, v6)| {
            let next_hop = NextHop::V6("2001:db8::1".parse().unwrap());
            let mut attributes = Vec::new();
            let mut writer = AttributeWriter::new(&mut attributes);
            writer.origin(Origin::Igp);
            writer.as_path(&AsPath::default(), &asns, true);
            if !v6 {
                writer.next_hop([192, 0, 2, 1].into());
            }
            med.iter().for_each(|med| writer.med(*med));
            writer.communities(&communities);
            writer.large_communities(&large);
            assert!(!writer.overflowed());

            let room = match v6 {
                true => mp_update_room(MAX_LEN, &next_hop, attributes.len()),
                false => update_room(MAX_LEN, attributes.len()),
            };
            let (mut nlri, mut words) = (Vec::new(), Vec::new());
            for (bits, length) in prefixes {
                let end = nlri.len();
                let word = if v6 {
                    let prefix = Ipv6Prefix::from_left_aligned(bits, length);
                    encode_nlri(prefix, None, &mut nlri);
                    prefix.to_string()
                } else {
                    let prefix = Ipv4Prefix::from_left_aligned(bits, length.min(32));
                    encode_nlri(prefix, None, &mut nlri);
                    prefix.to_string()
                };
                if nlri.len() > room {
                    nlri.truncate(end);
                    break;
                }
                words.push(word);
            }
            let mut message = Vec::new();
            if v6 {
                encode_mp_update(
                    Family::Ipv6Unicast,
                    &next_hop,
                    &attributes,
                    &nlri,
                    &mut message,
                );
            } else {
                encode_update(&attributes, &nlri, &mut message);
            }
            (message, words, attributes)
        })
}
