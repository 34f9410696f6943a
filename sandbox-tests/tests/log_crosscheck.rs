//! The journal's exports and proofs, judged by code that this project did not write: Cloudflare's crate
//! `tlog_tiles`, Go's checksum database and the `PyPI` package aics-tlog. Where one of the latter two is missing, the
//! test says so and passes.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so where it is seen")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use staunch::journal::{Entry, Journal, Options, Payload, verify};
use staunch::keys;
use staunch_core::event::commitment;
use tempfile::TempDir;
use tlog_tiles::{
    Checkpoint, HashReader as _, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, record_hash, stored_hash_index,
};

/// Lengths at which rows of tiles begin, end and are partial.
const SIZES: [u64; 6] = [0, 1, 255, 256, 700, 65_793];

/// One of each kind of tile in an export of 700 entries.
const TILES: [&str; 4] = ["tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001"];

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

    /// Changes one byte in the middle of each of these files and asks whether that is found.
    fn check_changes_are_found(&self, names: &[&str], found: impl Fn() -> bool) {
        for name in names {
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

/// The tiles of an export, for the crate `tlog_tiles`.
struct Tiles<'e>(&'e Path);

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // The crate's paths name the height, as Go's do; those of C2SP do not.
            let file = self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
            std::fs::read(&file)
                .map_err(|error| tlog_tiles::Error::InvalidInput(format!("{}: {error}", file.display())))
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The leaves in an export's bundles: a length of two bytes before each.
fn bundled(dir: &Path, size: u64) -> Option<Vec<Vec<u8>>> {
    let mut leaves = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = (size - index * 256).min(256);
        let tile = Tile::new(8, 0, index, u32::try_from(width).ok()?, true);
        let path = tile.path().replacen("tile/8/data/", "tile/entries/", 1);
        let bundle = std::fs::read(dir.join(path)).ok()?;
        let mut rest = bundle.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let (leaf, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
            leaves.push(leaf.to_vec());
            rest = tail;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(leaves)
}

/// Whether `tlog_tiles` finds every leaf of an export under the root of its checkpoint.
fn holds_together(dir: &Path) -> bool {
    let note = std::fs::read(dir.join("checkpoint")).expect("a checkpoint");
    let Ok(checkpoint) = Checkpoint::from_reader(&mut note.as_slice(), false) else { return false };
    let size = checkpoint.size();
    let Some(leaves) = bundled(dir, size) else { return false };
    let tiles = Tiles(dir);
    let reader = TileHashReader::new(size, *checkpoint.hash(), &tiles);
    let indices: Vec<u64> = (0..size).map(|index| stored_hash_index(0, index)).collect();
    let expected: Vec<_> = leaves.iter().map(|leaf| record_hash(leaf)).collect();
    reader.read_hashes(&indices).is_ok_and(|hashes| hashes == expected)
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
async fn exports_are_right_to_tlog_tiles() {
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        let exported = Exported::of(size).await;
        assert!(holds_together(&exported.dir()), "{size} entries");
        if size == 700 {
            exported.check_changes_are_found(&TILES, || !holds_together(&exported.dir()));
        }
        exported.journal.shutdown().await;
    }
}

#[tokio::test]
async fn proofs_are_those_of_tlog_tiles_and_right_to_it() {
    let exported = Exported::of(700).await;
    let (dir, journal) = (exported.dir(), &exported.journal);
    let tiles = Tiles(&dir);
    let root = |size| async move { tlog_tiles::Hash(journal.root(size).await.expect("a root").0) };
    let hashes = |found: Vec<staunch_core::tlog::Hash>| -> Vec<tlog_tiles::Hash> {
        found.into_iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
    };
    let whole = root(700).await;
    let reader = TileHashReader::new(700, whole, &tiles);
    for index in [0, 1, 255, 256, 511, 512, 698, 699] {
        let proof = hashes(journal.inclusion(index, 700).await.expect("a proof"));
        assert_eq!(proof, prove_record(700, index, &reader).expect("a proof"), "entry {index}");
        let leaf = record_hash(&entry(index).leaf);
        check_record(&proof, 700, whole, index, leaf).expect("right");
        assert!(check_record(&proof, 700, whole, index ^ 1, leaf).is_err(), "entry {index}");
    }
    for from in [1, 2, 255, 256, 257, 512, 699, 700] {
        let proof = hashes(journal.consistency(from, 700).await.expect("a proof"));
        assert_eq!(proof, prove_tree(700, from, &reader).expect("a proof"), "from {from}");
        check_tree(&proof, 700, whole, from, root(from).await).expect("right");
        assert!(check_tree(&proof, 700, whole, from, leaf_of_nothing()).is_err(), "from {from}");
    }
    exported.journal.shutdown().await;
}

/// A hash that no tree here has.
fn leaf_of_nothing() -> tlog_tiles::Hash {
    record_hash(b"nothing")
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
            exported.check_changes_are_found(&["checkpoint", TILES[0], TILES[1], TILES[2], TILES[3]], || {
                refuses(check())
            });
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
            exported.check_changes_are_found(&["checkpoint", TILES[0], TILES[1], TILES[2], TILES[3]], || {
                refuses(check())
            });
        }
        exported.journal.shutdown().await;
    }
}
