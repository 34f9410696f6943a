//! Groups whose members a Prometheus knows: who is not known for certain is not acted on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::outside::{free_port, program};
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::program::{Running, command};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// What a server answers, and what it was asked: the first line and the token of each request.
#[derive(Debug, Default)]
struct Said {
    status: u16,
    headers: String,
    body: String,
    asked: Vec<(String, Option<String>)>,
}

/// A server that answers every query in the same way.
#[derive(Debug)]
struct Fake {
    address: SocketAddr,
    said: Arc<Mutex<Said>>,
}

impl Fake {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, said) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Said::default())));
        let shared = Arc::clone(&said);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks shows as a look that failed.
                drop(serve(&stream, &shared));
            }
        });
        Self { address, said }
    }

    fn answer(&self, status: u16, body: &str) {
        let mut said = self.said.lock().unwrap();
        (said.status, said.body) = (status, body.to_owned());
    }

    fn names(&self, instances: &[&str]) {
        let series =
            instances.iter().map(|name| json!({ "metric": { "instance": name }, "value": [1, "1"] }));
        let data = json!({ "resultType": "vector", "result": series.collect::<Vec<_>>() });
        self.answer(200, &json!({ "status": "success", "data": data }).to_string());
    }
}

fn serve(mut stream: &TcpStream, said: &Mutex<Said>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut token = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("authorization: ") {
            token = Some(value.trim().to_owned());
        }
    }
    let mut said = said.lock().unwrap();
    said.asked.push((first.trim().to_owned(), token));
    let (status, headers, body) = (said.status, &said.headers, &said.body);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A stage whose runbook acts on half of a group at once; its members are asked for there.
fn stage(members: &str, fresh_for: &str) -> Option<Stage> {
    let mut stage = Stage::bare()?;
    let group = format!("{{ members: {members}, refresh: 1s, fresh_for: {fresh_for} }}");
    stage.home.more.push(format!("groups: {{ web: {group} }}\n"));
    stage.home.configure();
    let limits = "group: web\nlimits: { concurrent_targets: 50% }\n";
    stage.runbook("restart-shop", ALERT, "automatic", limits);
    Some(stage)
}

fn group(daemon: &Daemon) -> Value {
    daemon.get("/v1/limits").expect(200)["groups"][0].clone()
}

fn until_known(daemon: &Daemon) -> Value {
    until("the group is known", SOON, || Some(group(daemon)).filter(|group| group["at"].is_string()))
}

fn until_unknown(daemon: &Daemon, why: &str) {
    until(why, SOON, || {
        group(daemon)["problem"].as_str().is_some_and(|problem| problem.contains(why)).then_some(())
    });
}

#[test]
fn members_by_a_query_are_refreshed_and_count() {
    let fake = Fake::start();
    fake.names(&["shop-1", "shop-2", "shop-2"]);
    let members = format!(
        "{{ prometheus: {{ url: 'http://{}/prom/', query: 'up{{job=\"shop\"}}', bearer: '${{file:keys/prom.token}}' }} }}",
        fake.address
    );
    let Some(stage) = stage(&members, "1m") else { return };
    std::fs::write(stage.home.path("keys/prom.token"), "a-token-of-the-server\n").unwrap();
    stage.home.chmod("keys/prom.token", 0o600);
    let daemon = stage.home.serve();
    assert_eq!(until_known(&daemon)["members"], json!(["shop-1", "shop-2"]));
    let (asked, token) = fake.said.lock().unwrap().asked[0].clone();
    assert!(asked.starts_with("GET /prom/api/v1/query?query=up%7Bjob%3D%22shop%22%7D "), "{asked}");
    assert_eq!(token.as_deref(), Some("Bearer a-token-of-the-server"));
    assert!(!daemon.said().contains("a-token-of-the-server"), "no token in the log");
    let run = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&run, "unknown");
    let stranger = daemon.alerts(&[Firing::new(ALERT, "shop-3")]).remove(0);
    let decision = daemon.decision(&stranger, "population-unknown");
    assert!(decision["message"].as_str().unwrap().contains("shop-3 is not one of"), "{decision}");

    // The next look sees another fleet; one that fails takes nothing back that is good still.
    fake.names(&["shop-3", "shop-4"]);
    until("the new member is seen", SOON, || {
        (group(&daemon)["members"] == json!(["shop-3", "shop-4"])).then_some(())
    });
    let before = fake.said.lock().unwrap().asked.len();
    fake.answer(500, "");
    until("it was asked twice more", SOON, || {
        (fake.said.lock().unwrap().asked.len() >= before + 3).then_some(())
    });
    assert_eq!(group(&daemon)["members"], json!(["shop-3", "shop-4"]), "{:#}", group(&daemon));
    let run = daemon.alerts(&[Firing::new(ALERT, "shop-3")]).remove(0)["runs"][0].clone();
    let _run = daemon.outcome(run.as_str().unwrap(), "unknown");
}

#[test]
fn a_fleet_that_nobody_can_tell_is_not_acted_on() {
    let fake = Fake::start();
    fake.names(&["shop-1", "shop-2"]);
    let members = format!("{{ prometheus: {{ url: 'http://{}', query: up }} }}", fake.address);
    let Some(stage) = stage(&members, "1s") else { return };
    let daemon = stage.home.serve();
    let _known = until_known(&daemon);
    fake.answer(400, r#"{"status":"error","error":"parse error at char 3"}"#);
    until_unknown(&daemon, "400: parse error at char 3");
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    let decision = daemon.decision(&entry, "population-unknown");
    assert!(decision["message"].as_str().unwrap().contains("parse error at char 3"), "{decision}");

    fake.names(&[]);
    until_unknown(&daemon, "names no member");
    fake.answer(200, &"x".repeat(2 << 20));
    until_unknown(&daemon, "more than 1048576 bytes");
    // A redirect is an answer, and is not followed.
    fake.said.lock().unwrap().headers = format!("location: http://{}/elsewhere\r\n", fake.address);
    fake.answer(302, "");
    until_unknown(&daemon, "answers 302");
    assert!(!fake.said.lock().unwrap().asked.iter().any(|(line, _)| line.contains("elsewhere")));
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_wrong_server_is_a_problem_of_the_file() {
    for (members, wanted) in [
        ("url: 'http://me:secret@127.0.0.1:9', query: up", "url must hold no credentials"),
        ("url: 'http://prom.internal', query: up, bearer: abc", "must be https where a token is shown"),
        ("url: 'http://127.0.0.1:9', query: up, bearer: '${file:keys/none}'", "bearer: "),
        ("url: 'http://127.0.0.1:9', query: up, label: 'in stance'", "label must be the name of a label"),
        ("url: 'http://127.0.0.1:9'", "needs the key \"query\""),
    ] {
        let Some(stage) = stage(&format!("{{ prometheus: {{ {members} }} }}"), "1m") else { return };
        let said = stage.home.staunch(&["check"]);
        assert!(said.code == Some(1) && said.stdout.contains(wanted), "{members}: {}", said.stdout);
    }
}

#[test]
fn the_real_prometheus_names_its_targets() {
    let Some(prometheus) = program("prometheus", "prometheus") else { return };
    let address = format!("127.0.0.1:{}", free_port());
    let members =
        format!("{{ prometheus: {{ url: 'http://{address}', query: 'shop_up', label: instance }} }}");
    let Some(stage) = stage(&members, "1m") else { return };
    let folder = stage.home.aside();
    let config = folder.join("prometheus.yml");
    let scrape = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n- job_name: shop\n  static_configs: [{{ targets: ['{}'] }}]\n",
        stage.target.address()
    );
    std::fs::write(&config, scrape).unwrap();
    let mut started = command(&prometheus);
    started.arg(format!("--config.file={}", config.display()));
    started.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    started.arg(format!("--web.listen-address={address}"));
    let _running = Running::start(started, &folder.join("prometheus.log"));
    let daemon = stage.home.serve();
    let known = until("Prometheus names the shop", SOON * 3, || {
        Some(group(&daemon)).filter(|group| group["at"].is_string())
    });
    assert_eq!(known["members"], json!([stage.target.address().to_string()]));
}
