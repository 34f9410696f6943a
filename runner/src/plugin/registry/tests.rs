use ed25519_dalek::SigningKey;

use super::*;
use crate::plugin::testing::{key, now, plugin, policy, signed};

struct Shop {
    directory: tempfile::TempDir,
    registry: Registry,
    key: SigningKey,
}

impl Shop {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { registry: Registry::at(directory.path().join("plugins")), directory, key: key(1) }
    }

    fn policy(&self) -> TrustPolicy {
        policy(&[&self.key], 1)
    }

    fn install(&self, bytes: &[u8], allow_downgrade: Option<&str>) -> Result<Installed, RegistryError> {
        let component = Bytes::copy_from_slice(bytes);
        let envelope = signed(bytes, &[&self.key]);
        let what =
            Installation { file: "p.wasm", component: &component, envelope: &envelope, allow_downgrade };
        self.registry.install(&what, &self.policy(), now()).map(|(_, report)| report)
    }

    fn open(&self, name: &str) -> Result<VerifiedPlugin, RegistryError> {
        self.registry.open(name, &self.policy(), now())
    }
}

#[test]
fn what_was_installed_opens() {
    let shop = Shop::new();
    assert!(shop.registry.list().unwrap().is_empty());
    let report = shop.install(&plugin("p", 1), None).unwrap();
    assert_eq!((report.previous, report.new_requests), (None, vec!["http.send **".to_owned()]));
    assert_eq!(shop.open("p").unwrap().digest(), Digest::of(&plugin("p", 1)));
    let report = shop.install(&plugin("p", 2), None).unwrap();
    assert_eq!((report.previous.as_deref(), report.new_requests.len()), (Some("1.1.0"), 0));
    assert_eq!(shop.open("p").unwrap().manifest().release, 2);
    assert!(shop.install(&plugin("p", 2), None).unwrap().unchanged);
    let listed = &shop.registry.list().unwrap()[0];
    assert_eq!((listed.floor, listed.versions.len()), (2, 2));
    let error = shop.open("q").unwrap_err().to_string();
    assert!(error.contains("installed: p"), "{error}");
}

#[test]
fn the_floor_outlives_a_downgrade() {
    let shop = Shop::new();
    shop.install(&plugin("p", 1), None).unwrap();
    shop.install(&plugin("p", 2), None).unwrap();
    assert_eq!(shop.install(&plugin("p", 1), None).unwrap_err().code(), "rollback");
    assert!(shop.install(&plugin("p", 1), Some("2 breaks the web tier")).unwrap().downgrade);
    assert_eq!(shop.open("p").unwrap().manifest().release, 1);
    assert_eq!(shop.install(&plugin("p", 0), None).unwrap_err().code(), "rollback");
    shop.install(&plugin("p", 2), None).unwrap();
    assert_eq!(shop.install(&plugin("p", 1), None).unwrap_err().code(), "rollback");
}

#[test]
fn a_release_or_version_belongs_to_one_component() {
    use crate::plugin::component::embed_manifest;
    use crate::plugin::testing::{component, manifest_text};
    let shop = Shop::new();
    shop.install(&plugin("p", 1), None).unwrap();
    let build = |text: String| embed_manifest(&component(&["http"], "remediation"), text.as_bytes()).unwrap();
    let text = manifest_text("p", 1, &["http"]);
    assert_eq!(shop.install(&build(format!("{text}# x")), None).unwrap_err().code(), "rollback");
    let recounted = text.replace("release = 1", "release = 2");
    assert_eq!(shop.install(&build(recounted), None).unwrap_err().code(), "version-taken");
}

#[test]
fn older_bytes_stay_for_runs_bound_to_them() {
    let shop = Shop::new();
    let old = Digest::of(&plugin("p", 1));
    shop.install(&plugin("p", 1), None).unwrap();
    shop.install(&plugin("p", 2), None).unwrap();
    let opened = shop.registry.open_digest("p", old, &shop.policy(), now()).unwrap();
    assert_eq!(opened.digest(), old);
    let never = Digest::of(b"never installed");
    let unknown = shop.registry.open_digest("p", never, &shop.policy(), now()).unwrap_err();
    assert_eq!(unknown.code(), "not-installed");
}

#[test]
fn every_changed_byte_of_the_installed_copy_is_refused() {
    let shop = Shop::new();
    shop.install(&plugin("p", 1), None).unwrap();
    let root = shop.registry.root().to_owned();
    for file in ["p/1.1.0/plugin.wasm", "p/1.1.0/plugin.dsse.json", "index.json"] {
        let path = root.join(file);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            assert!(shop.open("p").is_err(), "{file} byte {at}");
        }
        std::fs::write(&path, &good).unwrap();
        shop.open("p").unwrap();
    }
}

#[test]
fn another_genuine_plugin_in_its_place_is_refused() {
    let shop = Shop::new();
    shop.install(&plugin("p", 1), None).unwrap();
    shop.install(&plugin("q", 1), None).unwrap();
    let root = shop.registry.root();
    for file in ["plugin.wasm", "plugin.dsse.json"] {
        std::fs::copy(root.join("q/1.1.0").join(file), root.join("p/1.1.0").join(file)).unwrap();
    }
    assert_eq!(shop.open("p").unwrap_err().code(), "digest-mismatch");
    shop.install(&plugin("p", 1), None).unwrap();
    shop.open("p").unwrap();
}

#[test]
fn a_lost_index_is_not_taken_for_an_empty_one() {
    let shop = Shop::new();
    shop.install(&plugin("p", 2), None).unwrap();
    std::fs::remove_file(shop.registry.root().join("index.json")).unwrap();
    assert_eq!(shop.install(&plugin("p", 1), None).unwrap_err().code(), "registry-index");
    assert_eq!(shop.open("p").unwrap_err().code(), "registry-index");
}

#[test]
fn a_refused_plugin_leaves_nothing_behind() {
    let shop = Shop::new();
    let bytes = Bytes::from(plugin("p", 1));
    let envelope = signed(&bytes, &[&key(9)]);
    let what = Installation { file: "p.wasm", component: &bytes, envelope: &envelope, allow_downgrade: None };
    let error = shop.registry.install(&what, &shop.policy(), now()).unwrap_err();
    assert_eq!(error.code(), "signature");
    assert!(!shop.directory.path().join("plugins/p").exists());
    shop.install(&bytes, None).unwrap();
}

#[test]
fn two_installers_at_once_both_get_through() {
    let shop = Shop::new();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let shop = &shop;
            scope.spawn(move || {
                for release in 1..=5 {
                    shop.install(&plugin(name, release), None).unwrap();
                }
            });
        }
    });
    let listed = shop.registry.list().unwrap();
    assert!(listed.len() == 4 && listed.iter().all(|plugin| plugin.floor == 5 && plugin.versions.len() == 5));
}
