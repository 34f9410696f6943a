//! Whatever comes, reading it ends with alerts or an error.

use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{NOW, at, payloads, source};
use crate::intake::{Source, parse};

const BUILT_IN: [&str; 3] = [
    r#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A","n":"\u00e4\n"},
        "annotations":{"summary":"s"},"startsAt":"2026-11-21T02:06:31.053Z","endsAt":"0001-01-01T00:00:00Z",
        "generatorURL":"http://vm:19090/graph","fingerprint":"550363396b5ffeb7"}],"truncatedAlerts":0}"#,
    r#"[{"labels":{"alertname":"A"},"startsAt":"2026-11-21T02:06:31Z","endsAt":"2026-11-21T02:07:31Z"}]"#,
    r#"{"items":[{"id":7,"state":"open","host":"h","at":1614265330.25,"tags":{"a":1}}],"title":"t"}"#,
];

fn sources() -> Vec<Source> {
    [
        "{ format: alertmanager, authenticate: none }",
        "{ format: prometheus, authenticate: none }",
        "{ format: generic, authenticate: none }",
        "{ format: generic, authenticate: none, mapping: { alerts: /items, fingerprint: /id, labels: /tags, \
           status: { from: /state, resolved: [closed] }, starts_at: /at, title: '{{ host }} {{ root.title }}' } }",
        "{ format: generic, authenticate: none, mapping: { title: '{{ item }}', labels: { a: '{{ root }}' } } }",
    ]
    .map(source)
    .into()
}

fn bodies() -> Vec<Vec<u8>> {
    let captured = payloads("alertmanager-captured").into_iter().chain(payloads("alertmanager"));
    BUILT_IN.map(|body| body.as_bytes().to_vec()).into_iter().chain(captured.map(|(_, body)| body)).collect()
}

/// Pieces that turn one JSON text into another, valid or not.
const PIECES: [&str; 14] = [
    "null",
    "-1",
    "1e308",
    "18446744073709551616",
    "\"\"",
    "\"\\u0000\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\\ud800",
    "0001-01-01T00:00:00Z",
];

fn mutate(body: &mut Vec<u8>, (place, kind, byte): (prop::sample::Index, u8, u8)) {
    if body.is_empty() {
        return;
    }
    let at = place.index(body.len());
    match kind % 4 {
        0 => body[at] = byte,
        1 => drop(body.remove(at)),
        2 => body.truncate(at),
        _ => {
            let piece = PIECES[usize::from(byte) % PIECES.len()];
            drop(body.splice(at..at, piece.bytes()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn mutated_bodies_never_panic(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 0..6),
    ) {
        let bodies = bodies();
        let mut body = bodies[which.index(bodies.len())].clone();
        for change in changes {
            mutate(&mut body, change);
        }
        for source in sources() {
            if let Err(error) = parse(&source, &HeaderMap::new(), &body, at(NOW)) {
                prop_assert!(error.status().is_client_error());
                prop_assert!(error.to_string().len() < 1_000);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..256)) {
        for source in sources() {
            drop(parse(&source, &HeaderMap::new(), &body, at(NOW)));
        }
    }

    #[test]
    fn every_label_comes_through_as_it_was(
        labels in prop::collection::btree_map("[^\u{0}]{1,20}", "[^\u{0}]{1,40}", 1..10),
    ) {
        let body = serde_json::to_vec(&serde_json::json!({ "alerts": [{ "labels": labels }] })).unwrap();
        let alerts = parse(&sources()[0], &HeaderMap::new(), &body, at(NOW)).unwrap();
        prop_assert_eq!(&alerts[0].labels, &labels);
    }
}
