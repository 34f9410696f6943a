use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().unwrap().to_owned()
}

/// Temporary directories may lie behind a link on some machines; grants name real places.
fn room() -> (tempfile::TempDir, std::path::PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let real = room.path().canonicalize().unwrap();
    (room, real)
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.unwrap_err().error.code
}

#[test]
fn refuses_paths_that_are_not_plain() {
    for path in ["", "a", "/a/../b", "/a/./b", "/a//b", "/a/", "//a", "/a/\0", "/.."] {
        assert_eq!(check_path(path).unwrap_err().code, "invalid-argument", "{path:?}");
    }
    assert!(check_path("/").is_ok());
    assert!(check_path("/a/..b/c..").is_ok());
}

#[test]
fn never_follows_a_link_wherever_it_stands() {
    let (_room, root) = room();
    fs::create_dir(root.join("outside")).unwrap();
    fs::create_dir(root.join("tree")).unwrap();
    fs::write(root.join("outside/secret"), "secret").unwrap();
    symlink(root.join("outside"), root.join("tree/through")).unwrap();
    symlink(root.join("outside/secret"), root.join("tree/last")).unwrap();
    for name in ["tree/through/secret", "tree/last"] {
        let path = path(&root, name);
        let codes = [
            code(Read { path: path.clone(), offset: 0, length: 10 }.run()),
            code(Truncate { path: path.clone(), size: 0 }.run()),
            code(Rotate::new(path.clone(), 1).unwrap().run()),
            code(Write::new(path.clone(), b"x".to_vec()).unwrap().run()),
            code(Space { path }.run()),
        ];
        assert!(codes.iter().all(|code| code == "link" || code == "not-a-directory"), "{name}: {codes:?}");
    }
    let directory = path(&root, "tree/through");
    assert!(List { path: directory.clone() }.run().is_err());
    assert!(DeleteOlderThan::new(directory, "*".to_owned(), u64::MAX, 0, None).unwrap().run().is_err());
    assert_eq!(fs::read_to_string(root.join("outside/secret")).unwrap(), "secret");
    assert_eq!(Stat { path: path(&root, "tree/last") }.run().unwrap().kind, "other");
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let (_room, root) = room();
    fs::create_dir(root.join("outside")).unwrap();
    fs::create_dir(root.join("tree")).unwrap();
    fs::write(root.join("outside/file"), "outside").unwrap();
    fs::write(root.join("tree/file"), "inside").unwrap();
    let (tree, target) = (root.join("tree"), root.join("outside"));
    let parked = root.join("parked");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let path = path(&root, "tree/file");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&tree, &parked).unwrap();
                symlink(&target, &tree).unwrap();
                fs::remove_file(&tree).unwrap();
                fs::rename(&parked, &tree).unwrap();
            }
        });
        for _ in 0..2_000 {
            if let Ok(content) = (Read { path: path.clone(), offset: 0, length: 10 }).run() {
                assert_eq!(content.0, b"inside");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn refuses_everything_but_looking(path: &str) {
    let kind = || std::fs::symlink_metadata(path).unwrap().file_type();
    let before = kind();
    let codes = [
        code(Read { path: path.to_owned(), offset: 0, length: 1 }.run()),
        code(Truncate { path: path.to_owned(), size: 0 }.run()),
        code(Rotate::new(path.to_owned(), 1).unwrap().run()),
        code(Write::new(path.to_owned(), b"x".to_vec()).unwrap().run()),
    ];
    assert!(codes.iter().all(|code| code == "not-a-file"), "{path}: {codes:?}");
    assert_eq!(kind(), before, "{path}");
    assert_eq!(Stat { path: path.to_owned() }.run().unwrap().kind, "other");
}

#[test]
fn only_regular_files_with_one_name_are_opened() {
    let (_room, root) = room();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert_eq!(code(Read { path: path(&root, "fifo"), offset: 0, length: 1 }.run()), "not-a-file");
    refuses_everything_but_looking(&path(&root, "fifo"));
    // Sockets stand for devices: a test must never aim at a device of the machine, where a hole in the wall
    // that it looks for would do the damage.
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    refuses_everything_but_looking(&path(&root, "socket"));
    assert_eq!(code(Truncate { path: path(&root, ""), size: 0 }.run()), "not-found");
    fs::write(root.join("one"), "x").unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    assert_eq!(code(Truncate { path: path(&root, "two"), size: 0 }.run()), "hard-link");
    assert_eq!(code(Read { path: path(&root, "absent"), offset: 0, length: 1 }.run()), "not-found");
}

#[test]
fn reads_lists_and_measures() {
    let (_room, root) = room();
    fs::write(root.join("b"), "0123456789").unwrap();
    fs::create_dir(root.join("a")).unwrap();
    let content = Read { path: path(&root, "b"), offset: 3, length: 4 }.run().unwrap();
    assert_eq!(content.0, b"3456");
    assert_eq!(Read { path: path(&root, "b"), offset: 100, length: 4 }.run().unwrap().0, b"");
    let entries = List { path: root.to_str().unwrap().to_owned() }.run().unwrap();
    let kinds: Vec<_> =
        entries.iter().map(|entry| (entry.path.as_str(), entry.kind.as_str(), entry.size > 0)).collect();
    assert_eq!(kinds[1], (path(&root, "b").as_str(), "file", true));
    assert_eq!((kinds[0].0, kinds[0].1), (path(&root, "a").as_str(), "directory"));
    let space = Space { path: path(&root, "b") }.run().unwrap();
    assert!(space.total > 0 && space.available <= space.total);
    assert_eq!(Stat { path: "/".to_owned() }.run().unwrap().kind, "directory");
}

#[test]
fn truncating_twice_is_truncating_once() {
    let (_room, root) = room();
    fs::write(root.join("log"), vec![1; 100_000]).unwrap();
    let truncate = Truncate { path: path(&root, "log"), size: 10 };
    let freed = truncate.run().unwrap();
    assert!(freed.files == 1 && freed.bytes > 90_000, "{freed:?}");
    assert_eq!(truncate.run().unwrap(), Freed::default());
    assert_eq!(fs::metadata(root.join("log")).unwrap().len(), 10);
}

#[test]
fn rotating_keeps_so_many_and_leaves_an_empty_file_of_the_same_mode() {
    let (_room, root) = room();
    let rotate = Rotate::new(path(&root, "log"), 2).unwrap();
    for text in ["one", "two", "three"] {
        fs::write(root.join("log"), text).unwrap();
        fs::set_permissions(root.join("log"), fs::Permissions::from_mode(0o640)).unwrap();
        rotate.run().unwrap();
    }
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!((read("log").as_str(), read("log.1").as_str(), read("log.2").as_str()), ("", "three", "two"));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
    assert_eq!(fs::metadata(root.join("log")).unwrap().mode() & 0o7777, 0o640);
    fs::write(root.join("log"), "four").unwrap();
    assert_eq!(rotate.run().unwrap().files, 1);
}

#[test]
fn writing_replaces_the_whole_file() {
    let (_room, root) = room();
    let write = |content: &[u8]| Write::new(path(&root, "flag"), content.to_vec()).unwrap().run().unwrap();
    write(b"a long content");
    fs::set_permissions(root.join("flag"), fs::Permissions::from_mode(0o600)).unwrap();
    write(b"short");
    assert_eq!(fs::read(root.join("flag")).unwrap(), b"short");
    assert_eq!(fs::metadata(root.join("flag")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    assert!(Write::new("/x".to_owned(), vec![0; MAX_PATH * 100]).is_err());
}

fn old_file(directory: &Path, name: &str, age: u64) {
    fs::write(directory.join(name), vec![b'x'; 5_000]).unwrap();
    let file = fs::File::options().write(true).open(directory.join(name)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(10_000 - age)).unwrap();
}

#[test]
fn deletes_the_oldest_first_and_keeps_the_newest() {
    let (_room, root) = room();
    for (name, age) in [("a.log", 50), ("b.log", 40), ("c.log", 30), ("d.log", 20), ("e.txt", 60)] {
        old_file(&root, name, age);
    }
    symlink(root.join("e.txt"), root.join("z.log")).unwrap();
    let delete = |keep: u32, before: u64, stop_at: Option<u64>| {
        DeleteOlderThan::new(root.to_str().unwrap().to_owned(), "*.log".to_owned(), before, keep, stop_at)
            .unwrap()
            .run()
            .unwrap()
    };
    assert_eq!(delete(0, 9_900, None).files, 0);
    assert_eq!(delete(0, 9_991, Some(1)).files, 1);
    assert!(!root.join("a.log").exists());
    assert_eq!(delete(2, 9_991, None).files, 1);
    assert!(!root.join("b.log").exists());
    assert_eq!(delete(0, 9_975, None).files, 1);
    assert!(root.join("d.log").exists() && root.join("e.txt").exists() && root.join("z.log").is_symlink());
}

#[test]
fn a_deletion_is_covered_when_its_pattern_is() {
    let grants = |pattern: &str| {
        let functions = [("delete-older-than".to_owned(), vec![pattern.to_owned()])].into();
        Grants::own("p", &[("file".to_owned(), functions)].into()).unwrap()
    };
    let check = |pattern: &str, directory: &str, name: &str, expected: bool| {
        let deed = DeleteOlderThan::new(directory.to_owned(), name.to_owned(), 0, 0, None);
        let allowed = OnFile::new(deed).unwrap().authorise(&grants(pattern)).is_ok();
        assert_eq!(allowed, expected, "{pattern}: {directory} {name}");
    };
    check("/var/log/app/*", "/var/log/app", "*.log", true);
    check("/var/log/app/*.log", "/var/log/app", "*.log", true);
    check("/var/log/app/*.log", "/var/log/app", "*", false);
    check("/var/log/app/*.log", "/var/log/app", "**", false);
    check("/var/log/app/a.log", "/var/log/app", "*.log", false);
    check("/var/log/app/**", "/var/log/app/sub", "*", true);
    check("/var/log/app/*", "/var/log/app/sub", "*", false);
}
