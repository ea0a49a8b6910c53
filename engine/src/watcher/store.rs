//! What is in force, file by file, with the last good form of everything that broke since.
//!
//! Pure: texts in, resources out. The invariants, each the difference between a slip of the hand
//! and an outage:
//! - a file that can't be read as YAML, or that lost all its documents, changes nothing;
//! - an invalid resource keeps its last good form, and nothing else is touched by it; so does an invalid
//!   neighbor or overlay within the settings (`parts`);
//! - of two forms of one resource the first by path and line counts;
//! - settings that vanish stay in force: only `enabled: false` switches off;
//! - a policy that vanishes stays in force as long as a neighbor in the settings names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::outliving::{Outliving, OutlivingForms};
use super::fault::{Fault, Severity};
use super::manifest::{self, CONFIG_NAME, Reading};
use super::parts::Kept;
use super::resource::{BgpPeering, Body, ConfigMap, Key, Kind, Resource};

/// The namespace of Cilium's own ConfigMap, which comes first if there are several.
pub(crate) const SYSTEM_NAMESPACE: &str = "kube-system";

/// The resources of one directory.
#[derive(Debug)]
pub struct Store {
    directory: Arc<str>,
    /// The node that the settings are read for.
    node: Arc<str>,
    files: BTreeMap<Arc<str>, File>,
    /// The settings that were in force last, and where they come from.
    config: Option<Arc<Resource>>,
    /// The ConfigMap `cilium-config` that was in force last.
    config_map: Option<Arc<Resource>>,
    /// The policies that neighbors named last, by name, as they were in force.
    policies: BTreeMap<Arc<str>, Arc<Resource>>,
    /// Concern no file: the directory itself.
    notices: Vec<Fault>,
    /// Texts are kept, for [`Store::forms`].
    keeps_texts: bool,
    /// The texts that settings and policies in force came from, as they outlive their files.
    outliving: Vec<Outliving>,
}

/// The texts that what is in force came from: put into an empty store in their order, they come to
/// the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forms {
    /// By file: its last good text, and what was written over it and only in part counts.
    files: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// The same of what is in force still, though its file is gone or has it no more.
    #[serde(default)]
    outliving: Vec<OutlivingForms>,
}

const AT_ODDS: &str = "the neighbors that are not valid can't stay as they were beside the rest: all of the \
                       settings keep their last good form";

/// Texts of one file that are kept because a later one counts only in part; those without which it
/// comes to the same are not. Past it the oldest but the very first, which was good as a whole, are
/// forgotten.
const TEXTS_MAX: usize = 32;

#[derive(Debug, Default)]
struct File {
    /// What it came to what it is by; only where forms are kept.
    texts: Vec<Arc<str>>,
    resources: Vec<Arc<Resource>>,
    passed_over: BTreeMap<String, usize>,
    faults: Vec<Fault>,
    had_documents: bool,
}

/// One consistent set of resources.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// Each resource once.
    pub resources: BTreeMap<Key, Arc<Resource>>,
    /// The resource that holds the settings.
    pub config: Option<Arc<Resource>>,
    /// The ConfigMap `cilium-config`.
    pub config_map: Option<Arc<Resource>>,
    /// The policies that are there no more and that neighbors name, by name.
    pub gone_policies: BTreeMap<Arc<str>, Arc<Resource>>,
    /// What is wrong with the files, in their order; what is in force despite of it is above.
    pub faults: Vec<Fault>,
}

impl Store {
    /// A store without files; `directory` is how messages call it.
    pub fn new(directory: &str) -> Store {
        Store {
            directory: directory.trim_end_matches('/').into(),
            node: "".into(),
            files: BTreeMap::new(),
            config: None,
            config_map: None,
            policies: BTreeMap::new(),
            notices: Vec::new(),
            keeps_texts: false,
            outliving: Vec::new(),
        }
    }

    /// The same, for the node of this name.
    pub fn on_node(self, name: &str) -> Store {
        Store {
            node: name.into(),
            ..self
        }
    }

    /// Begins with what was in force before, and keeps the texts of what is from now on.
    pub fn restore(&mut self, forms: Forms) {
        self.keeps_texts = true;
        self.restore_outliving(forms.outliving);
        for (name, texts) in &forms.files {
            for text in texts {
                self.put(name, text.as_bytes());
            }
        }
        // What went with its file while nobody looked outlives it too.
        self.settle();
    }

    /// The texts that what is in force came from; none unless they are kept.
    pub fn forms(&self) -> Forms {
        let files = self.files.iter();
        let with_texts = files.filter(|(_, file)| !file.texts.is_empty());
        Forms {
            files: with_texts
                .map(|(name, file)| (Arc::clone(name), file.texts.clone()))
                .collect(),
            outliving: self.outliving_forms(),
        }
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys()
    }

    /// Whether there is a file of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// A file has this text now.
    pub fn put(&mut self, name: &str, text: &[u8]) {
        let label = self.label(name);
        let of = Reading {
            file: &label,
            node: &self.node,
        };
        let mut contents = manifest::read(of, text);
        let mut old = self.files.remove(name).unwrap_or_default();
        let lost_all = contents.documents == 0 && old.had_documents;
        let is_empty = text.iter().all(u8::is_ascii_whitespace);
        if contents.unreadable || lost_all || is_empty {
            old.faults = contents.faults;
            if !contents.unreadable {
                let message = if old.had_documents {
                    "the file has no documents any more: what it held stays in force; \
                     delete the file to withdraw it"
                } else {
                    "the file is empty: at least one document is expected"
                };
                old.faults.push(whole_file(&label, message));
            } else if old.had_documents {
                old.faults
                    .push(whole_file(&label, "its last good form stays in force"));
            }
            self.files.insert(name.into(), old);
            return;
        }
        let mut resources = Vec::new();
        let mut counts_in_part = false;
        for mut resource in contents.resources {
            let is_partial = resource.peering().is_some_and(BgpPeering::is_partial);
            let before = is_partial.then(|| self.last_form(&old, &resource.key));
            let Some(before) = before.flatten() else {
                resources.push(Arc::new(resource));
                continue;
            };
            counts_in_part = true;
            let line = resource.line;
            let mut say = |message: &str| {
                let said = whole_file(&label, message);
                contents.faults.push(Fault { line, ..said });
            };
            match resource.keep_parts(&before) {
                Some(kept) => {
                    kept.words().for_each(|words| say(&words));
                    resources.push(Arc::new(resource));
                }
                None => {
                    say(AT_ODDS);
                    resources.push(before);
                }
            }
        }
        for key in contents.invalid {
            let kept = self.last_form(&old, &key);
            counts_in_part |= kept.is_some();
            resources.extend(kept);
        }
        if contents.nameless {
            // One of them may be the document that can't be told any more.
            for before in &old.resources {
                if !resources.iter().any(|resource| resource.key == before.key) {
                    resources.push(Arc::clone(before));
                    counts_in_part = true;
                }
            }
        }
        if counts_in_part && old.texts.is_empty() {
            old.texts = self.texts_of_outliving(&resources);
        }
        let file = File {
            texts: self.texts(old.texts, text, counts_in_part),
            resources,
            passed_over: contents.passed_over,
            faults: contents.faults,
            had_documents: contents.documents > 0,
        };
        self.files.insert(name.into(), file);
    }

    /// The texts that a file came to what it is by, now that it has this one.
    fn texts(&self, before: Vec<Arc<str>>, text: &[u8], counts_in_part: bool) -> Vec<Arc<str>> {
        let Some(text) = std::str::from_utf8(text).ok().filter(|_| self.keeps_texts) else {
            return Vec::new();
        };
        let mut texts = match counts_in_part {
            true => before,
            false => Vec::new(),
        };
        let text: Arc<str> = text.into();
        // Those before the last were looked at when it came, and the very first is what this one lacks.
        if let Some((last, first)) = texts.split_last()
            && !first.is_empty()
        {
            let with = [first, &[Arc::clone(last), Arc::clone(&text)]].concat();
            let without = [first, &[Arc::clone(&text)]].concat();
            if self.in_a_row(&with) == self.in_a_row(&without) {
                texts.pop();
            }
        }
        if texts.len() >= TEXTS_MAX {
            texts.remove(1);
        }
        texts.push(text);
        texts
    }

    /// What texts of one file come to, one after the other, by themselves.
    fn in_a_row(&self, texts: &[Arc<str>]) -> Vec<Arc<Resource>> {
        let mut store = Store::new("").on_node(&self.node);
        for text in texts {
            store.put("", text.as_bytes());
        }
        let file = store.files.remove("");
        file.map_or_else(Vec::new, |file| file.resources)
    }

    /// A file can't be read, for a reason that is not in its text.
    pub fn put_unreadable(&mut self, name: &str, why: &str) {
        let label = self.label(name);
        let file = self.files.entry(name.into()).or_default();
        let message = format!("can't be read: {why}; its last good form stays in force");
        file.faults = vec![whole_file(&label, &message)];
    }

    /// A file is gone.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// A file has a new name and takes the last good forms of what it holds along.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.into(), file);
        }
    }

    /// What is to be said of the directory as a whole, instead of what was said before.
    pub fn set_notices(&mut self, notices: impl IntoIterator<Item = (Severity, String)>) {
        let notice = |(severity, message)| Fault {
            severity,
            ..whole_file(&self.directory, message)
        };
        self.notices = notices.into_iter().map(notice).collect();
    }

    /// Kinds that are not read, with how many objects there are of each.
    pub fn passed_over(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for (kind, count) in self.files.values().flat_map(|file| &file.passed_over) {
            *all.entry(kind.as_str()).or_default() += count;
        }
        all
    }

    /// What counts, after any number of changes.
    pub fn settle(&mut self) -> InForce {
        let mut in_force = InForce {
            faults: self.notices.clone(),
            ..InForce::default()
        };
        for file in self.files.values() {
            in_force.faults.extend(file.faults.iter().cloned());
            for resource in &file.resources {
                if let Some(first) = in_force.resources.get(&resource.key) {
                    in_force.faults.push(doubled(resource, first));
                } else {
                    let key = resource.key.clone();
                    in_force.resources.insert(key, Arc::clone(resource));
                }
            }
        }
        self.choose_config(&mut in_force);
        self.choose_policies(&mut in_force);
        self.keep_outliving();
        in_force.config = self.config.clone();
        in_force.config_map = self.config_map.clone();
        in_force
    }

    fn choose_config(&mut self, in_force: &mut InForce) {
        let maps = in_force.resources.values().filter(|resource| {
            resource.key.kind == Kind::ConfigMap && &*resource.key.name == CONFIG_NAME
        });
        let map = maps
            .min_by_key(|map| &*map.key.namespace != SYSTEM_NAMESPACE)
            .cloned();
        let object = in_force.resources.values().find(|resource| {
            resource.key.kind == Kind::CiliumConfig && &*resource.key.name == CONFIG_NAME
        });
        let holder = object.or(map.as_ref().filter(|map| map.peering().is_some()));
        match (holder, &self.config) {
            (Some(holder), _) => self.config = Some(Arc::clone(holder)),
            (None, Some(gone)) => in_force.faults.push(vanished(gone)),
            (None, None) => {}
        }
        match (map, &self.config_map) {
            (Some(map), _) => self.config_map = Some(map),
            (None, Some(gone)) if self.config.as_ref() != Some(gone) => {
                in_force.faults.push(vanished(gone));
            }
            (None, _) => {}
        }
    }

    /// The form of a resource that counts, where `file` has another one now.
    fn last_form(&self, file: &File, key: &Key) -> Option<Arc<Resource>> {
        let own = file.resources.iter().find(|resource| resource.key == *key);
        let own = own.cloned().or_else(|| self.find(key));
        own.or_else(|| self.outlives(key).cloned())
    }

    fn find(&self, key: &Key) -> Option<Arc<Resource>> {
        let mut all = self.files.values().flat_map(|file| &file.resources);
        all.find(|resource| resource.key == *key).cloned()
    }

    fn label(&self, name: &str) -> Arc<str> {
        manifest::printable(&format!("{}/{name}", self.directory)).into()
    }
}

impl Resource {
    /// The settings, if this resource holds them.
    pub(crate) fn peering(&self) -> Option<&BgpPeering> {
        match &self.body {
            Body::Config(peering) => Some(peering),
            Body::ConfigMap(map) => map.peering.as_ref(),
            _ => None,
        }
    }

    /// Takes parts of the settings that are not valid as they are in `before`. None: they can't be beside
    /// the rest.
    fn keep_parts(&mut self, before: &Resource) -> Option<Kept> {
        let peering = match &mut self.body {
            Body::Config(peering) => Some(&mut **peering),
            Body::ConfigMap(map) => map.peering.as_mut(),
            _ => None,
        };
        match peering.zip(before.peering()) {
            Some((peering, before)) => peering.keep(before),
            None => Some(Kept::default()),
        }
    }

    pub(crate) fn config_map(&self) -> Option<&ConfigMap> {
        match &self.body {
            Body::ConfigMap(map) => Some(map),
            _ => None,
        }
    }
}

fn whole_file(label: &Arc<str>, message: impl Into<String>) -> Fault {
    Fault {
        file: Arc::clone(label),
        line: 0,
        severity: Severity::Fault,
        path: String::new(),
        message: message.into(),
    }
}

fn doubled(resource: &Resource, first: &Resource) -> Fault {
    Fault {
        line: resource.line,
        ..whole_file(
            &resource.file,
            format!(
                "{} is already in {}:{}: the first by path counts, this one does not",
                resource.key, first.file, first.line
            ),
        )
    }
}

fn vanished(gone: &Resource) -> Fault {
    Fault {
        severity: Severity::Warning,
        ..whole_file(
            &gone.file,
            format!(
                "{} is gone: its last form stays in force, only enabled: false switches off",
                gone.key
            ),
        )
    }
}

mod outliving;
#[cfg(test)]
mod tests;
