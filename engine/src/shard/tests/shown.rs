//! What `routes` shows: the Adj-RIB-In as it came, the Adj-RIB-Out as it goes.

use super::*;

// RFC-SHOWN 4271 §5
#[test]
fn an_unknown_attribute_is_partial_once_it_is_passed_on() {
    let (says, hears) = ([10, 0, 0, 6].into(), [10, 0, 0, 7].into());
    let mut bed = Bed::new();
    bed.configure(neighbor("10.0.0.6", 65002));
    bed.configure(neighbor("10.0.0.7", 65003));
    let saying = bed.connect(says, &open(65002, 6, &[]));
    bed.connect(hears, &open(65003, 7, &[]));
    let update = announce(1, 65002, 6, |writer| {
        writer.raw(0xc0, 99, &[7]);
        writer.raw(0xe0, 100, &[8]);
    });
    bed.say(saying, &update);
    let flags = |kind, peer| -> Vec<u8> {
        let route = bed.routes(kind, peer).remove(0);
        let unknown = route.unknown_attributes.unwrap();
        unknown.iter().map(|attribute| attribute.flags).collect()
    };
    assert_eq!(flags(RoutesKind::Received, says), [0xc0, 0xe0]);
    assert_eq!(flags(RoutesKind::Advertised, hears), [0xe0, 0xe0]);
}
