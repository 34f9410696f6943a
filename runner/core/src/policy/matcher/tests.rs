use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn check(text: &str, pairs: &[(&str, &str)], expected: bool) {
    let matchers = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let labels = labels(pairs);
    assert_eq!(matchers.iter().all(|matcher| matcher.matches(&labels)), expected, "{text}");
}

#[test]
fn operators_compare_as_in_alertmanager() {
    let alert = [("alertname", "Down"), ("severity", "error"), ("instance", "web-7:9100")];
    for (text, expected) in [
        (r#"alertname="Down""#, true),
        ("alertname=Down", true),
        (" alertname = Down ", true),
        (r#"alertname!="Down""#, false),
        (r#"severity=~"critical|error""#, true),
        (r#"severity=~"err""#, false),
        (r#"severity!~"crit.*""#, true),
        (r#"instance=~"web-\d+:9100""#, true),
        (r#"instance=~"web-\\d+:9100""#, true),
        ("instance=web-7:9100", true),
        (r#"missing="""#, true),
        (r#"missing!="""#, false),
        (r#"missing=~".*""#, true),
        (r#"missing!~".+""#, true),
        (r#"{alertname="Down",severity=error,}"#, true),
        (r#"alertname="Down", severity="info""#, false),
    ] {
        check(text, &alert, expected);
    }
}

#[test]
fn alternatives_are_anchored_as_a_whole() {
    check(r#"a=~"x|y""#, &[("a", "xz")], false);
    check(r#"a=~"x|y""#, &[("a", "zy")], false);
    check(r#"a=~"x|y""#, &[("a", "x\n")], false);
}

#[test]
fn names_beyond_ascii_stand_in_quotes_or_not() {
    check(r#""größe des hosts"="1 \"m\"""#, &[("größe des hosts", "1 \"m\"")], true);
    check("größe=1", &[("größe", "1")], true);
}

#[test]
fn errors_tell_the_place() {
    for (text, column, wanted) in [
        ("", 0, "label name"),
        ("a", 1, "operators"),
        ("a=", 2, "a value"),
        ("a==b", 2, "a value"),
        ("a=b c=d", 4, "comma"),
        ("a=\"b", 4, "closing quote"),
        ("{a=b", 4, "closing brace"),
        ("{a=b} x", 6, "nothing may follow"),
        ("a=~\"(\"", 3, "unclosed group"),
        ("a=~\")(\"", 3, "regular expression"),
        ("a>1", 3, "operators"),
        ("a=b,,", 4, "label name"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn oversized_expressions_are_refused() {
    assert!(parse(r#"a=~"(\\w{100}){100}""#).unwrap_err().message.contains("size limit"));
    assert!(parse(&format!("a={}", "b".repeat(9000))).is_err());
}

proptest! {
    #[test]
    fn prints_what_it_parses(label in "\\PC{1,12}", value in any::<String>(), negated in any::<bool>()) {
        let operator = if negated { Operator::NotEqual } else { Operator::Equal };
        let matcher = Matcher::new(&label, operator, &value).unwrap();
        let back = parse(&matcher.to_string()).unwrap();
        prop_assert_eq!(back.len(), 1);
        prop_assert_eq!((&back[0].label, back[0].operator, &back[0].value), (&label, operator, &value));
    }

    #[test]
    fn never_panics(text in any::<String>()) {
        drop(parse(&text));
    }

    #[test]
    fn matching_ignores_the_order_of_labels(pairs in prop::collection::btree_map("[a-c]", "[x-z]", 0..4)) {
        let matchers = parse(r#"a=~"x|y", b!="z""#).unwrap();
        let reversed: BTreeMap<_, _> = pairs.clone().into_iter().rev().collect();
        for matcher in matchers {
            prop_assert_eq!(matcher.matches(&pairs), matcher.matches(&reversed));
        }
    }
}
