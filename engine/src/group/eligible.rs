//! A route server's clients where MED strikes paths out (RFC 4271 §9.1.2.2 c).
//!
//! MED is no order of all paths: which is the best of some does not follow from which is the best of
//! all. What must not be told a client, its own paths and those that export refuses, must not strike
//! out for it what others say (RFC 7947 §2.3). So here the best is chosen among what is eligible,
//! for everybody, and again for each client that has a path among that.

use codec::{Family, IpPrefix};
use rib::{Guard, Path, PrefixId, RibWriter, SourceId};
use smallvec::SmallVec;
use std::sync::Arc;

use super::Group;
use super::advert::{AdvertId, Told};
use super::entry::Entry;
use super::pack::Packer;
use super::run::Audience;

impl Group {
    /// What each member is told of a prefix among whose `paths` MED decides.
    pub(super) fn evaluate_eligible(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        (family, id): (Family, PrefixId),
        paths: &[Path],
    ) -> Entry {
        let rib = &Arc::clone(writer.rib());
        let mut eligible: SmallVec<[(Path, AdvertId); 4]> = SmallVec::new();
        for path in paths.iter().filter(|path| path.is_usable()) {
            let (advert, _) = self.evaluate(writer, guard, (family, id), *path);
            if advert != AdvertId::NONE {
                eligible.push((*path, advert));
            }
        }
        let best = |but: Option<SourceId>| {
            let theirs = eligible.iter().filter(|(path, _)| Some(path.source) != but);
            let (paths, adverts): (SmallVec<[Path; 4]>, SmallVec<[AdvertId; 4]>) =
                theirs.copied().unzip();
            let at = rib.best_of(&paths, guard)?;
            Some((paths[at].source, adverts[at]))
        };
        let Some((first_source, first)) = best(None) else {
            return Entry::default();
        };
        let mut entry = Entry::of(first);
        let mut sources: SmallVec<[SourceId; 4]> =
            eligible.iter().map(|(path, _)| path.source).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            if !self.is_member(source) {
                continue;
            }
            let instead = best(Some(source)).map_or(AdvertId::NONE, |(_, advert)| advert);
            if source == first_source {
                entry.second = instead;
            } else if instead != first {
                entry.others.push((source, instead));
            }
        }
        entry
    }
}

/// Packs an entry by which some members are told something else than the rest.
pub(super) fn tell_each(
    packer: &mut Packer,
    told: Told<'_>,
    (id, prefix): (PrefixId, IpPrefix),
    entry: &Entry,
) {
    let source = told.adverts.get(entry.first).source;
    let members = entry.others.iter().map(|(member, _)| *member);
    let apart: SmallVec<[SourceId; 4]> = members.chain([source]).collect();
    packer.begin(prefix.family(), id);
    let audience = packer.all_but_each(&apart);
    packer.announce_to(prefix, entry.first, told, audience);
    packer.tell_source(told, prefix, source, entry.second);
    for (member, advert) in &entry.others {
        packer.announce_to(prefix, *advert, told, Audience::Only(*member));
    }
}
