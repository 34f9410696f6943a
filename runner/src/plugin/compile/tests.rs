use std::fs;
use std::time::Duration;

use bytes::Bytes;

use super::helper::helper_main;
use super::*;
use crate::plugin::testing::{key, now, plugin, policy, signed};
use crate::plugin::trust::{Candidate, verify};
use crate::sandbox::engine;

const MARK: &str = "STAUNCH_TEST_COMPILE_HELPER";

/// Not a test of its own: the body of the helper process of the others, which is this test program again.
#[test]
fn helper_entry() {
    if std::env::var_os(MARK).is_some() {
        // The test harness writes to standard output, so the shell gives us the pipe as 3.
        let output = fs::File::options().write(true).open("/dev/fd/3").unwrap();
        helper_main(std::io::stdin().lock(), output).unwrap();
    }
}

fn with_test_helper(compiler: Compiler) -> Compiler {
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "{MARK}=1 exec '{}' --exact plugin::compile::tests::helper_entry --nocapture 3>&1 1>/dev/null",
        program.display()
    );
    compiler.with_helper("/bin/sh".into(), vec!["-c".to_owned(), script])
}

fn with_script(script: &str) -> Compiler {
    Compiler::uncached().with_helper("/bin/sh".into(), vec!["-c".to_owned(), script.to_owned()])
}

fn verified(name: &str) -> VerifiedPlugin {
    let bytes = Bytes::from(plugin(name, 1));
    let envelope = signed(&bytes, &[&key(1)]);
    let candidate = Candidate { file: "p.wasm", component: &bytes, envelope: &envelope };
    verify(&candidate, &policy(&[&key(1)], 1), None, now()).unwrap()
}

fn entry(data: &Path, extension: &str) -> PathBuf {
    let mut found = fs::read_dir(data.join("compiled")).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.extension().is_some_and(|found| found == extension)).unwrap()
}

#[test]
fn compiles_once_and_loads_into_the_pooled_engine() {
    let data = tempfile::tempdir().unwrap();
    let engine = engine::engine(2).unwrap();
    let plugin = verified("p");
    with_test_helper(Compiler::new(data.path()).unwrap()).load(&engine, &plugin).unwrap();
    // A second compiler over the same data needs no helper any more.
    let compiler = Compiler::new(data.path()).unwrap().with_helper("/no/such/program".into(), Vec::new());
    compiler.load(&engine, &plugin).unwrap();
    assert!(matches!(compiler.load(&engine, &verified("q")), Err(CompileError::Helper(_))));
}

#[test]
fn changed_code_and_changed_macs_are_compiled_anew() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::new(&engine::config()).unwrap();
    let plugin = verified("p");
    let compiler = with_test_helper(Compiler::new(data.path()).unwrap());
    compiler.load(&engine, &plugin).unwrap();
    let cache = Cache::open(data.path()).unwrap();
    let generation = Generation::of(&engine);
    for extension in ["cwasm", "mac"] {
        let path = entry(data.path(), extension);
        let good = fs::read(&path).unwrap();
        let mut changed = good.clone();
        changed[good.len() / 2] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(cache.load(&engine, &generation, plugin.digest()).is_none(), "{extension}");
        compiler.load(&engine, &plugin).unwrap();
        assert!(cache.load(&engine, &generation, plugin.digest()).is_some(), "{extension}");
    }
}

#[test]
fn an_entry_cannot_stand_in_for_another() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::new(&engine::config()).unwrap();
    let (plugin, other) = (verified("p"), verified("q"));
    with_test_helper(Compiler::new(data.path()).unwrap()).load(&engine, &plugin).unwrap();
    for extension in ["cwasm", "mac"] {
        let path = entry(data.path(), extension);
        let name = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace(&plugin.digest().hex(), &other.digest().hex());
        fs::copy(&path, path.with_file_name(name)).unwrap();
    }
    let (cache, generation) = (Cache::open(data.path()).unwrap(), Generation::of(&engine));
    assert!(cache.load(&engine, &generation, other.digest()).is_none());
    // Nor does another host's key open it.
    fs::remove_file(data.path().join("compile.key")).unwrap();
    assert!(Cache::open(data.path()).unwrap().load(&engine, &generation, plugin.digest()).is_none());
}

#[test]
fn other_engine_settings_are_another_generation() {
    let mut config = engine::config();
    config.consume_fuel(false);
    let (ours, other) = (Engine::new(&engine::config()).unwrap(), Engine::new(&config).unwrap());
    assert_ne!(Generation::of(&ours), Generation::of(&other));
    assert_eq!(Generation::of(&ours), Generation::of(&engine::engine(2).unwrap()));
}

#[test]
fn key_and_directory_must_be_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    Compiler::new(data.path()).unwrap();
    for (path, open, closed) in [("compile.key", 0o640, 0o600), ("compiled", 0o755, 0o700)] {
        let path = data.path().join(path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, closed);
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let error = Compiler::new(data.path()).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(closed)).unwrap();
    }
    fs::write(data.path().join("compile.key"), b"short").unwrap();
    assert!(Compiler::new(data.path()).is_err());
}

#[test]
fn says_what_the_compiler_says() {
    let engine = Engine::new(&engine::config()).unwrap();
    let plugin = verified("p");
    let refused = with_script("echo no such instruction >&2; exit 1").load(&engine, &plugin).unwrap_err();
    assert!(refused.to_string().contains("no such instruction"), "{refused}");
    let killed = with_script("kill -9 $$").load(&engine, &plugin).unwrap_err();
    assert!(killed.to_string().contains("signal: 9"), "{killed}");
    let garbage = with_script("echo garbage").load(&engine, &plugin).unwrap_err();
    assert!(matches!(garbage, CompileError::Load(_)), "{garbage}");
}

#[test]
fn a_helper_that_hangs_is_killed_with_its_children() {
    let engine = Engine::new(&engine::config()).unwrap();
    let mut compiler = with_script("sleep 600 & sleep 600; wait");
    compiler.command.deadline = Duration::from_millis(200);
    let error = compiler.load(&engine, &verified("p")).unwrap_err();
    assert!(matches!(error, CompileError::Deadline(_)), "{error}");
}

#[test]
fn wasmtime_is_the_version_that_is_linked() {
    let lock = include_str!("../../../../Cargo.lock");
    let entry = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n");
    assert!(lock.contains(&entry), "WASMTIME_VERSION differs from Cargo.lock");
}
