use std::sync::Arc;

use super::launch::{Launcher, NotStarted, started};
use super::*;
use crate::clock::Clock;
use crate::sandbox::cap::http::{Client, SystemResolver};
use crate::sandbox::secrets::Secrets;
use crate::sandbox::world::World;
use staunch_core::id::Digest;

fn world() -> World {
    let http = Client::new(Arc::new(SystemResolver), Vec::new());
    let mut world = World::new(Clock::machine(), http, Secrets::default(), None);
    world.launcher = Launcher::at(staunch());
    world
}

/// The helper is a part of `staunch`, which is built beside the test programs.
fn staunch() -> std::path::PathBuf {
    let own = std::env::current_exe().unwrap();
    let found =
        own.ancestors().skip(1).take(3).map(|folder| folder.join("staunch")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no staunch beside {}: cargo build --workspace", own.display()))
}

async fn run(line: &[&str], timeout: Option<u32>, pin: Option<Digest>) -> Result<Output, Failure> {
    let arguments = line[1..].iter().map(|&argument| argument.to_owned()).collect();
    let function = Run::new(line[0].to_owned(), arguments, timeout).unwrap();
    let world = world();
    let leave = ArgvLeave { pin };
    let deadline = Instant::now() + Duration::from_secs(20);
    function.perform(Site { world: &world, leave: &leave, deadline, key: None }).await
}

#[tokio::test]
async fn gives_back_code_and_output() {
    let output = run(&["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], None, None).await.unwrap();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (Some(3), "out\n", "err\n"));
    let output = run(&["/bin/sh", "-c", "kill -9 $$"], None, None).await.unwrap();
    assert_eq!(output.code, None);
    assert_eq!(run(&["/no/such/program"], None, None).await.unwrap_err().error.code, "not-found");
}

#[tokio::test]
async fn the_program_gets_nothing_of_the_host() {
    let output = run(&["/usr/bin/env"], None, None).await.unwrap();
    assert_eq!(output.stdout, "");
    let own = std::fs::File::open("/").unwrap();
    let script = "pwd; read -r line || echo no input; ulimit -c; ulimit -n; ls /proc/self/fd";
    let output = run(&["/bin/sh", "-c", script], None, None).await.unwrap();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..4], ["/", "no input", "0", "1024"], "{lines:?}");
    let own = std::os::fd::AsRawFd::as_raw_fd(&own).to_string();
    assert!(own == "3" || !lines[4..].contains(&own.as_str()), "{own} in {lines:?}");
}

#[tokio::test]
async fn the_limits_are_there_from_the_first_moment() {
    for _ in 0..20 {
        let output = run(&["/bin/cat", "/proc/self/limits"], Some(9_000), None).await.unwrap();
        let limits = |name: &str| {
            let values = output.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            values.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(limits("Max core file size"), ["0", "0"]);
        assert_eq!(limits("Max open files"), ["1024", "1024"]);
        assert_eq!(limits("Max address space"), ["8589934592", "8589934592"]);
        assert_eq!(limits("Max file size"), ["4294967296", "4294967296"]);
        let seconds: u64 = limits("Max cpu time")[1].parse().unwrap();
        assert!((9..=11).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn what_a_program_says_is_no_failed_start() {
    let script = "echo not-found; echo no such file >&2; exit 1";
    let output = run(&["/bin/sh", "-c", script], None, None).await.unwrap();
    assert_eq!(output.code, Some(1));
    let room = tempfile::tempdir().unwrap();
    let plain = room.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let failure = run(&[plain.to_str().unwrap()], None, None).await.unwrap_err();
    assert_eq!((failure.error.code.as_str(), failure.in_doubt), ("not-permitted", false));
    assert!(failure.error.message.contains("plain"), "{}", failure.error.message);
}

#[test]
fn a_start_that_nobody_answers_for_has_failed() {
    for (said, wanted) in [
        ("", Ok(())),
        ("not-found\ngone", Err(("not-found", "gone"))),
        ("strange\nx", Err(("io", "x"))),
        ("cut", Err(("io", "the helper that limits it failed"))),
        ("io\n", Err(("io", "the helper that limits it failed"))),
    ] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, said.as_bytes()).unwrap();
        drop(writer);
        let wanted = wanted.map_err(|(code, message)| NotStarted { code, message: message.to_owned() });
        assert_eq!(started(reader), wanted, "{said:?}");
    }
}

#[tokio::test]
async fn output_beyond_the_bound_is_cut_and_does_not_block() {
    let output = run(&["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"], None, None).await.unwrap();
    assert_eq!((output.code, output.stdout.len(), output.truncated), (Some(0), 64 << 10, true));
}

#[tokio::test]
async fn the_whole_group_dies_at_the_deadline() {
    let room = tempfile::tempdir().unwrap();
    let mark = room.path().join("mark");
    let script = format!("(sleep 1; touch {}) & sleep 30", mark.display());
    let began = Instant::now();
    let failure = run(&["/bin/sh", "-c", &script], Some(300), None).await.unwrap_err();
    assert_eq!((failure.error.code.as_str(), failure.in_doubt), ("timeout", false));
    assert!(began.elapsed() < Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!mark.exists());
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_outlive_it() {
    let began = Instant::now();
    let output = run(&["/bin/sh", "-c", "sleep 30 & echo started"], None, None).await.unwrap();
    assert_eq!(output.stdout, "started\n");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_pinned_program_is_the_one_that_was_hashed() {
    let program = std::fs::canonicalize("/bin/echo").unwrap();
    let pin = Digest::of(&std::fs::read(&program).unwrap());
    let output = run(&[program.to_str().unwrap(), "hello"], None, Some(pin)).await.unwrap();
    assert_eq!(output.stdout, "hello\n");
    let failure = run(&[program.to_str().unwrap()], None, Some(Digest::of(b"other"))).await.unwrap_err();
    assert!(failure.error.is_denial() && failure.error.message.contains(&pin.to_string()), "{failure:?}");
    let room = tempfile::tempdir().unwrap();
    let script = room.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let pin = Digest::of(b"#!/bin/sh\n");
    assert_eq!(
        run(&[script.to_str().unwrap()], None, Some(pin)).await.unwrap_err().error.code,
        "not-permitted"
    );
}

#[test]
fn refuses_what_no_program_is_called_with() {
    for program in ["sh", "/bin/../sh", "/bin//sh", "/bin/", ""] {
        assert!(Run::new(program.to_owned(), Vec::new(), None).is_err(), "{program}");
    }
    assert!(Run::new("/bin/sh".to_owned(), vec!["\0".to_owned()], None).is_err());
    assert!(Run::new("/bin/sh".to_owned(), vec![String::new(); 257], None).is_err());
}
