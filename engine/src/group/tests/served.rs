//! A route server whose clients' MEDs strike each other out: each client is told the best of what is
//! eligible for it (RFC 7947 §2.3), by a reference that knows nothing of orders of preference.

use super::*;

/// Clients by turns of two ASes: MED is compared among every other one.
fn asn(member: MemberId) -> u32 {
    65100 + member.0 % 2
}

/// What clients say: ORIGIN and MED.
type Said = BTreeMap<(Ipv4Prefix, MemberId), (Origin, u32)>;

struct Server {
    bed: Bed,
    said: Said,
}

impl Server {
    fn new() -> Server {
        Server {
            bed: Bed::of(served()),
            said: Said::new(),
        }
    }

    fn announce(&mut self, member: MemberId, prefix: Ipv4Prefix, (origin, med): (Origin, u32)) {
        let mut canonical = Vec::new();
        let mut writer = AttributeWriter::new(&mut canonical);
        writer.origin(origin);
        // The second number says whose it is.
        let asns = [asn(member), 64000 + member.0];
        writer.as_path(&AttributeSet::new(&[]).as_path(), &asns, true);
        writer.next_hop(Ipv4Addr::new(10, 1, 0, 1));
        writer.med(med);
        let attributes = self.bed.writer.intern(&canonical).expect("room");
        let path = Path {
            attributes,
            source: self.bed.sources[&member],
            path_id: 0,
            flags: PathFlags::NONE,
        };
        self.bed.writer.upsert(prefix, path).expect("room");
        self.bed.writer.release(attributes);
        self.said.insert((prefix, member), (origin, med));
        // So that it is withdrawn with its client.
        self.bed.paths.insert((prefix, member), 2);
    }

    fn withdraw(&mut self, member: MemberId, prefix: Ipv4Prefix) {
        self.bed.withdraw(member, prefix);
        self.said.remove(&(prefix, member));
    }

    fn leave(&mut self, member: MemberId) {
        self.bed.leave(member);
        self.said.retain(|(_, from), _| *from != member);
    }

    /// RFC 4271 §9.1.2.2 on what the others say.
    fn expected(&self, member: MemberId, prefix: Ipv4Prefix) -> Option<String> {
        let all = self.said.iter();
        let mut left: Vec<(MemberId, (Origin, u32))> = all
            .filter(|((of, from), _)| *of == prefix && *from != member)
            .map(|((_, from), said)| (*from, *said))
            .collect();
        let lowest = left.iter().map(|(_, (origin, _))| *origin as u8).min()?;
        left.retain(|(_, (origin, _))| *origin as u8 == lowest);
        let equals = left.clone();
        left.retain(|(from, (_, med))| {
            let mut rivals = equals.iter().filter(|(other, _)| asn(*other) == asn(*from));
            !rivals.any(|(_, (_, other))| other < med)
        });
        // The lowest identifier.
        let best = left.iter().map(|(from, _)| *from).min()?;
        Some(format!("{} {}", asn(best), 64000 + best.0))
    }

    fn check(&self) {
        let prefixes: BTreeSet<_> = self.said.keys().map(|(prefix, _)| *prefix).collect();
        for (member, table) in &self.bed.routers.tables {
            let expected = prefixes.iter().filter_map(|prefix| {
                let told = self.expected(*member, *prefix)?;
                Some((IpPrefix::V4(*prefix), told))
            });
            let expected: Table = expected.collect();
            assert_eq!(*table, expected, "table of {member:?}, {:?}", self.said);
            let source = self.bed.sources[member];
            let told = self
                .bed
                .group
                .announced_to(source, Family::Ipv4Unicast, false);
            assert_eq!(told, expected.len() as u64, "counted for {member:?}");
        }
    }
}

// RFC-SHOWN 7947 §2.3
#[test]
fn a_clients_own_med_strikes_out_no_other_clients_path_for_it() {
    let mut server = Server::new();
    let [b, c, a, other] = [0, 1, 2, 3].map(|number| server.bed.join(number));
    // Of one AS, `a` has the lower MED; of another, `c` has the lower identifier than `a`.
    server.announce(a, prefix(1), (Origin::Igp, 5));
    server.announce(b, prefix(1), (Origin::Igp, 10));
    server.announce(c, prefix(1), (Origin::Igp, 0));
    server.bed.settle();
    server.check();
    let told =
        |server: &Server, member| server.bed.routers.tables[&member].values().next().cloned();
    assert_eq!(told(&server, other).as_deref(), Some("65101 64001"), "c");
    assert_eq!(told(&server, a).as_deref(), Some("65100 64000"), "b, not c");
    // The exception comes and goes with what makes it.
    server.announce(b, prefix(1), (Origin::Incomplete, 10));
    server.bed.settle();
    server.check();
    server.announce(b, prefix(1), (Origin::Igp, 7));
    server.bed.settle();
    server.check();
    server.withdraw(c, prefix(1));
    server.bed.settle();
    server.check();
}

// RFC-SHOWN 7947 §2.3
// RFC-SHOWN 7948 §4.1
#[test]
fn random_meds_leave_each_client_with_the_best_of_the_others() {
    for seed in 0..300u64 {
        let mut random = crate::random::Random::new(seed);
        let mut server = Server::new();
        for _ in 0..200 {
            let member = MemberId(random.below(6) as u32);
            let is_up = server.bed.sources.contains_key(&member);
            let prefix = prefix(random.below(12) as u32);
            match random.below(12) {
                0 if !is_up => drop(server.bed.join(member.0)),
                1 if is_up && random.percent(30) => server.leave(member),
                2 => drop(server.bed.turn(random.below(20))),
                3 => server.bed.settle(),
                4 => match server.bed.routers.backlog.remove(&member) {
                    Some(_) => {}
                    None => drop(server.bed.routers.backlog.insert(member, BACKLOG_MAX + 1)),
                },
                5 | 6 if is_up => server.withdraw(member, prefix),
                _ if is_up => {
                    let origin = *random.pick(&[Origin::Igp, Origin::Igp, Origin::Incomplete]);
                    let med = random.below(3) as u32;
                    server.announce(member, prefix, (origin, med));
                }
                _ => {}
            }
        }
        server.bed.routers.backlog.clear();
        server.bed.settle();
        server.check();
    }
}
