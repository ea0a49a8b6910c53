//! Export policy: what it makes of a path before the rest of export sees it.
//!
//! Attributes that policy changes are interned by this shard as any others: an advert is made of
//! them, and what they were does not matter to it any more.

use codec::{AttributeSet, IpPrefix};
use rib::{AttributeId, Attributes, Guard, Path, Rib, RibWriter, SourceInfo, SourceKind};

use super::export::export;
use super::reflect::PathSource;
use super::refusal::Refusal;
use super::view::ExportView;
use crate::policy::{Applied, Evaluator, Form, Key, Sources, Subject, Validation, Verdict, Walk};
use crate::rpki::{VrpTable, route_origin};

/// Routes as they are, under a guard, and what is valid of them (RFC 6811).
pub type Tables<'g> = (&'g Rib, &'g Guard, Option<&'g VrpTable>);

/// A path as policy sees it, but for its prefix.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) path: Path,
    pub(super) attributes: Attributes<'a>,
    pub(super) said: PathSource,
    pub(super) prefix: IpPrefix,
    /// What is valid, if the policy asks for states of origin validation.
    pub(super) vrps: Option<&'a VrpTable>,
    /// The AS of a route whose AS_PATH is empty.
    pub(super) own_asn: u32,
}

impl<'g> Asked<'g> {
    fn of(
        view: &ExportView,
        (rib, guard, vrps): Tables<'g>,
        prefix: IpPrefix,
        path: &Path,
    ) -> Asked<'g> {
        let attributes = rib.attributes(path.attributes, guard);
        let info = rib.source(path.source, guard);
        let asks = view
            .policy
            .as_ref()
            .is_some_and(Applied::asks_for_validation);
        Asked {
            path: *path,
            attributes,
            said: PathSource::of(view, info, attributes.summary),
            prefix,
            vrps: vrps.filter(|_| asks),
            own_asn: own_asn(view, info),
        }
    }

    fn sources(&self) -> Sources {
        match self.said.kind {
            rib::SourceKind::Local => own_sources(self.path.flags.rules()),
            _ => Sources::RECEIVED,
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            family: self.prefix.family(),
            sources: self.sources(),
            validation: self.validation(),
            attributes: self.attributes.bytes,
        }
    }

    /// What a policy makes of it, and whether it does the same whatever the prefix.
    pub(super) fn judge(&self, evaluator: &mut Evaluator) -> (Verdict, bool) {
        let subject = self.subject();
        let key = Key {
            attributes: self.path.attributes.bits(),
            generation: self.attributes.generation,
            family: subject.family,
            sources: subject.sources,
            validation: subject.validation,
        };
        let (verdict, settled) = evaluator.judge(key, &subject, self.prefix);
        // A state is one of a prefix.
        (verdict, settled && self.vrps.is_none())
    }

    fn validation(&self) -> Validation {
        self.vrps.map_or(Validation::NotFound, |vrps| {
            let as_path = AttributeSet::new(self.attributes.bytes).as_path();
            vrps.validate(self.prefix, route_origin(&as_path, self.own_asn))
        })
    }
}

/// The AS that a route with an empty AS_PATH is of: one of ours is of the AS that it is told as, and of
/// others only internal peers have such.
pub(super) fn own_asn(view: &ExportView, info: &SourceInfo) -> u32 {
    match info.kind {
        SourceKind::Local => view.local_asn,
        _ => info.asn,
    }
}

/// What asks for an own route, by the bits that [`origin_rules`] makes.
fn own_sources(rules: u8) -> Sources {
    Sources::from_bits(rules << 1)
}

/// What asks for an own route, as three bits.
pub fn origin_rules(sources: Sources) -> u8 {
    sources.bits() >> 1
}

/// Attributes after policy, with a count for the caller if they are not those before.
pub(super) struct Passed {
    pub(super) attributes: AttributeId,
    pub(super) said: PathSource,
    /// To be given back.
    pub(super) counted: bool,
}

/// Appends the form in which the peers of `view` are told a path; what policy makes of it is neither
/// remembered nor counted.
///
/// # Errors
/// Why they are not told.
pub fn export_path(
    view: &ExportView,
    tables: Tables<'_>,
    prefix: IpPrefix,
    path: &Path,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let asked = Asked::of(view, tables, prefix, path);
    let (said, octets) = (asked.said, asked.attributes.bytes);
    let Some(applied) = &view.policy else {
        return export(view, prefix.family(), said, octets, out);
    };
    let verdict = Walk::new(applied.clone(), &asked.subject(), prefix).verdict;
    if !verdict.accepted {
        return Err(Refusal::Statement(verdict.statement));
    }
    let octets = verdict.form.attributes.as_deref().unwrap_or(octets);
    let said = said_after(said, &verdict.form);
    export(view, prefix.family(), said, octets, out)
}

/// How a path goes through the policy of `view`; none: there is no policy.
pub fn walk_policy(
    view: &ExportView,
    tables: Tables<'_>,
    prefix: IpPrefix,
    path: &Path,
) -> Option<Walk> {
    let applied = view.policy.as_ref()?;
    let asked = Asked::of(view, tables, prefix, path);
    Some(Walk::new(applied.clone(), &asked.subject(), prefix))
}

/// What of a verdict the rest of export goes on with.
pub(super) fn pass(
    writer: &mut RibWriter,
    asked: &Asked<'_>,
    verdict: &Verdict,
) -> Result<Passed, Refusal> {
    if !verdict.accepted {
        return Err(Refusal::Statement(verdict.statement));
    }
    let said = said_after(asked.said, &verdict.form);
    let Some(octets) = &verdict.form.attributes else {
        return Ok(Passed {
            attributes: asked.path.attributes,
            said,
            counted: false,
        });
    };
    let attributes = writer.intern(octets).map_err(|_| Refusal::NoRoom)?;
    Ok(Passed {
        attributes,
        said,
        counted: true,
    })
}

/// What the last steps of export are told beside the attributes.
fn said_after(said: PathSource, form: &Form) -> PathSource {
    PathSource {
        next_hop: form.next_hop,
        sets_med: form.sets_med,
        ..said
    }
}
