//! Long-lived stale routes (RFC 9494 §4.2): what becomes of the routes of a peer that stays away past
//! its restart time.
//!
//! They stay for hours, and everybody is to see what they are: LLGR_STALE is attached, which selection
//! (`rib`) and export (`group`) read from the attributes, wherever the community came from. Routes with
//! NO_LLGR go.

use codec::{AttributeSet, AttributeWriter, Family, code, flags};
use rib::{AttributeId, Path, PathFlags, PrefixId, SourceId};

use super::instance::Instance;

/// 65535:7: the route is not for this.
const NO_LLGR: u32 = 0xffff_0007;

/// What a path's attributes become.
#[derive(Clone, Copy)]
enum Outcome {
    /// These, of which a count is held.
    Become(AttributeId),
    /// The path goes.
    Go,
}

impl Instance {
    /// Makes the stale paths of a source to these prefixes long-lived. `gone` is told of prefixes that
    /// lost their last path.
    pub(super) fn make_long_lived(
        &mut self,
        family: Family,
        ids: &[PrefixId],
        source: SourceId,
        mut gone: impl FnMut(PrefixId),
    ) {
        let rib = std::sync::Arc::clone(self.writer.rib());
        // Paths that follow each other mostly share their attributes.
        let mut last: Option<(AttributeId, Outcome)> = None;
        for id in ids {
            let guard = rib.guard();
            let prefix = rib.prefix(family, *id);
            let paths = rib.paths(family, *id, &guard);
            let is_meant =
                |path: &&Path| path.source == source && path.flags.contains(PathFlags::STALE);
            for path in paths.iter().filter(is_meant) {
                let outcome = match last {
                    Some((known, outcome)) if known == path.attributes => outcome,
                    _ => {
                        let received = self.writer.received(path.attributes);
                        let bytes = |id| rib.attributes(id, &guard).bytes;
                        let made = (received != path.attributes).then(|| bytes(path.attributes));
                        let outcome = self.outcome(bytes(received), made);
                        self.end_outcome(last.replace((path.attributes, outcome)));
                        outcome
                    }
                };
                match outcome {
                    Outcome::Become(attributes) => {
                        let path = Path {
                            attributes,
                            ..*path
                        };
                        self.writer.upsert_all([(prefix, path)], |_, _| {});
                    }
                    Outcome::Go => {
                        let withdrawn = [(prefix, path.path_id)];
                        self.writer.withdraw_all(source, withdrawn, |_, withdrawn| {
                            if withdrawn.is_some_and(|withdrawn| withdrawn.last_of_source) {
                                gone(*id);
                            }
                        });
                    }
                }
            }
        }
        self.end_outcome(last);
    }

    fn end_outcome(&mut self, outcome: Option<(AttributeId, Outcome)>) {
        if let Some((_, Outcome::Become(attributes))) = outcome {
            self.writer.release(attributes);
        }
    }

    // RFC-DONE 9494 §4.2: routes with NO_LLGR, of the peer's or by import policy, are removed; the others
    // get LLGR_STALE.
    /// What attributes become: as they were received, and what policy made of them, if anything.
    fn outcome(&mut self, received: &[u8], made: Option<&[u8]>) -> Outcome {
        let marked = |attributes| {
            let mut octets = Vec::new();
            attach(&AttributeSet::new(attributes), &mut octets);
            octets
        };
        if is_excluded(received) || made.is_some_and(is_excluded) {
            return Outcome::Go;
        }
        // No room for more attribute sets: a route that cannot be marked must not stay unmarked.
        let Ok(of) = self.writer.intern(&marked(received)) else {
            return Outcome::Go;
        };
        let Some(made) = made else {
            return Outcome::Become(of);
        };
        let interned = self.writer.intern_made_of(&marked(made), of);
        self.writer.release(of);
        interned.map_or(Outcome::Go, Outcome::Become)
    }
}

/// Whether a route is not to be long-lived.
pub(super) fn is_excluded(attributes: &[u8]) -> bool {
    has(attributes, NO_LLGR)
}

/// Attributes that import policy made, with LLGR_STALE if it took that off; `None`: they are as they
/// should be.
// RFC-DONE 9494 §4.3: nor does import policy take LLGR_STALE off, whoever attached it.
pub(super) fn mark_again(received: &[u8], made: &[u8]) -> Option<Vec<u8>> {
    let lost = has(received, rib::LLGR_STALE) && !has(made, rib::LLGR_STALE);
    lost.then(|| {
        let mut octets = Vec::new();
        attach(&AttributeSet::new(made), &mut octets);
        octets
    })
}

fn has(attributes: &[u8], community: u32) -> bool {
    let mut communities = AttributeSet::new(attributes).communities();
    communities.any(|found| found == community)
}

/// Writes attributes with LLGR_STALE among the communities.
fn attach(set: &AttributeSet<'_>, out: &mut Vec<u8>) {
    let mut communities: Vec<u32> = set.communities().collect();
    if !communities.contains(&rib::LLGR_STALE) {
        communities.push(rib::LLGR_STALE);
    }
    let value: Vec<u8> = communities.iter().flat_map(|c| c.to_be_bytes()).collect();
    let mut writer = AttributeWriter::new(out);
    let mut pending = Some(value);
    for attribute in set.iter() {
        if attribute.code >= code::COMMUNITIES
            && let Some(value) = pending.take()
        {
            let all = flags::OPTIONAL | flags::TRANSITIVE;
            writer.raw(all, code::COMMUNITIES, &value);
        }
        if attribute.code != code::COMMUNITIES {
            writer.raw(attribute.flags, attribute.code, attribute.value);
        }
    }
    if let Some(value) = pending {
        let all = flags::OPTIONAL | flags::TRANSITIVE;
        writer.raw(all, code::COMMUNITIES, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(write: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        write(&mut AttributeWriter::new(&mut before));
        attach(&AttributeSet::new(&before), &mut after);
        after
    }

    #[test]
    fn the_mark_is_attached_once_and_in_its_place() {
        let plain = attached(|writer| {
            writer.med(7);
            writer.large_communities(&[[1, 2, 3]]);
        });
        let set = AttributeSet::new(&plain);
        let codes: Vec<u8> = set.iter().map(|attribute| attribute.code).collect();
        assert_eq!(
            codes,
            [code::MED, code::COMMUNITIES, code::LARGE_COMMUNITIES]
        );
        assert!(set.communities().eq([rib::LLGR_STALE]));
        let among = attached(|writer| writer.communities(&[7, rib::LLGR_STALE, 9]));
        let set = AttributeSet::new(&among);
        assert!(set.communities().eq([7, rib::LLGR_STALE, 9]));
        let last = attached(|writer| writer.med(7));
        assert_eq!(AttributeSet::new(&last).iter().count(), 2);
    }
}
