//! What all objects have in common: kind, name, namespace, labels; and label selectors.

use std::sync::Arc;

use super::fields::{Field, Fields};
use crate::watcher::fault::Report;
use crate::watcher::resource::{Key, Kind, Labels};
use crate::watcher::selector::{Operator, Requirement, Selector, strip_source};

/// Where an object without `metadata.namespace` lives.
const DEFAULT_NAMESPACE: &str = "default";

/// Fields of `metadata` that Kubernetes knows and that are not read.
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The name and the labels; a fault, if there is no name.
pub(super) fn metadata(
    kind: Kind,
    document: &mut Fields<'_>,
    report: &mut Report,
) -> Option<(Key, Labels)> {
    let field = document.require("metadata", "with the object's name", report)?;
    let mut fields = field.fields(report)?;
    let name = fields.require("name", "the object's name", report);
    let name = name.and_then(|field| field.name(report));
    let namespace = fields.get("namespace");
    let namespace = namespace.map(|field| field.name(report));
    let labels = fields.get("labels");
    let labels = labels.map_or_else(Labels::new, |field| labels_of(&field, report));
    fields.close_leniently(METADATA, report);
    let name = name?;
    let namespace = match (kind.is_namespaced(), namespace) {
        (false, _) => Arc::from(""),
        (true, Some(namespace)) => Arc::from(namespace?),
        (true, None) => Arc::from(DEFAULT_NAMESPACE),
    };
    let key = Key {
        kind,
        namespace,
        name: name.into(),
    };
    Some((key, labels))
}

fn labels_of(field: &Field<'_>, report: &mut Report) -> Labels {
    let mut labels = Labels::new();
    if let Some(fields) = field.fields(report) {
        for (key, value) in fields.all() {
            if let Some(value) = value.scalar(report) {
                labels.insert(key.into(), value.into());
            }
        }
    }
    labels
}

/// A label selector; `strict` in kinds of ours.
pub(super) fn selector(field: &Field<'_>, strict: bool, report: &mut Report) -> Selector {
    let mut requirements = Vec::new();
    let Some(mut fields) = field.fields(report) else {
        return Selector { requirements };
    };
    if let Some(labels) = fields.get("matchLabels")
        && let Some(labels) = labels.fields(report)
    {
        for (key, value) in labels.all() {
            if let Some(value) = value.scalar(report) {
                requirements.push(Requirement {
                    key: strip_source(key).into(),
                    operator: Operator::In(vec![value.into()]),
                });
            }
        }
    }
    if let Some(expressions) = fields.get("matchExpressions") {
        for expression in expressions.list(report).unwrap_or_default() {
            requirements.extend(expression_of(&expression, strict, report));
        }
    }
    close(fields, strict, report);
    Selector { requirements }
}

fn expression_of(field: &Field<'_>, strict: bool, report: &mut Report) -> Option<Requirement> {
    #[derive(Clone, Copy)]
    enum Word {
        In,
        NotIn,
        Exists,
        DoesNotExist,
    }
    const WORDS: &[(&str, Word)] = &[
        ("In", Word::In),
        ("NotIn", Word::NotIn),
        ("Exists", Word::Exists),
        ("DoesNotExist", Word::DoesNotExist),
    ];
    let mut fields = field.fields(report)?;
    let key = fields.require("key", "the label's key", report);
    let key = key.and_then(|field| field.scalar(report));
    let word = fields.require("operator", "In, NotIn, Exists or DoesNotExist", report);
    let word = word.and_then(|field| field.word(WORDS, report));
    let values: Vec<Arc<str>> = match fields.get("values") {
        Some(field) => {
            let elements = field.list(report).unwrap_or_default();
            let texts = elements.iter().filter_map(|e| e.scalar(report));
            texts.map(Arc::from).collect()
        }
        None => Vec::new(),
    };
    close(fields, strict, report);
    let word = word?;
    if matches!(word, Word::In | Word::NotIn) && values.is_empty() {
        field.fault(report, "In and NotIn need values: a list of at least one");
        return None;
    }
    let operator = match word {
        Word::In => Operator::In(values),
        Word::NotIn => Operator::NotIn(values),
        Word::Exists => Operator::Exists,
        Word::DoesNotExist => Operator::DoesNotExist,
    };
    Some(Requirement {
        key: strip_source(&key?).into(),
        operator,
    })
}

fn close(fields: Fields<'_>, strict: bool, report: &mut Report) {
    if strict {
        fields.close_strictly(report);
    } else {
        fields.close_leniently(&[], report);
    }
}
