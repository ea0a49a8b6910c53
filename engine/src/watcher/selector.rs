//! Kubernetes label selectors.
//!
//! All requirements must hold; no requirement selects everything. Keys may carry Cilium's source
//! prefixes `k8s:` and `any:`, which the labels of objects do not have: they are dropped.

use std::sync::Arc;

use super::resource::Labels;

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// What must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: Arc<str>,
    /// What is asked of it.
    pub operator: Operator,
}

/// What is asked of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It is there and has one of these values.
    In(Vec<Arc<str>>),
    /// It is not there or has none of these values.
    NotIn(Vec<Arc<str>>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// Whether it has no requirement and so selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

/// A label's key without the source that Cilium puts before it.
pub(crate) fn strip_source(key: &str) -> &str {
    key.strip_prefix("k8s:")
        .or_else(|| key.strip_prefix("any:"))
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    fn selector(key: &str, operator: Operator) -> Selector {
        Selector {
            requirements: vec![Requirement {
                key: key.into(),
                operator,
            }],
        }
    }

    #[test]
    fn requirements_hold_or_not() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        let one = |value: &str| vec![Arc::from(value)];
        assert!(Selector::default().selects(&web));
        assert!(selector("app", Operator::In(one("web"))).selects(&web));
        assert!(!selector("app", Operator::In(one("db"))).selects(&web));
        assert!(!selector("role", Operator::In(one("web"))).selects(&web));
        assert!(selector("role", Operator::NotIn(one("web"))).selects(&web));
        assert!(!selector("app", Operator::NotIn(one("web"))).selects(&web));
        assert!(selector("tier", Operator::Exists).selects(&web));
        assert!(selector("role", Operator::DoesNotExist).selects(&web));
    }

    #[test]
    fn sources_of_keys_are_dropped() {
        assert_eq!(strip_source("k8s:app"), "app");
        assert_eq!(strip_source("any:app"), "app");
        assert_eq!(strip_source("k8s.io/app"), "k8s.io/app");
    }
}
