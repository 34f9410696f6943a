use serde_json::json;

use super::*;
use crate::policy::runbook::{ReadyProbe, read};
use crate::policy::template::Values;

fn ready(sequence: &str) -> Result<Vec<ReadyRequest>, String> {
    let text = format!(
        "runbook: a\nmatch: ['x=\"y\"']\nsteps: [{{ plugin: p }}]\nverify:\n  probes:\n    - sequence:\n{sequence}\n"
    );
    let (runbook, _) = read("r.yaml", &text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let labels = BTreeMap::from([("instance".to_owned(), "${token}.example".to_owned())]);
    let probes =
        runbook.probes(&Values::new(&labels, None, None, None)).map_err(|error| error.to_string())?;
    let [ReadyProbe::Sequence { requests }] = &probes[..] else { panic!("{probes:?}") };
    let written = serde_json::to_string(&probes).unwrap();
    assert_eq!(serde_json::from_str::<Vec<ReadyProbe>>(&written).unwrap(), probes, "survives the journal");
    Ok(requests.clone())
}

const LOGIN: &str = "
        - url: http://h/login
          extract:
            token: { json: /data/token }
            page: { regex: 'page=(\\d+)' }
            trace: { header: X-Trace }
        - url: 'http://h/items/${token}?page=${page}'
          headers: { X-Trace: 'again ${trace}' }
          status: 404
          body_contains: 'no ${token}'
";

#[test]
fn values_go_from_one_answer_into_the_next_request() {
    let requests = ready(LOGIN).unwrap();
    let mut walk = Walk::new(&requests);
    let first = walk.request().unwrap();
    assert_eq!((first.method.as_str(), first.url.as_str()), ("GET", "http://h/login"));
    let body = json!({"data": {"token": "a/b?c"}, "next": "page=17"}).to_string();
    let headers = [("x-trace".to_owned(), "t1".to_owned())];
    walk.answered(200, &headers, body.as_bytes()).unwrap();
    let second = walk.request().unwrap();
    assert_eq!(second.url, "http://h/items/a%2fb%3fc?page=17", "a value cannot leave its place");
    assert_eq!(second.headers, [("x-trace".to_owned(), "again t1".to_owned())]);
    walk.answered(404, &[], b"there is no a/b?c here").unwrap();
    assert_eq!(walk.request(), None);
}

#[test]
fn a_sequence_fails_at_the_first_answer_that_is_not_right() {
    let requests = ready(LOGIN).unwrap();
    let good = json!({"data": {"token": "t"}, "next": "page=1"}).to_string();
    let trace = [("X-TRACE".to_owned(), "t1".to_owned())];
    for (status, headers, body, wanted) in [
        (500, &trace[..], good.as_str(), "answered 500"),
        (200, &[], good.as_str(), "gives no trace: it is not there"),
        (200, &trace, "no JSON", "gives no token: its body is no JSON"),
        (200, &trace, "{\"data\":{\"token\":[1]}}", "gives no token: it is not there"),
        (200, &trace, "{\"data\":{\"token\":7}}", "gives no page: it is not there"),
    ] {
        let mut walk = Walk::new(&requests);
        assert_eq!(walk.answered(status, headers, body.as_bytes()).unwrap_err(), wanted);
    }
    let mut walk = Walk::new(&requests);
    walk.answered(200, &trace, good.as_bytes()).unwrap();
    let error = walk.clone().answered(404, &[], b"nothing").unwrap_err();
    assert_eq!(error, "answered 404, and its body lacks what it must contain");
    let long = json!({"data": {"token": "x".repeat(VALUE_LIMIT + 1)}}).to_string();
    let error = Walk::new(&requests).answered(200, &trace, long.as_bytes()).unwrap_err();
    assert!(error.contains("longer than 4096 bytes"), "{error}");
}

#[test]
fn a_label_cannot_smuggle_in_a_value() {
    let requests = ready(
        "
        - { url: 'http://h/', extract: { token: { regex: '.+' } } }
        - { url: 'http://{{ labels.instance }}/x' }
",
    )
    .unwrap();
    let mut walk = Walk::new(&requests);
    walk.answered(200, &[], b"secret").unwrap();
    assert_eq!(walk.request().unwrap().url, "http://${token}.example/x");
}

#[test]
fn problems_are_told_with_their_places() {
    for (request, wanted) in [
        ("- { url: 'http://h/${id}' }", "no earlier request takes out \"id\"; known are: none yet"),
        ("- { url: 'http://h/${id' }", "the closing brace"),
        ("- { url: 'http://h/', method: POST }", "valid are GET, HEAD"),
        ("- { url: 'http://h/', extract: { a: { json: data } } }", "must be a JSON pointer"),
        ("- { url: 'http://h/', extract: { a: { regex: '(' } } }", "is not a regular expression"),
        ("- { url: 'http://h/', extract: { a: { jsn: /a } } }", "did you mean \"json\"?"),
        ("- { url: 'http://h/', extract: { a: {} } }", "exactly one key of json, header, regex"),
        ("- { url: 'http://h/', extract: { 'a b': { json: /a } } }", "a name below extract cannot be"),
        ("- { status: 200 }", "verify.probes[0].sequence[0] needs the key \"url\""),
        ("  []", "from 1 to 16 requests"),
    ] {
        let problems = ready(&format!("        {request}")).unwrap_err();
        assert!(problems.contains(wanted), "{request}: {problems}");
    }
}
