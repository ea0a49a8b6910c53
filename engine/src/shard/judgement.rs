//! What became of what a peer says, and why, for whoever watches.
//!
//! Nothing of it is kept: it is worked out from the table, and from asking import again, when somebody
//! has room to be told. Invariant: of an event no more prefixes are asked for than [`ASKED_MAX`].

use std::sync::Arc;

use codec::IpPrefix;
use rib::Guard;

use super::import;
use super::instance::Instance;
use super::peer::Established;
use super::watch::Standing;
use crate::config::{Import, Neighbor};

/// Prefixes of which it is asked why they are not used. Of more, which only one long message has, it is
/// said who can tell.
const ASKED_MAX: usize = 1024;

/// Why the paths of one event are used or not.
pub(super) struct Judgement<'a> {
    instance: &'a Instance,
    neighbor: &'a Neighbor,
    established: &'a Established,
    guard: &'a Guard,
    left: usize,
    /// The reason found last: most often it is the next one's too.
    last: Option<Arc<str>>,
}

impl<'a> Judgement<'a> {
    pub(super) fn new(
        instance: &'a Instance,
        (neighbor, established): (&'a Neighbor, &'a Established),
        guard: &'a Guard,
    ) -> Judgement<'a> {
        Judgement {
            instance,
            neighbor,
            established,
            guard,
            left: ASKED_MAX,
            last: None,
        }
    }

    /// What became of what the peer says of a prefix.
    pub(super) fn standing(&mut self, prefix: IpPrefix) -> Standing {
        let family = prefix.family();
        let rib = self.instance.writer.rib();
        let id = rib.lookup(prefix, self.guard);
        let accepted = id.is_some_and(|id| {
            let of = self.established;
            of.adj_rib_in[family.index()].contains(id) && !of.rejected[family.index()].contains(id)
        });
        let best = id.and_then(|id| rib.best(family, id, self.guard));
        Standing {
            accepted,
            rejected_by: (!accepted).then(|| self.rejected_by(prefix)),
            best: best.is_some_and(|best| best.source == self.established.source),
        }
    }

    fn rejected_by(&mut self, prefix: IpPrefix) -> Arc<str> {
        if self.neighbor.import == Import::None {
            return self.shared("import is none: it is counted and not kept");
        }
        let Some(left) = self.left.checked_sub(1) else {
            return self.shared("see `ringbgp routes received`: there are too many at once");
        };
        self.left = left;
        let of = (self.neighbor, self.established);
        let rejection = self
            .received(prefix)
            .and_then(|received| import::explain(self.instance, of, prefix, received));
        match rejection {
            Some(rejection) => self.shared(&rejection.words()),
            // What import lets through is not in the table for this alone.
            None => self.shared("the limits of the table: there is no room for it"),
        }
    }

    /// The attributes of the peer's path, as they came.
    fn received(&self, prefix: IpPrefix) -> Option<&'a [u8]> {
        let rib = self.instance.writer.rib();
        let id = rib.lookup(prefix, self.guard)?;
        let paths = rib.paths(prefix.family(), id, self.guard);
        let own = paths
            .iter()
            .find(|path| path.source == self.established.source)?;
        let received = self.instance.writer.received(own.attributes);
        Some(rib.attributes(received, self.guard).bytes)
    }

    fn shared(&mut self, words: &str) -> Arc<str> {
        match &self.last {
            Some(last) if **last == *words => Arc::clone(last),
            _ => Arc::clone(self.last.insert(words.into())),
        }
    }
}
