//! The SDK's sources and the contract, as they are when this program is built.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk/rust/", $path)))),*]
    };
}

/// Path and text of every file.
pub(super) const FILES: &[(&str, &str)] = files![
    "Cargo.toml",
    "src/allocator.rs",
    "src/backend/component.rs",
    "src/backend/mod.rs",
    "src/backend/scripted.rs",
    "src/bindings.rs",
    "src/clock.rs",
    "src/effect.rs",
    "src/error.rs",
    "src/export.rs",
    "src/fake/mod.rs",
    "src/fake/script.rs",
    "src/fake/tests.rs",
    "src/fake/world.rs",
    "src/file.rs",
    "src/host.rs",
    "src/http.rs",
    "src/json.rs",
    "src/kinds.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/process.rs",
    "src/random.rs",
    "src/service.rs",
    "wit/deps/clock/clock.wit",
    "wit/deps/file/file.wit",
    "wit/deps/http/http.wit",
    "wit/deps/log/log.wit",
    "wit/deps/process/process.wit",
    "wit/deps/random/random.wit",
    "wit/deps/service/service.wit",
    "wit/deps/types/types.wit",
    "wit/plugin.wit",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn collect(directory: &Path, root: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap();
            // Made by cargo, not part of the sources.
            if ["Cargo.lock", "target"].contains(&name.to_str().unwrap()) {
                continue;
            }
            if path.is_dir() {
                collect(&path, root, found);
            } else {
                found.insert(name.to_owned());
            }
        }
    }

    #[test]
    fn no_file_of_the_sdk_is_left_behind() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk/rust");
        let mut found = BTreeSet::new();
        collect(&root, &root, &mut found);
        let carried: BTreeSet<PathBuf> = FILES.iter().map(|(path, _)| PathBuf::from(path)).collect();
        assert_eq!(carried, found, "FILES must name exactly the files of plugin-sdk/rust");
    }
}
