//! Families, prefixes and peers as text, for people and within JSON.

use std::net::IpAddr;

use codec::{Family, IpPrefix};

/// The one SAFI there is.
pub(super) const SAFI_UNICAST: &str = "unicast";

/// The name of a family's AFI: `ipv4` or `ipv6`.
pub fn afi_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

/// A prefix as people write it; host bits are a fault.
///
/// # Errors
/// What is wrong and what is accepted, for example that host bits are set.
pub fn parse_prefix(text: &str) -> Result<IpPrefix, String> {
    let host = text.parse::<IpAddr>().ok().map(ipnet::IpNet::from);
    let Some(net) = host.or_else(|| text.parse().ok()) else {
        return Err(format!(
            "{text:?} is not a prefix; write for example 10.0.1.0/24 or 2001:db8::/32"
        ));
    };
    if net.addr() != net.network() {
        return Err(format!("{text} has host bits set; write {}", net.trunc()));
    }
    Ok(IpPrefix::from(net))
}

/// An optional family as `ipv4` or `ipv6`.
pub(super) mod family_text {
    use codec::Family;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(in crate::model) fn serialize<S: Serializer>(
        family: &Option<Family>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        family.map(super::afi_name).serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Family>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None => Ok(None),
            Some("ipv4") => Ok(Some(Family::Ipv4Unicast)),
            Some("ipv6") => Ok(Some(Family::Ipv6Unicast)),
            Some(other) => Err(de::Error::custom(format!(
                "{other:?} is not a family; ipv4 and ipv6 are accepted"
            ))),
        }
    }
}

/// An optional prefix as text.
pub(super) mod prefix_text {
    use codec::IpPrefix;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(in crate::model) fn serialize<S: Serializer>(
        prefix: &Option<IpPrefix>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        prefix
            .map(|prefix| prefix.to_string())
            .serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<IpPrefix>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_prefix(&text))
            .transpose()
            .map_err(de::Error::custom)
    }
}

/// An optional peer's address as text, with `%zone` where there is one.
pub(super) mod peer_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::config::PeerAddress;

    pub(in crate::model) fn serialize<S: Serializer>(
        peer: &Option<PeerAddress>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        peer.map(|peer| peer.to_string()).serialize(serializer)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PeerAddress>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(de::Error::custom)
    }
}

/// A prefix as text.
pub(super) mod required_prefix_text {
    use codec::IpPrefix;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::model) fn serialize<S: Serializer>(
        prefix: &IpPrefix,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(prefix)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IpPrefix, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_prefix(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_with_host_bits_are_faults_and_hosts_are_host_routes() {
        assert_eq!(
            parse_prefix("10.0.1.7/24").unwrap_err(),
            "10.0.1.7/24 has host bits set; write 10.0.1.0/24"
        );
        assert!(parse_prefix("ten/8").unwrap_err().contains("not a prefix"));
        assert_eq!(parse_prefix("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
    }
}
