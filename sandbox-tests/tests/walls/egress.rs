//! Hostile targets and hostile name servers.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use staunch::sandbox::{Ending, Job, Report, Sandbox};
use staunch_core::effect::EffectStatus;

use super::harness::*;

/// Plans and acts one POST, under a grant of one pattern.
async fn send(sandbox: &Sandbox, address: &str, pattern: &str, deadline: Duration) -> Report {
    let prepared = prepare(sandbox, "send");
    let allowed = grants(&[("http", "send", pattern)]);
    let make = || {
        let mut job = job(&prepared, address, &allowed, &Arc::new(Book::default()));
        job.limits.deadline = deadline;
        job
    };
    plan_and_act(sandbox, make).await.1
}

async fn send_to(manner: Manner) -> Report {
    let target = Target::start(manner).await;
    send(&sandbox(), &target.address, &format!("POST {}**", target.address), Duration::from_secs(2)).await
}

fn code(report: &Report) -> &str {
    match &report.ending {
        Ending::Failed(error) => &error.code,
        other => panic!("no error of the call: {other:?}"),
    }
}

#[tokio::test]
async fn no_spelling_of_a_hidden_address_is_reached_without_its_name() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("inside")).await;
    let port = target.port;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.000.000.001",
        "017700000001",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "0",
        "[::]",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "%31%32%37.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "100.100.100.200",
        "192.168.0.1",
        "172.16.0.1",
        "[fe80::1]",
    ] {
        let report = send(&sandbox, &format!("http://{host}:{port}/"), "* **", Duration::from_secs(2)).await;
        assert_eq!(code(&report), "access-denied", "{host}: {report:?}");
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn user_names_and_odd_characters_do_not_move_the_host() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("inside")).await;
    let port = target.port;
    let pattern = "POST http://good.example:*/**";
    for address in [
        format!("http://good.example@127.0.0.1:{port}/"),
        format!("http://good.example:80@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}#@good.example/"),
        format!("http://127.0.0.1:{port}\\@good.example/"),
        format!("http://127.0.0.1:{port}/?@good.example"),
        format!("http:127.0.0.1:{port}/good.example"),
        format!("http:\\\\127.0.0.1:{port}\\good.example"),
        format!("http://127.0.0.1%2f@good.example:{port}/"),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:70/".to_owned(),
        "http://".to_owned(),
        "http://good.example:99999/".to_owned(),
        String::new(),
    ] {
        let report = send(&sandbox, &address, pattern, Duration::from_secs(2)).await;
        assert!(matches!(code(&report), "access-denied" | "invalid-argument"), "{address}: {report:?}");
    }
    assert!(target.requests().is_empty());
}

fn names(host: &str, addresses: &[&str]) -> Names {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Names([(host.to_owned(), addresses)].into())
}

#[tokio::test]
async fn all_addresses_of_a_name_must_pass() {
    let target = Target::start(Manner::ok("inside")).await;
    let address = format!("http://rebind.example:{}/", target.port);
    let pattern = format!("POST {address}**");
    for hidden in [
        vec!["127.0.0.1"],
        vec!["1.1.1.1", "127.0.0.1"],
        vec!["::ffff:127.0.0.1"],
        vec!["::1"],
        vec!["1.1.1.1", "169.254.169.254"],
        vec!["fd00::1"],
    ] {
        let sandbox = sandbox_with(names("rebind.example", &hidden), &[]);
        let report = send(&sandbox, &address, &pattern, Duration::from_secs(2)).await;
        assert_eq!(code(&report), "access-denied", "{hidden:?}: {report:?}");
        let Ending::Failed(error) = &report.ending else { unreachable!() };
        assert!(error.message.contains("add ` @"), "{}", error.message);
    }
    assert!(target.requests().is_empty());
    // The same name, with the network that the operator meant.
    let sandbox = sandbox_with(names("rebind.example", &["127.0.0.1"]), &[]);
    let report = send(&sandbox, &address, &format!("{pattern} @127.0.0.0/8"), Duration::from_secs(2)).await;
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    assert!(target.requests()[0].contains(&format!("host: rebind.example:{}\r\n", target.port)));
}

#[tokio::test]
async fn an_open_connection_is_no_way_around_a_grant() {
    let target = Target::start(Manner::ok("inside")).await;
    let address = format!("http://rebind.example:{}/", target.port);
    let sandbox = sandbox_with(names("rebind.example", &["127.0.0.1"]), &[]);
    let granted = format!("POST {address}** @127.0.0.0/8");
    assert!(matches!(
        send(&sandbox, &address, &granted, Duration::from_secs(2)).await.ending,
        Ending::Returned(_)
    ));
    let report = send(&sandbox, &address, &format!("POST {address}**"), Duration::from_secs(2)).await;
    assert_eq!(code(&report), "access-denied", "{report:?}");
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again() {
    let target = Target::start(Manner::ok("inside")).await;
    let sandbox = sandbox();
    let pattern = format!("POST {}**", target.address);
    for _ in 0..20 {
        let report = send(&sandbox, &target.address, &pattern, Duration::from_secs(2)).await;
        assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    }
    assert_eq!(target.requests().len(), 20);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let secret = Target::start(Manner::ok("secret")).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 2\r\n\r\nno", secret.address);
    let report = send_to(Manner::Answer(redirect.into_bytes())).await;
    let Ending::Returned(result) = &report.ending else { panic!("{report:?}") };
    assert_eq!(result["summary"], "no");
    assert!(secret.requests().is_empty());
}

#[tokio::test]
async fn errors_of_the_target_are_answers() {
    let report =
        send_to(Manner::Answer(b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops".to_vec())).await;
    let Ending::Returned(result) = &report.ending else { panic!("{report:?}") };
    assert_eq!((result["summary"].as_str(), report.effects[0].status), (Some("oops"), EffectStatus::Done));
}

#[tokio::test]
async fn an_effect_without_an_answer_is_in_doubt() {
    for manner in [
        Manner::Hang,
        Manner::Reset,
        Manner::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec()),
        Manner::Drip(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec(), vec![b'x'; 1000]].concat(),
        ),
        Manner::Answer(b"not http at all\r\n\r\n".to_vec()),
    ] {
        let began = Instant::now();
        let report = send_to(manner).await;
        assert!(matches!(report.ending, Ending::InDoubt { index: 0, .. }), "{report:?}");
        assert_eq!(report.effects[0].status, EffectStatus::Unknown);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_idempotent_effect_in_doubt_is_sent_three_times_with_one_key() {
    let target = Target::start(Manner::Reset).await;
    let pattern = format!("POST {}** idempotent", target.address);
    let report = send(&sandbox(), &target.address, &pattern, Duration::from_secs(2)).await;
    assert!(matches!(report.ending, Ending::InDoubt { .. }), "{report:?}");
    let requests = target.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request == &requests[0]));
}

#[tokio::test]
async fn what_was_never_sent_has_failed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let report = send(&sandbox(), &address, &format!("POST {address}**"), Duration::from_secs(2)).await;
    assert_eq!((code(&report), report.effects[0].status), ("unreachable", EffectStatus::Failed));
    let report =
        send(&sandbox(), "http://nowhere.example/", "POST http://nowhere.example/**", Duration::from_secs(2))
            .await;
    assert_eq!((code(&report), report.effects[0].status), ("unreachable", EffectStatus::Failed));
}

fn gzip(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'0'; bytes]).unwrap();
    encoder.finish().unwrap()
}

fn encoded(body: &[u8]) -> Manner {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    Manner::Answer([head.as_bytes(), body].concat())
}

#[tokio::test]
async fn an_answer_is_bounded_however_it_is_packed() {
    let megabytes = 3 << 20;
    let stated = format!("HTTP/1.1 200 OK\r\ncontent-length: {megabytes}\r\n\r\n").into_bytes();
    let unstated = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(5_000)).into_bytes();
    let huge_header = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(1 << 20)).into_bytes();
    for (manner, expected) in [
        (Manner::Answer([stated, vec![b'x'; megabytes]].concat()), Some("response-too-large")),
        (Manner::Answer([unstated, vec![b'x'; megabytes]].concat()), Some("response-too-large")),
        (encoded(&gzip(100 << 20)), Some("response-too-large")),
        (encoded(b"this is not gzip"), Some("bad-response")),
        (Manner::Answer(many_headers), None),
        (Manner::Answer(huge_header), None),
    ] {
        let report = send_to(manner).await;
        match expected {
            Some(expected) => assert_eq!(code(&report), expected),
            None => assert!(matches!(report.ending, Ending::InDoubt { .. }), "{report:?}"),
        }
    }
    let report = send_to(encoded(&gzip(10_000))).await;
    let Ending::Returned(result) = &report.ending else { panic!("{report:?}") };
    assert_eq!(result["summary"].as_str().map(str::len), Some(10_000));
}

#[tokio::test]
async fn a_secret_reaches_its_slot_and_nothing_else() {
    let value = "s3cret-token-value";
    let base64 = "czNjcmV0LXRva2VuLXZhbHVl";
    let echo = format!("got Bearer {value} and {base64}");
    let head = format!(
        "HTTP/1.1 200 OK\r\nset-cookie: a={value}\r\nx-echo: {value}\r\ncontent-length: {}\r\n\r\n",
        echo.len()
    );
    let target = Target::start(Manner::Answer(format!("{head}{echo}").into_bytes())).await;
    let sandbox = sandbox_with(Names::default(), &[("token", value)]);
    let prepared = prepare(&sandbox, "send-secret");
    let origin = target.address.trim_end_matches('/');
    let pattern = format!("POST {}**", target.address);
    let bound = format!("header authorization @ {origin}");
    let book = Arc::new(Book::default());
    let allowed = grants(&[("http", "send", &pattern), ("secrets", "token", &bound)]);
    let (plan, act) = plan_and_act(&sandbox, || job(&prepared, &target.address, &allowed, &book)).await;
    let Ending::Returned(result) = &act.ending else { panic!("{act:?}") };
    assert_eq!(result["summary"], "got Bearer [secret] and [secret]");
    assert!(target.requests()[0].contains(&format!("authorization: Bearer {value}\r\n")));
    let written = format!("{plan:?}{act:?}{:?}", book.recorded.lock().unwrap());
    assert!(!written.contains(value) && !written.contains(base64) && written.contains("secret://token"));
    assert!(!written.contains("set-cookie"));
    for wrong in [
        "header x-other @ http://127.0.0.1:1",
        "body @ http://127.0.0.1:1",
        "header authorization @ https://other.example",
    ] {
        let refused = grants(&[("http", "send", &pattern), ("secrets", "token", wrong)]);
        let report = sandbox.execute(plan_permit(), job(&prepared, &target.address, &refused, &book)).await;
        assert_eq!(code(&report), "access-denied", "{wrong}");
    }
    let missing = sandbox_with(Names::default(), &[]);
    let prepared = prepare(&missing, "send-secret");
    let (_, act) = plan_and_act(&missing, || job(&prepared, &target.address, &allowed, &book)).await;
    assert_eq!(code(&act), "secret-missing");
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test]
async fn the_grant_decides_again_when_acting() {
    let target = Target::start(Manner::ok("done")).await;
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "send");
    let book = Arc::new(Book::default());
    let allowed = grants(&[("http", "send", &format!("POST {}**", target.address))]);
    let plan = sandbox.execute(plan_permit(), job(&prepared, &target.address, &allowed, &book)).await;
    let (effects, _) = plan.into_plan();
    let revoked = grants(&[]);
    let act = Job { mode: acting(effects), ..job(&prepared, &target.address, &revoked, &book) };
    assert_eq!(code(&sandbox.execute(act_permit(true), act).await), "access-denied");
    assert!(target.requests().is_empty());
}
