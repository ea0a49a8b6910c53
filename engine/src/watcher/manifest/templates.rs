//! `spec.bgpPeering.templates`: what many neighbors have in common.
//!
//! A template is any neighbor without an address. A neighbor that names one lies over it: what the
//! neighbor says wins, mappings merge, lists are replaced; what is wrong keeps the template's line.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Field;
use super::neighbor::{self, OwnAsn};
use super::node::{Value, shorten};
use crate::watcher::fault::Report;

/// The templates by name.
#[derive(Debug, Default)]
pub(super) struct Templates<'n> {
    by_name: BTreeMap<&'n str, Field<'n>>,
    faulty: BTreeSet<&'n str>,
}

impl<'n> Templates<'n> {
    /// Reads them all; those with a fault too, so that nobody who names one is told that it is not
    /// there: its faults are those of who names it.
    pub(super) fn read(field: &Field<'n>, own_asn: OwnAsn, report: &mut Report) -> Templates<'n> {
        let mut templates = Templates::default();
        let fields = field.fields(report);
        for (name, template) in fields.iter().flat_map(|fields| fields.all()) {
            let read = |report: &mut Report| neighbor::check_template(&template, own_asn, report);
            let (read, is_good) = report.confine(read);
            if !is_good {
                templates.faulty.insert(name);
            }
            if read.is_some() {
                templates.by_name.insert(name, template);
            }
        }
        templates
    }

    /// Whether an element names a template with a fault, be it in what the element says itself.
    pub(super) fn is_faulty(&self, element: &Field<'_>) -> bool {
        let unsaid = &mut Report::new("".into());
        let named = element
            .fields(unsaid)
            .and_then(|mut fields| fields.get("template"));
        named.is_some_and(|field| {
            matches!(&field.node.value, Value::String(name) if self.faulty.contains(name.as_str()))
        })
    }

    /// An element of `neighbors` over the template that it names, if it names one. None: it names
    /// one that is not there, which is its fault.
    pub(super) fn under(&self, element: &Field<'n>, report: &mut Report) -> Option<Field<'n>> {
        let Some(named) = element.fields(report)?.get("template") else {
            return Some(element.clone());
        };
        if let Value::String(name) = &named.node.value
            && let Some(template) = self.by_name.get(name.as_str())
        {
            return Some(element.clone().over(Some(template.clone())));
        }
        let names: Vec<String> = self.by_name.keys().map(|name| shorten(name)).collect();
        let accepted = match names.is_empty() {
            true => "there are no templates".to_owned(),
            false => format!("one of the templates {}", shorten(&names.join(", "))),
        };
        named.refuse(report, accepted)
    }
}
