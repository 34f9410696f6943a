//! The journal's exports and proofs, judged by programs that this project did not write: Go's checksum
//! database and the `PyPI` package aics-tlog. Where such a program is missing, the test says so and passes.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so where it is seen")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use staunch::journal::{Entry, Journal, Options, Payload, verify};
use staunch::keys;
use staunch_core::event::commitment;
use tempfile::TempDir;

/// Lengths at which rows of tiles begin, end and are partial.
const SIZES: [u64; 6] = [0, 1, 255, 256, 700, 65_793];

fn entry(number: u64) -> Entry {
    let payload = Payload { salt: [5; 16], bytes: number.to_string().into_bytes() };
    let commitment = commitment(&payload.salt, &payload.bytes);
    let leaf = format!(r#"{{"v":1,"n":{number},"payload":"{commitment}"}}"#).into_bytes();
    Entry { leaf, payload: Some(payload), ..Entry::default() }
}

struct Exported {
    folder: TempDir,
    journal: Journal,
}

impl Exported {
    async fn of(size: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let pair = keys::generate(&folder.path().join("journal.key")).expect("a key");
        let key = keys::load_private(&pair.private).expect("the key");
        let options = Options::new(folder.path().join("data"), "example.org/crosscheck/journal", key);
        let journal = Journal::open(Options { reserve_bytes: 4096, ..options }).await.expect("a journal");
        for from in (0..size).step_by(4096) {
            journal.commit((from..size.min(from + 4096)).map(entry).collect()).await.expect("room");
        }
        let exported = Self { folder, journal };
        exported.journal.export(&exported.dir(), true, |_| ()).await.expect("an export");
        exported
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("export")
    }

    fn vkey(&self) -> PathBuf {
        self.dir().join("log.vkey")
    }

    /// Changes one byte in the middle of each kind of file and asks whether that is found.
    fn check_changes_are_found(&self, found: impl Fn() -> bool) {
        for name in ["checkpoint", "tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001"] {
            let file = self.dir().join(name);
            let right = std::fs::read(&file).expect("a file of the export");
            let mut changed = right.clone();
            changed[right.len() / 2] ^= 1;
            std::fs::write(&file, changed).expect("writable");
            assert!(found(), "{name} was changed and not found");
            std::fs::write(&file, right).expect("writable");
        }
    }
}

fn verifiers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("verifiers")
}

#[expect(clippy::disallowed_methods, reason = "starts a verifier that is not of this project")]
fn run(program: &Path, arguments: &[&Path]) -> Option<Output> {
    Command::new(program)
        .args(arguments)
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .output()
        .ok()
}

fn assert_accepts(output: Option<Output>) {
    let output = output.expect("the verifier starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refuses(output: Option<Output>) -> bool {
    output.is_some_and(|output| output.status.code() == Some(1))
}

/// Builds the Go verifier; `None`, with a word, where Go or its module is missing.
fn sumdb(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("sumdb");
    let source = verifiers().join("sumdb/main.go");
    let words = [Path::new("build"), Path::new("-o"), &program, &source];
    let built = run(Path::new("go"), &words);
    match built {
        Some(output) if output.status.success() => Some(program),
        Some(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.contains("cannot find package"), "the verifier does not compile: {error}");
            println!("skipped: needs Debian's golang-golang-x-mod-dev: {error}");
            None
        }
        None => {
            println!("skipped: `go` is not installed");
            None
        }
    }
}

#[tokio::test]
async fn exports_are_right_to_gos_checksum_database() {
    let tools = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = sumdb(tools.path()) else { return };
    for size in SIZES {
        let exported = Exported::of(size).await;
        assert!(verify(&exported.dir(), &exported.vkey()).expect("readable").is_right());
        let check = || run(&program, &[Path::new("export"), &exported.dir(), &exported.vkey()]);
        assert_accepts(check());
        if size == 700 {
            exported.check_changes_are_found(|| refuses(check()));
        }
        exported.journal.shutdown().await;
    }
}

#[tokio::test]
async fn proof_files_are_right_to_gos_checksum_database() {
    let tools = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = sumdb(tools.path()) else { return };
    let exported = Exported::of(700).await;
    let indices = [0, 1, 255, 256, 511, 512, 698, 699];
    let mut words = vec![PathBuf::from("proof"), exported.vkey()];
    for (index, proof) in indices.iter().zip(exported.journal.prove(&indices).await.expect("proofs")) {
        let file = tools.path().join(format!("{index}.tlog-proof"));
        std::fs::write(&file, proof.to_string()).expect("writable");
        words.push(file);
    }
    let words: Vec<&Path> = words.iter().map(PathBuf::as_path).collect();
    assert_accepts(run(&program, &words));
    let changed = std::fs::read_to_string(words[2]).expect("a proof").replacen("index 0", "index 1", 1);
    std::fs::write(words[2], changed).expect("writable");
    assert!(refuses(run(&program, &words)));
    exported.journal.shutdown().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test is told by the environment which Python to use")]
async fn exports_are_right_to_the_aics_verifier() {
    let python = std::env::var("STAUNCH_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = verifiers().join("aics/verify.py");
    for size in SIZES {
        let exported = Exported::of(size).await;
        let check = || run(Path::new(&python), &[&script, &exported.dir(), &exported.vkey()]);
        if check().is_none_or(|output| output.status.code() == Some(3)) {
            println!("skipped: `{python}` (STAUNCH_TEST_PYTHON) has no aics-tlog");
            return;
        }
        assert_accepts(check());
        if size == 700 {
            exported.check_changes_are_found(|| refuses(check()));
        }
        exported.journal.shutdown().await;
    }
}
