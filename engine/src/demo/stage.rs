//! The demo's directories: the manifests that people edit, and what the demo writes for itself.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the demo's files are. What it made itself goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    scratch: PathBuf,
    manifests: PathBuf,
}

impl Stage {
    /// Takes the directory `given`; else `examples/quickstart`, if it is here; else a copy of it
    /// in a fresh directory.
    ///
    /// # Errors
    /// One sentence with the mend.
    pub(crate) fn set(given: Option<&Path>) -> Result<Stage, String> {
        let scratch = std::env::temp_dir().join(format!("ringbgp-demo-{}", std::process::id()));
        Stage::set_in(scratch, given, Path::new(QUICKSTART_DIRECTORY))
    }

    fn set_in(scratch: PathBuf, given: Option<&Path>, example: &Path) -> Result<Stage, String> {
        if let Some(given) = given.filter(|given| !given.is_dir()) {
            let given = given.display();
            return Err(format!(
                "{given} is not a directory; leave --manifests out for an example"
            ));
        }
        make_private(&scratch).map_err(|error| unwritable(&scratch, &error))?;
        let mut stage = Stage {
            manifests: scratch.join("manifests"),
            scratch,
        };
        match given {
            Some(given) => stage.manifests = given.to_owned(),
            None if example.is_dir() => stage.manifests = example.to_owned(),
            None => write_quickstart(&stage.manifests)
                .map_err(|error| unwritable(&stage.manifests, &error))?,
        }
        // People go there in another window.
        if let Ok(absolute) = fs::canonicalize(&stage.manifests) {
            stage.manifests = absolute;
        }
        Ok(stage)
    }

    /// What people edit.
    pub(crate) fn manifests(&self) -> &Path {
        &self.manifests
    }

    /// What to edit first.
    pub(crate) fn edited(&self) -> PathBuf {
        let file = self.manifests.join(EDITED_FILE);
        if file.exists() {
            file
        } else {
            self.manifests.clone()
        }
    }

    /// Whether the manifests go with the demo.
    pub(crate) fn is_a_copy(&self) -> bool {
        self.manifests
            .file_name()
            .is_some_and(|name| name == "manifests")
            && self.manifests.parent() == fs::canonicalize(&self.scratch).ok().as_deref()
    }

    /// The Unix socket of the node's engine.
    pub(crate) fn admin(&self) -> PathBuf {
        self.scratch.join("ringbgp.sock")
    }

    /// Writes what the router's engine reads; gives its directory.
    ///
    /// # Errors
    /// One sentence with the mend.
    pub(crate) fn write_router(&self, manifest: &str) -> Result<PathBuf, String> {
        let directory = self.scratch.join("router");
        fs::create_dir(&directory)
            .and_then(|()| fs::write(directory.join("cilium-config.yaml"), manifest))
            .map_err(|error| unwritable(&directory, &error))?;
        Ok(directory)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// Makes a directory that did not exist and that others cannot look into.
fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)
}

fn write_quickstart(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (name, text) in QUICKSTART {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot write {}: {error}; name a directory for temporary files with TMPDIR",
        path.display()
    )
}

/// The file of the example that is best edited first.
const EDITED_FILE: &str = "allow-external-access.yaml";

macro_rules! example {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../examples/quickstart/", $name)),
        )
    };
}

const QUICKSTART_DIRECTORY: &str = "examples/quickstart";

/// The example's files.
const QUICKSTART: &[(&str, &str)] = &[
    example!("allow-cluster-pods.yaml"),
    example!("allow-external-access.yaml"),
    example!("allow-partners.yaml"),
    example!("config.yaml"),
    example!("node.yaml"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_copied_where_it_is_not_and_goes_with_the_demo() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("demo");
        let nowhere = directory.path().join("nowhere");
        let stage = Stage::set_in(scratch.clone(), None, &nowhere).unwrap();
        assert!(stage.is_a_copy());
        let files = fs::read_dir(stage.manifests()).unwrap().count();
        assert_eq!(files, QUICKSTART.len());
        stage.write_router("a: 1").unwrap();
        drop(stage);
        assert!(!scratch.exists());
    }

    #[test]
    fn the_copy_is_the_whole_example() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(QUICKSTART_DIRECTORY);
        let listed = fs::read_dir(example).unwrap();
        let mut listed: Vec<_> = listed
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        listed.sort();
        let embedded: Vec<&str> = QUICKSTART.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, embedded);
    }

    #[test]
    fn what_people_named_stays() {
        let directory = tempfile::tempdir().unwrap();
        let theirs = directory.path().join("manifests");
        fs::create_dir(&theirs).unwrap();
        let scratch = directory.path().join("demo");
        let stage = Stage::set_in(scratch, Some(&theirs), Path::new("/nowhere")).unwrap();
        assert!(!stage.is_a_copy());
        drop(stage);
        assert!(theirs.is_dir());
        let refused = Stage::set_in(theirs.join("x"), Some(&theirs.join("y")), &theirs);
        assert!(refused.unwrap_err().contains("not a directory"));
    }
}
