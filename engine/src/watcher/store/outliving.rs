//! What stays in force though no file has it any more: the settings, and each policy that a neighbor in
//! the settings names.
//!
//! Invariant: a resource that outlived its file before a restart does so after it, and nothing else
//! that was in the same text comes back with it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{InForce, Store};
use crate::config::{Export, Import};
use crate::watcher::resource::{Key, Kind, Resource};

/// Resources that may outlive the file they are from, and the texts that they came from.
#[derive(Debug)]
pub(super) struct Outliving {
    file: Arc<str>,
    texts: Vec<Arc<str>>,
    resources: Vec<Arc<Resource>>,
    is_gone: bool,
}

/// Resources that outlived the file they are from, as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutlivingForms {
    file: Arc<str>,
    texts: Vec<Arc<str>>,
    /// As messages call them.
    resources: BTreeSet<String>,
}

impl Store {
    /// The policies that neighbors name, each as it is written, or else as it was.
    pub(super) fn choose_policies(&mut self, in_force: &mut InForce) {
        let before = std::mem::take(&mut self.policies);
        for name in self.named_policies() {
            let there = in_force.resources.get(&policy_key(&name));
            let Some(policy) = there.or_else(|| before.get(&name)) else {
                continue;
            };
            if there.is_none() {
                let gone = (Arc::clone(&name), Arc::clone(policy));
                in_force.gone_policies.extend([gone]);
            }
            self.policies.insert(name, Arc::clone(policy));
        }
    }

    /// The policies that neighbors in the settings name, valid or not.
    fn named_policies(&self) -> BTreeSet<Arc<str>> {
        let peering = self.config.as_ref().and_then(|config| config.peering());
        let specs = peering.into_iter().flat_map(|peering| {
            let faulty = &peering.faulty.neighbors;
            peering.neighbors.iter().chain(faulty)
        });
        let mut named = BTreeSet::new();
        for spec in specs {
            if let Import::Policy(policy) = &spec.import {
                named.insert(Arc::clone(policy.name()));
            }
            if let Export::Policy(policy) = &spec.export {
                named.insert(Arc::clone(policy.name()));
            }
        }
        named
    }

    fn all_outliving(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let settings = self.config.iter().chain(&self.config_map);
        settings.chain(self.policies.values())
    }

    /// The form of a resource that is in force without a file.
    pub(super) fn outlives(&self, key: &Key) -> Option<&Arc<Resource>> {
        let mut settings = self.config.iter().chain(&self.config_map);
        settings
            .find(|resource| resource.key == *key)
            .or_else(|| match key.kind {
                Kind::RoutePolicy => self.policies.get(&key.name),
                _ => None,
            })
    }

    /// Remembers the texts of what may outlive its file.
    pub(super) fn keep_outliving(&mut self) {
        if !self.keeps_texts {
            return;
        }
        let mut open: HashSet<*const Resource> = self.all_outliving().map(Arc::as_ptr).collect();
        let mut kept = Vec::new();
        for (name, file) in &self.files {
            let here = file.resources.iter();
            let here = here.filter(|resource| open.remove(&Arc::as_ptr(resource)));
            let resources: Vec<_> = here.cloned().collect();
            if !resources.is_empty() {
                kept.push(Outliving {
                    file: Arc::clone(name),
                    texts: file.texts.clone(),
                    resources,
                    is_gone: false,
                });
            }
        }
        for mut before in std::mem::take(&mut self.outliving) {
            let resources = &mut before.resources;
            resources.retain(|resource| open.remove(&Arc::as_ptr(resource)));
            if !resources.is_empty() {
                kept.push(Outliving {
                    is_gone: true,
                    ..before
                });
            }
        }
        self.outliving = kept;
    }

    /// The texts that one of these came from before it was in the file that has it now.
    pub(super) fn texts_of_outliving(&self, resources: &[Arc<Resource>]) -> Vec<Arc<str>> {
        let has = |of: &&Outliving| {
            let mut known = of.resources.iter();
            known.any(|known| resources.iter().any(|one| Arc::ptr_eq(one, known)))
        };
        let known = self.outliving.iter().find(has);
        known.map_or_else(Vec::new, |of| of.texts.clone())
    }

    pub(super) fn outliving_forms(&self) -> Vec<OutlivingForms> {
        let gone = self.outliving.iter().filter(|of| of.is_gone);
        let forms = gone.map(|of| OutlivingForms {
            file: Arc::clone(&of.file),
            texts: of.texts.clone(),
            resources: of.resources.iter().map(|one| one.key.to_string()).collect(),
        });
        forms.collect()
    }

    /// Begins with what outlived its file before; of a store without files.
    pub(super) fn restore_outliving(&mut self, forms: Vec<OutlivingForms>) {
        for form in forms {
            for text in &form.texts {
                self.put(&form.file, text.as_bytes());
            }
            let file = self.files.remove(&form.file).unwrap_or_default();
            let mut resources = file.resources;
            resources.retain(|one| form.resources.contains(&one.key.to_string()));
            for resource in &resources {
                let resource = Arc::clone(resource);
                match resource.key.kind {
                    Kind::RoutePolicy => {
                        let name = Arc::clone(&resource.key.name);
                        self.policies.insert(name, resource);
                    }
                    Kind::CiliumConfig => self.config = Some(resource),
                    Kind::ConfigMap => self.config_map = Some(resource),
                    _ => {}
                }
            }
            self.outliving.push(Outliving {
                file: form.file,
                texts: form.texts,
                resources,
                is_gone: true,
            });
        }
        let map = self.config_map.as_ref();
        if self.config.is_none() {
            self.config = map.filter(|map| map.peering().is_some()).cloned();
        }
    }
}

fn policy_key(name: &Arc<str>) -> Key {
    Key {
        kind: Kind::RoutePolicy,
        namespace: "".into(),
        name: Arc::clone(name),
    }
}
