//! Messages that are ready: runs of octets that members share, with the parts that some don't get.
//!
//! Messages that follow each other are one run, so that what a member costs does not depend on how
//! many messages a table takes, nor on how many members said what stands in it: each of them gets
//! the run without its own part. Invariant: the parts that a member does not get are in order and
//! don't overlap, and consist of whole messages.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rib::SourceId;

/// A run that has grown past this leaves.
const RUN_OCTETS: usize = 64 << 10;

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    /// All members of the cohort.
    All,
    /// All but the member with this source.
    AllBut(SourceId),
    /// This one only.
    Only(SourceId),
    /// All but several: which, the run knows by this number.
    AllButEach(u32),
}

/// Which of an audience get a message: what fits 4,096 octets goes to all alike, whatever
/// they can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Takers {
    /// All of it.
    All,
    /// Those that can take longer messages (RFC 8654).
    OfLong,
    /// Those that cannot.
    OfShort,
}

/// Whole messages, one behind the other, and who gets which.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// All of it is for the member with this source; none: for everybody, but what they are to skip.
    only: Option<SourceId>,
    /// Which of those.
    pub(super) takers: Takers,
    /// By member, then in order.
    skips: Vec<(SourceId, Range<usize>)>,
    /// The messages with their headers.
    messages: Bytes,
}

/// Messages that are ready, in the order in which they must leave.
#[derive(Default)]
pub(super) struct Run {
    done: Vec<Packed>,
    /// For whom the octets from here on are; meaningless while there are none.
    part: Option<(Audience, usize)>,
    takers: Option<Takers>,
    skips: Vec<(SourceId, Range<usize>)>,
    octets: Vec<u8>,
    /// Those that [`Audience::AllButEach`] leaves out, in this batch.
    but: Vec<Arc<[SourceId]>>,
}

impl Run {
    /// Where to append a message for `takers` among `audience`.
    pub(super) fn of(&mut self, audience: Audience, takers: Takers) -> &mut Vec<u8> {
        let last = self.part.map(|(audience, _)| audience);
        if last != Some(audience) || self.takers != Some(takers) {
            self.end_part();
            let fits = last.is_some_and(|last| last.only() == audience.only());
            if !fits || self.takers != Some(takers) {
                self.cut();
            }
            self.takers = Some(takers);
            self.part = Some((audience, self.octets.len()));
        }
        if self.octets.len() >= RUN_OCTETS {
            self.cut();
            self.takers = Some(takers);
            self.part = Some((audience, 0));
        }
        &mut self.octets
    }

    /// All but these members; known until the batch ends.
    pub(super) fn all_but_each(&mut self, members: &[SourceId]) -> Audience {
        let mut members = members.to_vec();
        members.sort_unstable();
        let known = self.but.iter().position(|known| **known == *members);
        let place = known.unwrap_or_else(|| {
            self.but.push(members.into());
            self.but.len() - 1
        });
        Audience::AllButEach(place as u32)
    }

    /// The numbers of [`Audience::AllButEach`] mean something else from here on.
    pub(super) fn end_batch(&mut self) {
        if !self.but.is_empty() {
            self.end_part();
            self.but.clear();
        }
    }

    /// What is ready, in the order in which it must leave.
    pub(super) fn take(&mut self) -> Vec<Packed> {
        self.cut();
        std::mem::take(&mut self.done)
    }

    /// What comes next is for others.
    fn end_part(&mut self) {
        let end = self.octets.len();
        let Some((audience, start)) = self.part.take_if(|(_, start)| *start < end) else {
            return;
        };
        let left_out = match &audience {
            Audience::All | Audience::Only(_) => &[],
            Audience::AllBut(source) => std::slice::from_ref(source),
            Audience::AllButEach(place) => &self.but[*place as usize],
        };
        let skips = left_out.iter().map(|source| (*source, start..end));
        self.skips.extend(skips);
        // Only what else is for one member alone must not follow.
        self.part = Some((audience, end));
    }

    fn cut(&mut self) {
        self.end_part();
        let part = self.part.take();
        if let Some((audience, _)) = part
            && let Some(takers) = self.takers
            && !self.octets.is_empty()
        {
            let mut skips = std::mem::take(&mut self.skips);
            // In order already, by member.
            skips.sort_by_key(|(source, _)| *source);
            self.done.push(Packed {
                only: audience.only(),
                takers,
                skips,
                // A copy of the right size: the buffer stays warm, and nothing queued is larger
                // than what it says.
                messages: Bytes::copy_from_slice(&self.octets),
            });
            self.octets.clear();
        }
    }
}

impl Packed {
    /// Hands the member with `source` what it gets, in order.
    pub(super) fn give(&self, source: SourceId, mut give: impl FnMut(Bytes)) {
        if self.only.is_some_and(|only| only != source) {
            return;
        }
        let first = self.skips.partition_point(|(member, _)| *member < source);
        let own = self.skips[first..].iter();
        let mut from = 0;
        for (_, skip) in own.take_while(|(member, _)| *member == source) {
            if from < skip.start {
                give(self.messages.slice(from..skip.start));
            }
            from = skip.end;
        }
        if from < self.messages.len() {
            give(self.messages.slice(from..));
        }
    }
}

impl Audience {
    /// Whether the member with `source` is among it. Of [`Audience::AllButEach`] only a
    /// [`Packed`] knows more than that it may be.
    pub(super) fn includes(self, member: SourceId) -> bool {
        match self {
            Audience::All | Audience::AllButEach(_) => true,
            Audience::AllBut(source) => member != source,
            Audience::Only(source) => member == source,
        }
    }

    /// The member that alone gets it.
    fn only(self) -> Option<SourceId> {
        match self {
            Audience::Only(source) => Some(source),
            Audience::All | Audience::AllBut(_) | Audience::AllButEach(_) => None,
        }
    }

    /// Parts of one run beside each other, and of those the ones for the same members.
    pub(super) fn order(self) -> (bool, Option<SourceId>) {
        match self {
            Audience::All | Audience::AllButEach(_) => (false, None),
            Audience::AllBut(source) => (false, Some(source)),
            Audience::Only(source) => (true, Some(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(packed: &[Packed], source: u32) -> Vec<String> {
        let mut slices = Vec::new();
        for packed in packed {
            packed.give(SourceId(source), |slice| {
                slices.push(String::from_utf8(slice.to_vec()).unwrap());
            });
        }
        slices
    }

    fn add(run: &mut Run, audience: Audience, octets: &str) {
        run.of(audience, Takers::All)
            .extend_from_slice(octets.as_bytes());
    }

    #[test]
    fn each_member_gets_one_run_without_its_own_part() {
        let mut run = Run::default();
        let each = run.all_but_each(&[SourceId(3), SourceId(1)]);
        add(&mut run, Audience::AllBut(SourceId(1)), "ab");
        add(&mut run, Audience::AllBut(SourceId(1)), "c");
        add(&mut run, Audience::AllBut(SourceId(2)), "d");
        add(&mut run, Audience::All, "e");
        add(&mut run, each, "f");
        run.end_batch();
        // The number means others from here on.
        let each = run.all_but_each(&[SourceId(4), SourceId(5)]);
        add(&mut run, each, "g");
        let packed = run.take();
        assert_eq!(packed.len(), 1);
        assert_eq!(got(&packed, 9), ["abcdefg"]);
        assert_eq!(got(&packed, 1), ["de", "g"]);
        assert_eq!(got(&packed, 2), ["abc", "efg"]);
        assert_eq!(got(&packed, 3), ["abcde", "g"]);
        assert_eq!(got(&packed, 5), ["abcdef"]);
        assert!(run.take().is_empty());
    }

    #[test]
    fn what_one_member_alone_gets_stands_apart_and_in_order() {
        let mut run = Run::default();
        add(&mut run, Audience::All, "a");
        add(&mut run, Audience::Only(SourceId(1)), "b");
        add(&mut run, Audience::Only(SourceId(2)), "c");
        add(&mut run, Audience::AllBut(SourceId(1)), "d");
        let packed = run.take();
        assert_eq!(got(&packed, 1), ["a", "b"]);
        assert_eq!(got(&packed, 2), ["a", "c", "d"]);
        assert_eq!(got(&packed, 3), ["a", "d"]);
    }

    #[test]
    fn a_run_is_bounded_and_what_follows_is_for_the_same() {
        let mut run = Run::default();
        let long = "x".repeat(RUN_OCTETS);
        add(&mut run, Audience::AllBut(SourceId(1)), &long);
        add(&mut run, Audience::AllBut(SourceId(1)), "y");
        let packed = run.take();
        assert_eq!(packed.len(), 2);
        assert_eq!(got(&packed, 2), [&*long, "y"]);
        assert!(got(&packed, 1).is_empty());
    }
}
