use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;

use super::*;

/// A folder with a configuration and whatever else a test puts there.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self, text: &str) -> Result<Config, Vec<String>> {
        self.write("staunch.yaml", text, 0o644);
        let variables = [("SHOP".to_owned(), "from-the-environment".to_owned())];
        let environment = Environment::given(variables.into());
        Config::load_with(&self.0.path().join("staunch.yaml"), &environment)
            .map_err(|problems| problems.iter().map(|problem| self.shown(problem)).collect())
    }

    fn shown(&self, problem: &Problem) -> String {
        problem.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let folder = Folder::new();
    let config = folder.load("{}\n").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7878");
    assert_eq!(config.data, folder.0.path().join("data"));
    assert_eq!(config.trust, Trust { keys: Vec::new(), threshold: 1 });
    assert_eq!(config.initial_standing, Standing::Approve);
    assert_eq!((config.queue, config.workers), (10_000, 64));
    assert_eq!(config.public, Public::default());
}

#[test]
fn the_configuration_of_a_new_installation_loads_as_it_is() {
    let folder = Folder::new();
    folder.write(init::AUTHOR_PUBLIC_KEY, "key", 0o644);
    for token in init::SOURCE_TOKENS {
        folder.write(token, "0123456789abcdef\n", 0o600);
    }
    for (path, text) in init::POLICIES {
        folder.write(&format!("policies/{path}"), text, 0o644);
    }
    let config = folder.load(&init::configuration("127.0.0.1:0".parse().unwrap(), "web-7")).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.hosts.canonical("WEB-7:9100"), "web-7");
    assert_eq!(config.hosts.canonical("https://elsewhere"), "https://elsewhere");
    assert_eq!(config.log_origin.as_deref(), Some("web-7/staunch"));
    assert_eq!(config.sources["alertmanager"].value["bearer"], "0123456789abcdef");
    assert_eq!(config.grants["restart-service"].capabilities["service"]["restart"], ["web.service"]);

    assert_eq!(config.compile_sources().unwrap().len(), 2);
    let policies = config.load_policies().unwrap();
    assert_eq!(policies.warnings(), []);
    assert_eq!(policies.routing().runbooks().len(), 3);
    for result in policies.run_cases() {
        assert_eq!(result.problem, None, "{}", result.name);
    }
    let missing = policies.missing_plugins(&BTreeSet::new());
    assert_eq!(missing.len(), 3);
    assert!(missing.iter().all(|problem| !problem.is_error()), "{missing:?}");
}

#[test]
fn secrets_come_from_files_and_environment_and_do_not_print() {
    let folder = Folder::new();
    folder.write("secrets/api", "s3cret-value\r\n", 0o640);
    let config = folder
        .load(
            "secrets: { api: '${file:secrets/api}', shop: '${env:SHOP}' }\n\
             sources: { shop: { format: generic, hmac: { secret: '${env:SHOP}', header: X } } }\n\
             grants: { http-request: { http: { send: ['POST https://a/**'] }, \
             secrets: { api: ['header authorization @ https://a'] } } }\n",
        )
        .unwrap();
    assert_eq!(config.secrets["api"].expose_secret(), "s3cret-value");
    assert_eq!(config.secrets["shop"].expose_secret(), "from-the-environment");
    assert_eq!(config.sources["shop"].value["hmac"]["secret"], "from-the-environment");
    let grant = &config.grants["http-request"];
    assert_eq!(grant.secrets["api"], ["header authorization @ https://a"]);
    assert!(!grant.capabilities.contains_key("secrets"));
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cret") && !printed.contains("from-the-environment"), "{printed}");
}

#[test]
fn problems_come_all_at_once_with_their_places() {
    let folder = Folder::new();
    folder.write("open", "long-enough-secret", 0o644);
    let problems = folder
        .load(
            "listne: 127.0.0.1:1\nlisten: here\nstore: postgres://db\nbreaker: { failures: 3 }\n\
             trust: { keys: [./keys/no.pub], threshold: 2 }\nstanding: { initial: full }\n\
             hosts: { other: {} }\nsources: { a b: {}, c: x }\nqueue: 0\n\
             secrets: { short: abc, open: '${file:open}', none: '${env:NONE}', odd: '${vault:x}' }\n\
             grants: { p: { http: { send: POST }, secrets: { nosuch: ['x'] } } }\npublic: [all]\n",
        )
        .unwrap_err();
    for wanted in [
        "staunch.yaml:1:1: unknown key \"listne\" in the configuration (did you mean \"listen\"?); valid keys: listen, store",
        "staunch.yaml:2:9: listen must be an address and port",
        "staunch.yaml:3:8: a \"store\" in PostgreSQL is not available in this version",
        "staunch.yaml:4:1: \"breaker\" in the configuration is not available in this version",
        "staunch.yaml:5:17: the public key keys/no.pub is not there",
        "staunch.yaml:5:8: trust.threshold is 2, more than the keys there are: 1",
        "staunch.yaml:6:22: standing.initial cannot be \"full\"; valid are observe, approve, automatic",
        "staunch.yaml:7:10: host \"other\" is not available in this version",
        "staunch.yaml:8:12: a key of sources cannot be \"a b\"",
        "staunch.yaml:8:24: sources.c must be a mapping",
        "staunch.yaml:9:8: queue must be from 1 to 1000000, but is 0",
        "staunch.yaml:10:19: secrets.short is shorter than 8 bytes",
        "staunch.yaml:10:30: secrets.open: open holds a secret and is open to everyone (mode 0644): chmod 600 open",
        "staunch.yaml:10:52: secrets.none: the environment variable \"NONE\" is not set",
        "staunch.yaml:10:72: secrets.odd: ${vault:x} is unknown; valid are ${env:NAME} and ${file:PATH}",
        "staunch.yaml:11:30: grants.p.http.send must be a list",
        "staunch.yaml:11:11: grants.p.secrets names \"nosuch\", which is no secret; there are: short, open",
        "staunch.yaml:12:10: each of public cannot be \"all\"; valid are metrics, log",
    ] {
        let found = problems.iter().any(|problem| problem.replace("./", "").starts_with(wanted));
        assert!(found, "{wanted}: {problems:#?}");
    }
}

#[test]
fn a_key_may_be_a_persons_and_its_file_name_says_nothing() {
    let folder = Folder::new();
    folder.write("ada.pub", "key", 0o644).write("ben.pub", "key", 0o644);
    let config = folder.load("trust: { keys: [ada.pub, { file: ben.pub, person: Ben B. }] }\n").unwrap();
    let persons: Vec<_> = config.trust.keys.iter().map(|key| key.person.as_deref()).collect();
    assert_eq!(persons, [None, Some("Ben B.")]);
    for person in ["\"a\\tb\"", &"x".repeat(129)] {
        let text = format!("trust: {{ keys: [{{ file: ben.pub, person: {person} }}] }}\n");
        let problems = folder.load(&text).unwrap_err();
        assert!(problems[0].contains("person must be the name of a token"), "{problems:?}");
    }
}

#[test]
fn authorities_are_one_file_or_several() {
    let folder = Folder::new();
    folder.write("a.pem", "x", 0o644).write("b.pem", "x", 0o644);
    let files = |text: &str| folder.load(text).map(|config| config.tls_ca);
    let path = |name: &str| folder.0.path().join(name);
    assert_eq!(files("{}\n"), Ok(Vec::new()));
    assert_eq!(files("tls: { ca: a.pem }\n"), Ok(vec![path("a.pem")]));
    assert_eq!(files("tls: { ca: [a.pem, b.pem] }\n"), Ok(vec![path("a.pem"), path("b.pem")]));
    for (text, wanted) in [
        ("tls: { ca: c.pem }\n", "tls.ca: the file c.pem is not there"),
        ("tls: { ca: { file: a.pem } }\n", "tls.ca must be a list"),
        ("tls: { verify: false }\n", "unknown key \"verify\" in tls"),
    ] {
        let problems = files(text).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}: {problems:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new();
    let missing = Config::load(&folder.0.path().join("staunch.yaml")).unwrap_err();
    assert!(folder.shown(&missing[0]).starts_with("staunch.yaml:1:1: cannot be read: No such file"));
    let config = folder.load("policies: nowhere\n").unwrap();
    let problems = config.load_policies().unwrap_err();
    assert!(folder.shown(&problems[0]).starts_with("nowhere:1:1: cannot be read"));
    folder.write("p/runbooks/a.yaml", "runbook: 1\n", 0o644).write("p/.hidden", "", 0o644);
    let problems = folder.load("policies: p\n").unwrap().load_policies().unwrap_err();
    assert!(folder.shown(&problems[0]).starts_with("p/runbooks/a.yaml:1:"), "{problems:?}");
}

#[test]
fn wrong_sources_are_placed_and_never_show_their_secrets() {
    let folder = Folder::new();
    let config = folder
        .load(
            "sources:\n  a: { format: alertmanager, bear: x }\n  b: { format: alertmanager }\n\
             \x20 c: { format: nosuch, bearer: '${env:SHOP}' }\n  d: { format: generic, hmac: '${env:SHOP}' }\n",
        )
        .unwrap();
    let problems = config.compile_sources().unwrap_err();
    let problems: Vec<String> = problems.iter().map(|problem| folder.shown(problem)).collect();
    for (problem, (place, wanted)) in problems.iter().zip([
        ("staunch.yaml:2:3: ", "unknown field `bear`"),
        ("staunch.yaml:3:3: ", "no authentication"),
        ("staunch.yaml:4:3: ", "\"nosuch\" is no format"),
        ("staunch.yaml:5:3: ", "wrong type"),
    ]) {
        assert!(problem.starts_with(place) && problem.contains(wanted), "{problem}");
        assert!(!problem.contains("from-the-environment"), "{problem}");
    }
    assert_eq!(problems.len(), 4);
}
