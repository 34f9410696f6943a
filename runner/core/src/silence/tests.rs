use proptest::prelude::*;

use super::*;
use crate::event::SilenceExpired;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn silence(number: u128, matcher: &str, from: i64, until: i64) -> Silence {
    Silence {
        id: SilenceId::from_bits(number),
        matchers: Matchers::parse(&[matcher]).unwrap(),
        starts_at: at(from),
        ends_at: at(until),
        created_by: "ada".to_owned(),
        comment: "moving house".to_owned(),
    }
}

fn event(second: i64, fact: Fact) -> Event {
    Event { at: at(second), run: None, alert: None, fact }
}

fn made(silences: &[Silence]) -> Silences {
    let mut all = Silences::default();
    for silence in silences {
        let fact = all.create(at(0), silence).unwrap();
        all.apply(&event(0, fact));
    }
    all
}

fn expire(silences: &mut Silences, second: i64, number: u128) {
    let leaf = SilenceExpired { id: SilenceId::from_bits(number) };
    let outside = payload::SilenceExpired { by: "bob".to_owned() };
    silences.apply(&event(second, Fact::SilenceExpired(leaf, Outside::Kept(outside))));
}

fn web() -> BTreeMap<String, String> {
    BTreeMap::from([("job".to_owned(), "web".to_owned())])
}

#[test]
fn silences_from_its_start_until_its_end_what_fits() {
    let mut all = made(&[silence(1, "job=\"web\"", 10, 20), silence(2, "job=~\"w.*\"", 15, 30)]);
    let by = |all: &Silences, second, labels: &BTreeMap<_, _>| {
        all.silenced(at(second), labels).map(|silence| silence.id.clone())
    };
    let (one, two) = (Some(SilenceId::from_bits(1)), Some(SilenceId::from_bits(2)));
    for (second, wanted) in [(9, None), (10, one.clone()), (15, two.clone()), (29, two), (30, None)] {
        assert_eq!(by(&all, second, &web()), wanted, "{second}");
    }
    assert_eq!(by(&all, 12, &BTreeMap::new()), None);
    let changes: Vec<_> = [0, 10, 15, 20, 30].map(|s| all.next_change(at(s)).map(|at| at.timestamp())).into();
    assert_eq!(changes, [Some(10), Some(15), Some(20), Some(30), None]);
    expire(&mut all, 16, 2);
    assert_eq!(by(&all, 16, &web()), one);
    let message = all.silenced(at(16), &web()).unwrap().refuse(at(16), "r").message;
    assert!(message.ends_with("by ada covers it until 1970-01-01T00:00:20Z"), "{message}");
}

#[test]
fn expiring_is_explicit_and_happens_once() {
    let mut all = made(&[silence(1, "job=\"web\"", 10, 20)]);
    let id = SilenceId::from_bits(1);
    assert_eq!(all.may_expire(at(5), &id).unwrap().state(at(5)), SilenceState::Pending);
    expire(&mut all, 5, 1);
    assert_eq!(all.may_expire(at(5), &id), Err(SilenceError::Expired(id.clone())));
    assert!(all.silenced(at(12), &web()).is_none(), "one that was ended before it began never begins");
    expire(&mut all, 50, 1);
    assert_eq!(all.all()[0].ends_at, at(5), "an end is not moved to later");
    let other = SilenceId::from_bits(2);
    assert_eq!(all.may_expire(at(5), &other), Err(SilenceError::Unknown(other)));
}

#[test]
fn refuses_what_silences_everything_or_nothing_and_what_nobody_explains() {
    let all = made(&[]);
    let error = |silence: &Silence| all.create(at(100), silence).unwrap_err();
    assert_eq!(error(&silence(1, "a=\"b\"", 10, 100)), SilenceError::Over);
    assert_eq!(error(&silence(1, "a=\"b\"", 300, 200)), SilenceError::Over);
    assert_eq!(error(&silence(1, "a=\"b\"", 0, 100 + 367 * 86_400)), SilenceError::TooLong);
    let silent = Silence { comment: " ".to_owned(), ..silence(1, "a=\"b\"", 0, 200) };
    assert_eq!(error(&silent), SilenceError::NoComment);
    for texts in [&[][..], &["a=~\".*\""], &["a=\"\""]] {
        assert_eq!(Matchers::parse(texts), Err(SilenceError::MatchesEverything), "{texts:?}");
    }
    assert!(Matchers::parse(&["a"]).unwrap_err().to_string().starts_with("matcher \"a\": at character"));
    let many = vec!["a=\"b\""; MOST_MATCHERS + 1];
    assert_eq!(Matchers::parse(&many), Err(SilenceError::TooManyMatchers));
}

#[test]
fn their_number_is_bounded_and_old_ones_are_forgotten() {
    let full: Vec<Silence> =
        (0..MOST_SILENCES as u128).map(|number| silence(number, "a=\"b\"", 0, 100)).collect();
    let mut all = made(&full);
    let more = silence(9_999, "a=\"b\"", 0, 900_000);
    assert_eq!(all.create(at(50), &more).unwrap_err(), SilenceError::TooMany);
    let later = 100 + LISTED_FOR.num_seconds();
    let fact = all.create(at(later), &more).unwrap();
    all.apply(&event(later, fact));
    assert_eq!(all.all().len(), 1);
}

proptest! {
    #[test]
    fn the_state_survives_being_written_and_read(
        spans in prop::collection::vec((0i64..50, 1i64..50), 0..10),
        expired in prop::collection::vec(0u128..10, 0..5),
    ) {
        let silences: Vec<Silence> = (0u128..)
            .zip(&spans)
            .map(|(number, (from, length))| silence(number, "job=~\"w.b\",x!=\"y\"", *from, from + length))
            .collect();
        let mut all = made(&silences);
        for number in expired {
            expire(&mut all, 20, number);
        }
        let read: Silences = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        prop_assert_eq!(read, all);
    }
}
