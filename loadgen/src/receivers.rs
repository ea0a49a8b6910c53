//! What every router of a scenario has been told, prefix by prefix, at a few nanoseconds each.
//!
//! Invariants: `held` of a book is the number of its bits; a router is complete while it holds
//! exactly as many expected prefixes as its target says and nothing else.

use std::time::{Duration, Instant};

use ahash::AHashSet;
use codec::{IpPrefix, Nlri, WireFormat};

use crate::clock;
use crate::fleet::Ear;
use crate::glance::Glance;
use crate::latency::{Schedule, Told};
use crate::ledger::Ledger;
use crate::prefix_ids::PrefixIds;
use crate::speaker::Over;
use crate::truth::Party;
use crate::workload;

/// Tables and counts of all routers.
pub(crate) struct Receivers {
    ids: PrefixIds,
    books: Vec<Book>,
    wanted: Wanted,
    /// Everything that is held, where tables will be compared.
    ledger: Option<Ledger>,
    /// When changes were due, where their way is timed.
    schedule: Option<Schedule>,
    incomplete: usize,
    counts: Counts,
    standing: usize,
    ended: usize,
    last_octets_at: Instant,
    trouble: Option<Trouble>,
    turned_away_by: Option<String>,
}

/// What has come in at the routers that count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) updates: u64,
    pub(crate) octets: u64,
    pub(crate) announced: u64,
    pub(crate) withdrawn: u64,
}

/// What ends a run before its end.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) router: usize,
    pub(crate) words: String,
}

/// Which announcements count as holding a prefix; others count as withdrawals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Any,
    /// Those of this version.
    Version(u16),
    /// Those without any standard community.
    Bare,
}

/// One router's side of things.
struct Book {
    /// Its table and its traffic count.
    counts: bool,
    /// By what it knows its own routes, if it announces any.
    own: Option<Party>,
    target: usize,
    bits: Vec<u64>,
    held: usize,
    strays: AHashSet<u32>,
    complete: bool,
    complete_at: Instant,
    up_at: Option<Instant>,
    end_of_rib: bool,
    turned_away: u32,
    /// When it was last told something, and the longest time between two such times.
    told_at: Instant,
    stall: Duration,
}

/// What a run of prefixes came to.
struct Taken {
    count: u64,
    /// The number of the first prefix, if there was one.
    first: Option<u32>,
}

impl Receivers {
    /// Empty tables of `routers` routers, of which `counting` have one that counts.
    pub(crate) fn new(
        routers: usize,
        expected: &[IpPrefix],
        counting: impl Fn(usize) -> bool,
    ) -> Receivers {
        let now = clock::now();
        let ids = PrefixIds::new(expected);
        let words = ids.first_stray().div_ceil(64) as usize;
        let book = |router| Book {
            counts: counting(router),
            own: None,
            target: 0,
            bits: if counting(router) {
                vec![0; words]
            } else {
                Vec::new()
            },
            held: 0,
            strays: AHashSet::new(),
            complete: true,
            complete_at: now,
            up_at: None,
            end_of_rib: false,
            turned_away: 0,
            told_at: now,
            stall: Duration::ZERO,
        };
        Receivers {
            books: (0..routers).map(book).collect(),
            ids,
            wanted: Wanted::Any,
            ledger: None,
            schedule: None,
            incomplete: 0,
            counts: Counts::default(),
            standing: 0,
            ended: 0,
            last_octets_at: now,
            trouble: None,
            turned_away_by: None,
        }
    }

    /// Remembers every attribute of every route from now on.
    pub(crate) fn keep_ledger(&mut self) {
        self.ledger = Some(Ledger::new(self.books.len()));
    }

    /// What every router holds, if it is remembered.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// Times the way of changes from now on.
    pub(crate) fn keep_schedule(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
    }

    /// What the way of changes came to, which is not timed any more.
    pub(crate) fn take_schedule(&mut self) -> Option<Schedule> {
        self.schedule.take()
    }

    /// A router refuses its own routes, known by its AS number and identifier.
    pub(crate) fn refuse_loops(&mut self, router: usize, party: Party) {
        self.books[router].own = Some(party);
    }

    /// From now on only such announcements count; what is held does not any more.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        let now = clock::now();
        self.wanted = wanted;
        for router in 0..self.books.len() {
            let book = &mut self.books[router];
            book.bits.fill(0);
            book.held = 0;
            self.settle(router, now);
        }
    }

    /// Whoever is told nothing stalls from now on, until it is complete.
    pub(crate) fn time_stalls(&mut self, now: Instant) {
        for book in &mut self.books {
            book.told_at = now;
            book.stall = Duration::ZERO;
        }
    }

    /// The name of a prefix.
    pub(crate) fn prefix_name(&self, id: u32) -> String {
        let prefix = self.ids.prefix(id);
        prefix.map_or_else(|| format!("prefix {id}"), |prefix| prefix.to_string())
    }

    /// How many prefixes are expected.
    pub(crate) fn expected(&self) -> usize {
        self.ids.expected().len()
    }

    /// How many expected prefixes a router is to hold from now on.
    pub(crate) fn expect(&mut self, router: usize, target: usize) {
        self.books[router].target = target;
        self.settle(router, clock::now());
    }

    /// Whether every router that counts holds what it should.
    pub(crate) fn are_complete(&self) -> bool {
        self.incomplete == 0
    }

    /// When the last router had all that it should hold.
    pub(crate) fn complete_at(&self) -> Option<Instant> {
        let counting = self.books.iter().filter(|book| book.counts);
        counting.map(|book| book.complete_at).max()
    }

    /// For each router that counts, when it had all that it should hold, and the longest time that
    /// it was told nothing before.
    pub(crate) fn completions(&self) -> impl Iterator<Item = (Instant, Duration)> + '_ {
        let counting = self.books.iter().filter(|book| book.counts);
        counting.map(|book| (book.complete_at, book.stall))
    }

    /// Sessions that stand.
    pub(crate) fn standing(&self) -> usize {
        self.standing
    }

    /// Sessions that stand and have been told End-of-RIB.
    pub(crate) fn ended(&self) -> usize {
        self.ended
    }

    /// When each router's session came up.
    pub(crate) fn up_at(&self) -> impl Iterator<Item = Instant> {
        self.books.iter().filter_map(|book| book.up_at)
    }

    /// When the last octets came in, at whatever router, KEEPALIVEs aside.
    pub(crate) fn last_octets_at(&self) -> Instant {
        self.last_octets_at
    }

    /// Prefixes that have arrived of those that should, over all routers.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let counting = self.books.iter().filter(|book| book.counts);
        counting.fold((0, 0), |(held, target), book| {
            (held + book.held, target + book.target)
        })
    }

    /// What has come in.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// What has come in up to now does not count.
    pub(crate) fn reset_counts(&mut self) {
        self.counts = Counts::default();
    }

    /// Why a connection ended last that no session came of.
    pub(crate) fn turned_away_by(&self) -> Option<&str> {
        self.turned_away_by.as_deref()
    }

    /// The first thing that went wrong.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What is missing, in words.
    pub(crate) fn missing(&self, name: impl Fn(usize) -> String) -> String {
        let incomplete = self.books.iter().filter(|book| !book.complete).count();
        let away = |(_, book): &(usize, &Book)| book.held.abs_diff(book.target) + book.strays.len();
        match self.books.iter().enumerate().max_by_key(away) {
            Some((router, book)) if incomplete > 0 => format!(
                "{incomplete} routers do not hold what they should; {} holds {} prefixes of {} and {} \
                 that nobody announced",
                name(router),
                book.held,
                book.target,
                book.strays.len(),
            ),
            _ => "what was expected did not come".into(),
        }
    }

    fn count(&mut self, router: usize, glance: &Glance<'_>, octets: usize, read_at: Instant) {
        let book = &mut self.books[router];
        let own = book.own;
        let counts = match self.wanted {
            Wanted::Any => true,
            Wanted::Version(version) => {
                let mark = workload::mark(version);
                glance.communities().any(|community| community == mark)
            }
            Wanted::Bare => !glance.has_communities(),
        } && own.is_none_or(|own| !glance.is_loop(own.asn, own.address));

        let mut withdrawn = book.take(&glance.withdrawn, &mut self.ids, false).count;
        if let Some(nlri) = &glance.mp_withdrawn {
            withdrawn += book.take(nlri, &mut self.ids, false).count;
        }
        let mut announced = book.take(&glance.announced, &mut self.ids, counts);
        if let Some(nlri) = &glance.mp_announced {
            let more = book.take(nlri, &mut self.ids, counts);
            announced.count += more.count;
            announced.first = announced.first.or(more.first);
        }
        if !book.complete {
            book.stall = book
                .stall
                .max(read_at.saturating_duration_since(book.told_at));
        }
        book.told_at = read_at;
        self.counts.updates += 1;
        self.counts.octets += octets as u64;
        self.counts.announced += announced.count;
        self.counts.withdrawn += withdrawn;
        if let Some(schedule) = &mut self.schedule {
            let told = Told {
                version: glance.communities().find_map(workload::version),
                first: announced.first,
                announced: announced.count,
                withdrawn,
            };
            schedule.arrived(&told, read_at);
        }
        self.settle(router, read_at);
    }

    fn settle(&mut self, router: usize, at: Instant) {
        let book = &mut self.books[router];
        let complete = !book.counts || (book.held == book.target && book.strays.is_empty());
        if book.complete != complete {
            book.complete = complete;
            if complete {
                self.incomplete -= 1;
                book.complete_at = at;
            } else {
                self.incomplete += 1;
            }
        }
    }

    fn complain(&mut self, router: usize, words: String) {
        self.trouble.get_or_insert(Trouble { router, words });
    }
}

impl Ear for Receivers {
    fn established(&mut self, router: usize, now: Instant) {
        self.standing += 1;
        self.books[router].up_at = Some(now);
    }

    fn update(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        octets: usize,
        read_at: Instant,
    ) {
        self.last_octets_at = read_at;
        let Some(glance) = Glance::at(body) else {
            return self.complain(router, "was sent an UPDATE that does not parse".into());
        };
        let book = &mut self.books[router];
        if glance.end_of_rib.is_some() {
            self.ended += usize::from(!book.end_of_rib);
            book.end_of_rib = true;
            return;
        }
        if let Some(ledger) = &mut self.ledger {
            let ids = &mut self.ids;
            let id = |prefix| ids.id(prefix, u32::MAX);
            if let Err(fault) = ledger.take(router, wire, body, id) {
                return self.complain(router, format!("was sent a faulty UPDATE: {fault}"));
            }
        }
        if book.counts {
            self.count(router, &glance, octets, read_at);
        }
    }

    fn discarded(&mut self, octets: usize, read_at: Instant) {
        if octets > codec::HEADER_LEN {
            self.last_octets_at = read_at;
        }
    }

    fn down(&mut self, router: usize, over: Over, stood: bool) {
        let book = &mut self.books[router];
        if stood {
            book.up_at = None;
            self.standing -= 1;
            let what = if over.is_refusal {
                "gets no session"
            } else {
                "lost its session"
            };
            return self.complain(router, format!("{what}: {}", over.words));
        }
        book.turned_away += 1;
        self.turned_away_by = Some(over.words.clone());
        if over.is_refusal || book.turned_away >= TRIES {
            self.complain(router, format!("gets no session: {}", over.words));
        }
    }
}

impl Book {
    /// Takes prefixes as held, or as not held.
    #[inline(always)]
    fn take(&mut self, nlri: &Nlri<'_>, ids: &mut PrefixIds, held: bool) -> Taken {
        let mut taken = Taken {
            count: 0,
            first: None,
        };
        let mut id = 0;
        let mut put = |book: &mut Book, id| {
            if held {
                book.insert(id);
            } else {
                book.remove(id);
            }
            taken.count += 1;
            taken.first = taken.first.or(Some(id));
        };
        for (_, prefix) in nlri.iter_v4() {
            id = ids.id_v4(prefix, id);
            put(self, id);
        }
        for (_, prefix) in nlri.iter_v6() {
            id = ids.id_v6(prefix, id);
            put(self, id);
        }
        taken
    }

    #[inline]
    fn insert(&mut self, id: u32) {
        match self.bits.get_mut((id / 64) as usize) {
            Some(word) => {
                let bit = 1 << (id % 64);
                self.held += usize::from(*word & bit == 0);
                *word |= bit;
            }
            None => {
                self.strays.insert(id);
            }
        }
    }

    #[inline]
    fn remove(&mut self, id: u32) {
        match self.bits.get_mut((id / 64) as usize) {
            Some(word) => {
                let bit = 1 << (id % 64);
                self.held -= usize::from(*word & bit != 0);
                *word &= !bit;
            }
            None => {
                self.strays.remove(&id);
            }
        }
    }
}

/// How often a router is turned away before its session came up until it gives up.
const TRIES: u32 = 20;

#[cfg(test)]
mod tests {
    use codec::{Family, HEADER_LEN, Ipv4Prefix, NextHop, Prefix};

    use super::*;
    use crate::script::Script;

    const COMMUNITY: u32 = (64_000 << 16) | 1;

    fn prefix(octet: u8) -> IpPrefix {
        Ipv4Prefix::masked([20, octet, 0, 0].into(), 16).erase()
    }

    /// Two routers that count, and four prefixes of which each is to hold three.
    fn receivers() -> Receivers {
        let expected: Vec<IpPrefix> = (0..4).map(prefix).collect();
        let mut receivers = Receivers::new(2, &expected, |_| true);
        (0..2).for_each(|router| receivers.expect(router, 3));
        receivers
    }

    fn say(receivers: &mut Receivers, router: usize, speak: impl Fn(&mut Script)) {
        let mut script = Script::new(Family::Ipv4Unicast);
        speak(&mut script);
        for message in script.finish().iter() {
            let body = &message[HEADER_LEN..];
            let wire = WireFormat::default();
            receivers.update(router, &wire, body, message.len(), clock::now());
        }
    }

    fn announce(communities: &[u32], path: &[u32], octets: &[u8], script: &mut Script) {
        let mut attributes = Vec::new();
        let mut writer = codec::AttributeWriter::new(&mut attributes);
        writer.origin(codec::Origin::Igp);
        writer.as_path(&codec::AsPath::new(&[]), path, true);
        writer.communities(communities);
        let next_hop = NextHop::V4([198, 18, 0, 1].into());
        script.announce(
            &attributes,
            &next_hop,
            octets.iter().map(|octet| prefix(*octet)),
        );
    }

    #[test]
    fn a_run_is_complete_while_all_hold_what_they_should_and_nothing_else() {
        let mut receivers = receivers();
        for router in 0..2 {
            assert!(!receivers.are_complete());
            say(&mut receivers, router, |script| {
                announce(&[], &[1], &[0, 1, 2, 2], script)
            });
        }
        assert!(receivers.are_complete());
        say(&mut receivers, 1, |script| script.withdraw([prefix(1)]));
        assert!(!receivers.are_complete());
        say(&mut receivers, 1, |script| {
            announce(&[], &[1], &[1], script)
        });
        assert!(receivers.are_complete());
        say(&mut receivers, 0, |script| {
            announce(&[], &[1], &[77], script)
        });
        assert!(!receivers.are_complete());
        let words = receivers.missing(|router| format!("router {router}"));
        assert!(
            words.contains("router 0 holds 3 prefixes of 3 and 1"),
            "{words}"
        );
        say(&mut receivers, 0, |script| script.withdraw([prefix(77)]));
        assert!(receivers.are_complete());
        let counts = receivers.counts();
        assert_eq!(
            (counts.announced, counts.withdrawn, counts.updates),
            (10, 2, 6)
        );
    }

    #[test]
    fn only_what_is_wanted_counts_as_held() {
        let mut receivers = receivers();
        let marked = [workload::mark(2), COMMUNITY];
        for (wanted, right, wrong) in [
            (Wanted::Version(2), &marked[..], &[COMMUNITY][..]),
            (Wanted::Bare, &[], &marked),
        ] {
            receivers.want(wanted);
            for router in 0..2 {
                say(&mut receivers, router, |s| {
                    announce(wrong, &[1], &[0, 1, 2], s)
                });
                assert!(!receivers.are_complete());
                say(&mut receivers, router, |s| {
                    announce(right, &[1], &[0, 1, 2], s)
                });
            }
            assert!(receivers.are_complete());
            say(&mut receivers, 0, |s| announce(wrong, &[1], &[0], s));
            assert!(!receivers.are_complete());
        }
    }

    #[test]
    fn a_router_refuses_its_own_routes() {
        let mut receivers = receivers();
        let own = Party {
            address: [127, 1, 0, 1].into(),
            asn: 100_001,
        };
        receivers.refuse_loops(0, own);
        let everything = |script: &mut Script| {
            announce(&[], &[65_000, 7], &[0, 1, 2], script);
            script.cut();
            announce(&[], &[65_000, 100_001], &[3], script);
        };
        say(&mut receivers, 0, everything);
        assert_eq!(receivers.progress(), (3, 6));
        say(&mut receivers, 1, everything);
        assert_eq!(receivers.progress(), (7, 6));
    }

    #[test]
    fn a_stall_counts_from_when_it_is_timed() {
        let mut receivers = receivers();
        receivers.want(Wanted::Bare);
        let longest = |receivers: &Receivers| receivers.completions().map(|(_, stall)| stall).max();
        // What passes before the clock starts is no stall.
        let began = clock::now() + Duration::from_secs(10);
        receivers.time_stalls(began);
        say(&mut receivers, 0, |s| announce(&[], &[1], &[0, 1, 2], s));
        assert_eq!(longest(&receivers), Some(Duration::ZERO));
        // What passes behind it is one.
        receivers.want(Wanted::Bare);
        receivers.time_stalls(clock::now() - Duration::from_secs(10));
        say(&mut receivers, 0, |s| announce(&[], &[1], &[0, 1, 2], s));
        assert!(longest(&receivers) >= Some(Duration::from_secs(10)));
    }

    #[test]
    fn an_update_that_does_not_parse_is_trouble() {
        let mut receivers = receivers();
        receivers.update(1, &WireFormat::default(), &[0, 9, 1], 22, clock::now());
        assert_eq!(receivers.trouble().map(|trouble| trouble.router), Some(1));
    }
}
