//! `rpki`: the caches, and the intervals that hold where a cache gives none (RFC 8210 §6).

use std::net::SocketAddr;
use std::time::Duration;

use super::fields::Field;
use crate::config::{Rpki, RtrCache};
use crate::watcher::fault::Report;

/// The port of RTR over TCP (RFC 8210 §13).
const RTR_PORT: u16 = 323;
/// The preference of a cache that is given none.
const PREFERENCE: u8 = 1;
const CACHES_MAX: usize = 16;

pub(super) fn rpki(field: &Field<'_>, report: &mut Report) -> Rpki {
    let mut rpki = Rpki::default();
    let Some(mut fields) = field.fields(report) else {
        return rpki;
    };
    if let Some(list) = fields.get_written("caches", report) {
        rpki.caches = caches(&list, report);
    }
    let mut seconds = |name, range, default: &mut Duration, report: &mut Report| {
        let field = fields.get(name);
        if let Some(seconds) = field.and_then(|field| field.integer(range, report)) {
            *default = Duration::from_secs(seconds);
        }
    };
    seconds("refreshSeconds", 1..=86_400, &mut rpki.refresh, report);
    seconds("retrySeconds", 1..=7_200, &mut rpki.retry, report);
    seconds("expireSeconds", 600..=172_800, &mut rpki.expire, report);
    let longest = rpki.refresh.max(rpki.retry);
    if rpki.expire <= longest {
        let message = format!(
            "{} is not accepted: more than refreshSeconds and retrySeconds, which are {} and {}",
            rpki.expire.as_secs(),
            rpki.refresh.as_secs(),
            rpki.retry.as_secs(),
        );
        report.fault(field.line, &fields.path_of("expireSeconds"), message);
    }
    fields.close_strictly(report);
    rpki
}

fn caches(list: &Field<'_>, report: &mut Report) -> Vec<RtrCache> {
    let elements = list.list(report).unwrap_or_default();
    if elements.len() > CACHES_MAX {
        let message = format!(
            "{} caches are too many: at most {CACHES_MAX}",
            elements.len()
        );
        list.fault(report, message);
    }
    let mut caches: Vec<RtrCache> = Vec::new();
    for element in elements {
        let Some(cache) = cache(&element, report) else {
            continue;
        };
        if caches.iter().any(|known| known.address == cache.address) {
            element.fault(report, format!("{} is listed twice", cache.address));
        }
        caches.push(cache);
    }
    caches
}

fn cache(field: &Field<'_>, report: &mut Report) -> Option<RtrCache> {
    let mut fields = field.fields(report)?;
    let address = fields.require("address", "the address of the cache", report);
    let address = address.and_then(|field| field.ip(report));
    let port = fields.get("port");
    let port = port.map_or(Some(RTR_PORT), |field| field.integer(1..=u16::MAX, report));
    let preference = fields.get("preference");
    let preference =
        preference.map_or(Some(PREFERENCE), |field| field.integer(0..=u8::MAX, report));
    fields.close_strictly(report);
    Some(RtrCache {
        address: SocketAddr::new(address?, port?),
        preference: preference?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{assert_fault, peering, said, with};
    use crate::config::{Rpki, RtrCache};

    #[test]
    fn caches_and_intervals_are_read() {
        let contents = with(
            "rpki: {caches: [{address: 192.0.2.1}, {address: '2001:db8::1', port: 8282, preference: 2}], \
             refreshSeconds: 60, retrySeconds: 5, expireSeconds: 600}\n",
        );
        assert_eq!(said(&contents), [""; 0]);
        let cache = |address: &str, preference| RtrCache {
            address: address.parse().unwrap(),
            preference,
        };
        let expected = Rpki {
            caches: vec![cache("192.0.2.1:323", 1), cache("[2001:db8::1]:8282", 2)],
            refresh: Duration::from_secs(60),
            retry: Duration::from_secs(5),
            expire: Duration::from_secs(600),
        };
        assert_eq!(*peering(&contents).rpki, expected);
        let off = with("rpki: {caches: []}\n");
        assert_eq!(*peering(&off).rpki, Rpki::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many: String = (1..=17)
            .map(|n| format!("{{address: 10.0.1.{n}}}, "))
            .collect();
        let cases = [
            (
                "{caches: }",
                "f.yaml:10: spec.bgpPeering.rpki.caches: nothing is written after it",
            ),
            (
                "{caches: [{port: 323}]}",
                "rpki.caches[0].address: is missing",
            ),
            (
                "{caches: [{address: rpki.example}]}",
                "rpki.caches[0].address: \"rpki.example\" is not",
            ),
            (
                "{caches: [{address: 10.0.1.1, port: 0}]}",
                "caches[0].port: 0 is not accepted",
            ),
            (
                "{caches: [{address: 10.0.1.1, preference: 256}]}",
                "preference: 256 is not accepted",
            ),
            (
                "{caches: [{address: 10.0.1.1, ssh: true}]}",
                "caches[0].ssh: unknown field",
            ),
            (
                "{caches: [{address: 10.0.1.1}, {address: 10.0.1.1, port: 323}]}",
                "rpki.caches[1]: 10.0.1.1:323 is listed twice",
            ),
            (
                &format!("{{caches: [{many}]}}"),
                "17 caches are too many: at most 16",
            ),
            (
                "{refreshSeconds: 0}",
                "rpki.refreshSeconds: 0 is not accepted: a number from 1 to 86400",
            ),
            (
                "{retrySeconds: 7201}",
                "retrySeconds: 7201 is not accepted: a number from 1 to 7200",
            ),
            (
                "{expireSeconds: 599}",
                "expireSeconds: 599 is not accepted: a number from 600 to 172800",
            ),
            (
                "{expireSeconds: 3600}",
                "rpki.expireSeconds: 3600 is not accepted: more than refreshSeconds",
            ),
            ("{refreshTime: 5}", "rpki.refreshTime: unknown field"),
        ];
        for (written, expected) in cases {
            assert_fault(&with(&format!("rpki: {written}\n")), expected);
        }
    }
}
