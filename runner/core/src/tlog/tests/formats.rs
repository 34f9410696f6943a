//! Paths, bundles, notes and proof files: each has one spelling.

use super::*;

#[test]
fn tile_paths_have_one_spelling() {
    let hashes = |row, index, width| Some(TilePath::Hashes { row, index, width });
    let entries = |index, width| Some(TilePath::Entries { index, width });
    let check = |path: &str, expected: Option<TilePath>| {
        assert_eq!(TilePath::parse(path), expected, "{path}");
        if let Some(tile) = expected {
            assert_eq!(tile.to_string(), path);
        }
    };
    check("tile/0/000", hashes(0, 0, 256));
    check("tile/0/x001/x234/067", hashes(0, 1_234_067, 256));
    check("tile/1/x001/067.p/5", hashes(1, 1067, 5));
    check("tile/entries/001", entries(1, 256));
    check("tile/entries/x018/x446/x744/x073/x709/x551/615.p/255", entries(u64::MAX, 255));
    check("tile/63/000.p/1", hashes(63, 0, 1));
    for wrong in [
        "",
        "tile",
        "tile/",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/+01",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000.p/",
        "tile/-1/000",
        "tile/0/../000",
        "tile/entries/000.p",
        "tile/entries/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x01/001",
        "tile/0/xx01/001",
    ] {
        check(wrong, None);
    }
}

#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    let of = |size| tile_paths(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert_eq!(of(0), [""; 0]);
    assert_eq!(of(1), ["tile/0/000.p/1", "tile/entries/000.p/1"]);
    assert_eq!(of(256), ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    let paths = of(70_000);
    assert_eq!(paths.iter().filter(|path| path.starts_with("tile/0/")).count(), 274);
    for part in
        ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"]
    {
        assert!(paths.iter().any(|path| path == part), "{part} is missing");
    }
}

#[test]
fn bundles_are_read_back_and_end_with_an_entry() {
    let mut bundle = Vec::new();
    for leaf in [&b""[..], b"a", &[7; MAX_LEAF_BYTES]] {
        push_bundle_entry(&mut bundle, leaf).unwrap();
    }
    assert_eq!(entries_of_bundle(&bundle).unwrap(), [&b""[..], b"a", &[7; MAX_LEAF_BYTES]]);
    assert_eq!(entries_of_bundle(&bundle[..4]), Err(BundleError::Short { entry: 1, offset: 2 }));
    assert_eq!(
        push_bundle_entry(&mut bundle, &[0; MAX_LEAF_BYTES + 1]),
        Err(BundleError::Long { length: MAX_LEAF_BYTES + 1 })
    );
}

/// The key of the signed-note page of C2SP.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn verifier_keys_have_one_spelling() {
    let key = VerifierKey::parse(PETER).unwrap();
    assert_eq!((key.name(), key.id()), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]));
    assert_eq!(key.to_string(), PETER);
    for wrong in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        &PETER.replace("c74f", "C74F"),
        &PETER.replace("a3+", "a4+"),
        &PETER.replace("10TW", "10TX"),
        &PETER.replace("Neumann", " Neumann"),
        &PETER.replace("+ARpc", "+AhpC"),
        &format!("{PETER}\n"),
        &PETER.replace("+ARpc", "+BRpc"),
    ] {
        assert!(VerifierKey::parse(wrong).is_err(), "{wrong}");
    }
    for byte in 0..PETER.len() {
        let mut changed = PETER.as_bytes().to_vec();
        changed[byte] ^= 1;
        let parsed = String::from_utf8(changed).ok().and_then(|text| VerifierKey::parse(&text).ok());
        assert_eq!(parsed, None, "byte {byte}");
    }
}

#[test]
fn notes_keep_their_bytes_and_name_what_is_wrong() {
    let key = [VerifierKey::parse(PETER).unwrap()];
    let note = SignedNote::parse(PETER_NOTE.as_bytes()).unwrap();
    assert_eq!(note.to_string(), PETER_NOTE);
    assert!(note.text().ends_with("your problem is.\n"));
    assert_eq!(note.verify(&key, |_, text, _| text == note.text().as_bytes()), Ok(note.text()));
    assert_eq!(note.verify(&key, |_, _, _| false), Err(NoteError::Signature("PeterNeumann".into())));
    assert_eq!(note.verify(&[], |_, _, _| true), Err(NoteError::Unknown("`PeterNeumann`".into())));
    for wrong in [
        "",
        "text",
        "text\n\n",
        "text\n\nx\n",
        "text\n\n\u{2014} a\n",
        "text\n\n\u{2014} a AAAA\n",
        "text\n\n\u{2014} a+b AAAAAAA=\n",
        "text\n\n\u{2014} a AAAAAAB=\n",
        "te\txt\n\n\u{2014} a AAAAAAA=\n",
        "text\n\n\u{2014} a AAAAAAA=",
        "text\n\n\u{2014} a AAAAAAA=\n\n",
    ] {
        assert!(matches!(SignedNote::parse(wrong.as_bytes()), Err(NoteError::Form(_))), "{wrong:?}");
    }
}

#[test]
fn strange_signatures_do_not_hide_a_known_one() {
    let lines = PETER_NOTE.lines().last().unwrap();
    let stranger = "\u{2014} witness.example AAAAAAA=\n";
    let note = |strangers| format!("{PETER_NOTE}{}", stranger.repeat(strangers));
    let key = [VerifierKey::parse(PETER).unwrap()];
    let parsed = SignedNote::parse(note(16).as_bytes()).unwrap();
    assert!(parsed.verify(&key, |key, _, _| key.name() == "PeterNeumann").is_ok());
    assert!(SignedNote::parse(note(100).as_bytes()).is_err());
    let twice = SignedNote::parse(format!("{PETER_NOTE}{}\n", lines.replace("x08go/", "x08go+")).as_bytes());
    let right = parsed.signatures()[0].signature.clone();
    assert!(twice.unwrap().verify(&key, |_, _, signature| signature == right).is_err());
}

#[test]
fn checkpoints_have_three_lines() {
    let checkpoint = Checkpoint { origin: "example.com/log".into(), size: 5, root: leaf_hash(b"") };
    let text = checkpoint.to_string();
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
    for wrong in [
        &text.replace("\n5\n", "\n05\n"),
        &text.replace("\n5\n", "\n+5\n"),
        &format!("{text}more\n"),
        "x",
        &text.replace("example.com/log", ""),
        &text.replace("example", "exa mple"),
        &text.replace('=', ""),
    ] {
        assert!(Checkpoint::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn proof_files_have_one_spelling() {
    let file = ProofFile {
        extra: Some(b"leaf".to_vec()),
        index: 73_894,
        hashes: vec![leaf_hash(b"a"), leaf_hash(b"b")],
        checkpoint: PETER_NOTE.into(),
    };
    let text = file.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 73894\n"));
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(file.clone()));
    let bare = ProofFile { extra: None, hashes: vec![], ..file };
    assert_eq!(ProofFile::parse(bare.to_string().as_bytes()), Ok(bare));
    for wrong in [
        &text.replace("proof@v1", "proof@v2"),
        &text.replace("index 7", "index 07"),
        &text.replace("index", "Index"),
        &text.replace("bGVhZg==", "bGVhZh=="),
        &text.replace("extra", "Extra"),
        "c2sp.org/tlog-proof@v1\nindex 1\n",
    ] {
        assert!(ProofFile::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}
