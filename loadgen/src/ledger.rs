//! What every router holds, attribute by attribute: the memory of a `--verify` run.
//!
//! Attribute sets are kept once, in the canonical form of `codec`. Nothing is refused here, not
//! even a loop: the ledger is the Adj-RIB-In before any rule, for the comparison with what it
//! should be.

use ahash::AHashMap;
use codec::{AttributeSet, IpPrefix, Nlri, NlriField, WireFormat};

/// Tables of all routers, by the numbers of prefixes.
pub(crate) struct Ledger {
    numbers: AHashMap<Box<[u8]>, u32>,
    sets: Vec<Box<[u8]>>,
    /// Per router and prefix, the number of its set and one; 0: not held.
    tables: Vec<Vec<u32>>,
    canonical: Vec<u8>,
}

impl Ledger {
    /// Empty tables.
    pub(crate) fn new(routers: usize) -> Ledger {
        Ledger {
            numbers: AHashMap::new(),
            sets: Vec::new(),
            tables: vec![Vec::new(); routers],
            canonical: Vec::new(),
        }
    }

    /// Takes an UPDATE that a router was told.
    ///
    /// # Errors
    /// What is wrong with it by RFC 7606, in words; the tables then have what is left of it.
    pub(crate) fn take(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        mut id: impl FnMut(IpPrefix) -> u32,
    ) -> Result<(), String> {
        let update = codec::parse_update(body, wire).map_err(|fault| fault.to_string())?;
        let mp_withdrawn = update.mp_withdrawn.map(|mp| mp.nlri);
        for nlri in [Some(update.withdrawn), mp_withdrawn].into_iter().flatten() {
            self.put(router, nlri, 0, &mut id);
        }
        let announced = [
            (NlriField::Plain, Some(update.announced)),
            (NlriField::MpReach, update.mp_announced.map(|mp| mp.nlri)),
        ];
        for (field, nlri) in announced {
            let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
                continue;
            };
            let entry = if update.treat_as_withdraw() {
                0
            } else {
                self.canonical.clear();
                update.canonical(field, &mut self.canonical);
                self.number_of_set() + 1
            };
            self.put(router, nlri, entry, &mut id);
        }
        match update.faults.first() {
            Some(fault) => Err(fault.to_string()),
            None => Ok(()),
        }
    }

    /// What a router holds: by the number of a prefix, that of its attribute set.
    pub(crate) fn table(&self, router: usize) -> impl Iterator<Item = Option<u32>> + '_ {
        self.tables[router].iter().map(|entry| entry.checked_sub(1))
    }

    /// The attribute set of a number.
    pub(crate) fn set(&self, number: u32) -> AttributeSet<'_> {
        AttributeSet::new(&self.sets[number as usize])
    }

    fn number_of_set(&mut self) -> u32 {
        if let Some(number) = self.numbers.get(self.canonical.as_slice()) {
            return *number;
        }
        let number = self.sets.len() as u32;
        let octets: Box<[u8]> = self.canonical.as_slice().into();
        self.sets.push(octets.clone());
        self.numbers.insert(octets, number);
        number
    }

    fn put(
        &mut self,
        router: usize,
        nlri: Nlri<'_>,
        entry: u32,
        id: &mut impl FnMut(IpPrefix) -> u32,
    ) {
        let table = &mut self.tables[router];
        for (_, prefix) in nlri.iter() {
            let place = id(prefix) as usize;
            if table.len() <= place {
                table.resize(place + 1, 0);
            }
            table[place] = entry;
        }
    }
}
