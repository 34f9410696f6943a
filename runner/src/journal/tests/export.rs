//! Exports: what was changed is found, and named.

use super::*;

struct Exported {
    place: Place,
    dir: PathBuf,
    key: PathBuf,
}

impl Exported {
    /// Exports a journal of `size` entries; the payload of entry 3 is removed.
    async fn of(size: u64, with_payloads: bool) -> Self {
        let place = Place::new();
        let journal = place.open().await;
        for from in (0..size).step_by(4000) {
            journal.commit(entries(from..(from + 4000).min(size))).await.unwrap();
        }
        if size > 3 {
            journal.erase(vec![3], vec![]).await.unwrap();
        }
        let dir = place.folder.path().join("export");
        let mut seen = Vec::new();
        journal.export(&dir, with_payloads, |progress| seen.push(progress.done)).await.unwrap();
        assert_eq!(seen.last().copied().unwrap_or(0), size);
        journal.shutdown().await;
        let key = place.folder.path().join("log.vkey");
        std::fs::copy(dir.join("log.vkey"), &key).unwrap();
        Self { place, dir, key }
    }

    fn verify(&self) -> Report {
        verify(&self.dir, &self.key).unwrap()
    }

    /// Verifies with one file's content replaced.
    fn verify_with(&self, file: &Path, content: &[u8]) -> Report {
        let before = std::fs::read(file).unwrap();
        std::fs::write(file, content).unwrap();
        let report = self.verify();
        std::fs::write(file, before).unwrap();
        report
    }

    fn name(&self, file: &Path) -> String {
        file.strip_prefix(&self.dir).map_or(file, |name| name).to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_untouched_export_is_right() {
    for size in [0, 1, 256, 700] {
        let exported = Exported::of(size, true).await;
        let report = exported.verify();
        assert_eq!(report.problems, []);
        assert_eq!((report.size, report.origin.as_str()), (size, ORIGIN));
        let removed = if size > 3 { vec![3] } else { vec![] };
        assert_eq!(report.payloads_checked, size.div_ceil(3) - removed.len() as u64);
        assert_eq!(report.removed, removed);
    }
    let without = Exported::of(10, false).await.verify();
    assert_eq!((without.problems.len(), without.has_payloads), (0, false));
}

#[tokio::test]
async fn every_changed_byte_of_every_file_is_found_and_named() {
    let exported = Exported::of(5, true).await;
    let files = files_of(&exported.dir);
    assert_eq!(files.len(), 5);
    for file in files.iter().chain([&exported.key]) {
        let content = std::fs::read(file).unwrap();
        for (byte, mask) in (0..content.len()).flat_map(|byte| [1, 0x20, 0x80].map(|mask| (byte, mask))) {
            let mut changed = content.clone();
            changed[byte] ^= mask;
            let report = exported.verify_with(file, &changed);
            let named = report.problems.first().map(|problem| problem.file.clone());
            assert_eq!(named, Some(exported.name(file)), "byte {byte} ^ {mask:#x}");
        }
        for changed in [&content[1..], &content[..content.len() - 1], &[&content[..], b"\n"].concat(), b""] {
            let report = exported.verify_with(file, changed);
            assert_eq!(report.problems.first().map(|p| p.file.clone()), Some(exported.name(file)));
        }
    }
    assert!(exported.verify().is_right());
}

#[tokio::test]
async fn the_exports_own_key_file_is_found_too() {
    let exported = Exported::of(5, true).await;
    let own = exported.dir.join("log.vkey");
    assert!(verify(&exported.dir, &own).unwrap().is_right());
    let content = std::fs::read(&own).unwrap();
    for byte in 0..content.len() {
        let mut changed = content.clone();
        changed[byte] ^= 1;
        std::fs::write(&own, changed).unwrap();
        assert!(!verify(&exported.dir, &own).unwrap().is_right(), "byte {byte}");
    }
}

#[tokio::test]
async fn a_change_in_a_large_export_is_told_from_what_disagrees_with_it() {
    let exported = Exported::of(66_000, true).await;
    assert_eq!(exported.verify().problems, []);
    let bytes_to_change = [
        ("tile/0/000", 5 * 32, "hash 5"),
        ("tile/0/255", 8191, "hash 255"),
        ("tile/0/257.p/208", 207 * 32, "hash 207"),
        ("tile/1/000", 3 * 32 + 1, "hash 3"),
        ("tile/1/001.p/1", 7, "hash 0"),
        ("tile/2/000.p/1", 0, "hash 0"),
        ("tile/entries/000", 2 + 5, "entry 0"),
        ("tile/entries/257.p/208", 2 + 5, "entry 65792"),
        ("payloads/000.jsonl", 10, "line 1 (entry 0)"),
        ("payloads/257.jsonl", 10, "line 1 (entry 65793)"),
    ];
    for (name, byte, place) in bytes_to_change {
        let file = exported.dir.join(name);
        let mut content = std::fs::read(&file).unwrap();
        content[byte] ^= 1;
        let report = exported.verify_with(&file, &content);
        let named: Vec<_> = report.problems.iter().map(|p| (p.file.as_str(), p.place.as_str())).collect();
        assert_eq!(named, [(name, place)]);
    }
}

#[tokio::test]
async fn missing_and_superfluous_files_are_named() {
    let exported = Exported::of(600, true).await;
    for file in files_of(&exported.dir) {
        let (name, content) = (exported.name(&file), std::fs::read(&file).unwrap());
        std::fs::remove_file(&file).unwrap();
        let report = exported.verify();
        assert!(report.problems.iter().any(|p| p.file == name && p.message.contains("missing")), "{name}");
        std::fs::write(&file, content).unwrap();
    }
    for name in [
        "notes.txt",
        "tile/0/003",
        "tile/0/002.p/87",
        "tile/entries/003.p/1",
        "tile/2/000.p/1",
        "payloads/003.jsonl",
        "payloads/x",
        "tile/0/0000",
        "tile/1/000.p/3",
    ] {
        let file = exported.dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"").unwrap();
        let report = exported.verify();
        assert_eq!(report.problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), [name]);
        std::fs::remove_file(&file).unwrap();
    }
    std::os::unix::fs::symlink("checkpoint", exported.dir.join("link")).unwrap();
    assert_eq!(exported.verify().problems[0].file, "link");
}

#[tokio::test]
async fn a_key_in_the_export_is_no_superfluous_file() {
    let exported = Exported::of(5, false).await;
    let key = exported.dir.join("trusted.vkey");
    std::fs::copy(&exported.key, &key).unwrap();
    assert_eq!(verify(&exported.dir, &key).unwrap().problems, []);
    assert_eq!(exported.verify().problems[0].file, "trusted.vkey");
}

#[tokio::test]
async fn an_export_does_not_write_into_a_used_directory() {
    let exported = Exported::of(5, false).await;
    let journal = exported.place.open().await;
    let error = journal.export(&exported.dir, true, |_| ()).await.unwrap_err();
    assert!(matches!(error, JournalError::Io { operation: "export to", .. }), "{error}");
    assert!(verify(Path::new("/no/such/export"), &exported.key).is_err());
}

#[tokio::test]
async fn proof_files_prove_their_entry_with_the_public_key_alone() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..300)).await.unwrap();
    let keys = [journal.verifier_key().clone()];
    let proofs = journal.prove(&[0, 255, 299]).await.unwrap();
    for (proof, index) in proofs.iter().zip([0_usize, 255, 299]) {
        let text = proof.to_string();
        let proved = check_proof(text.as_bytes(), &keys).unwrap();
        assert_eq!(
            (proved.index, proved.size, proved.leaf),
            (index as u64, 300, entries(0..300)[index].leaf.clone())
        );
        for byte in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[byte] ^= 1;
            assert!(check_proof(&changed, &keys).is_err(), "byte {byte}");
        }
    }
    assert!(matches!(journal.prove(&[300]).await, Err(JournalError::OutOfRange { .. })));
}
