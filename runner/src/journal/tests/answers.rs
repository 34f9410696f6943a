//! Requests that may come twice: their answers outlive the process, and not the day.

use chrono::{DateTime, TimeDelta, Utc};
use staunch_core::id::Digest;

use super::super::{MAX_ANSWER_BYTES, REQUESTS_KEPT_FOR, TakenAnswer, TakenRequest};
use super::*;

fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::microseconds(micros)
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn answer(body: Option<&[u8]>) -> TakenAnswer {
    TakenAnswer {
        status: 202,
        media_type: Some("application/json".to_owned()),
        body: body.map(<[u8]>::to_vec),
    }
}

#[tokio::test]
async fn an_answer_outlives_the_process_and_a_request_without_one_stays_taken() {
    let place = Place::new();
    let journal = place.open().await;
    let (key, cut, body) = (digest("key"), digest("cut"), digest("body"));
    assert_eq!(journal.take_request(key, body, at(0)).await.unwrap(), None);
    journal.keep_answer(key, answer(Some(b"{}"))).await.unwrap();
    assert_eq!(journal.take_request(cut, body, at(1)).await.unwrap(), None);
    journal.shutdown().await;

    let journal = place.open().await;
    let expected = TakenRequest { body, answer: Some(answer(Some(b"{}"))) };
    assert_eq!(journal.take_request(key, digest("other"), at(2)).await.unwrap(), Some(expected));
    let expected = TakenRequest { body, answer: None };
    assert_eq!(journal.take_request(cut, body, at(2)).await.unwrap(), Some(expected));
    journal.forget_request(cut).await.unwrap();
    assert_eq!(journal.take_request(cut, digest("other"), at(3)).await.unwrap(), None);
    assert_eq!(journal.size(), 0, "no part of the journal");
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_a_long_one_without_its_body() {
    let place = Place::new();
    let journal = place.open().await;
    let (key, body) = (digest("key"), digest("body"));
    assert_eq!(journal.take_request(key, body, at(0)).await.unwrap(), None);
    journal.keep_answer(key, answer(Some(&vec![b'x'; MAX_ANSWER_BYTES + 1]))).await.unwrap();
    let day = REQUESTS_KEPT_FOR.num_microseconds().unwrap();
    let kept = TakenRequest { body, answer: Some(answer(None)) };
    assert_eq!(journal.take_request(key, body, at(day - 1)).await.unwrap(), Some(kept));
    assert_eq!(journal.take_request(key, digest("next"), at(day)).await.unwrap(), None);
    let again = TakenRequest { body: digest("next"), answer: None };
    assert_eq!(journal.take_request(key, body, at(day)).await.unwrap(), Some(again));
}

#[tokio::test]
async fn a_journal_of_an_older_program_gets_the_table() {
    let place = Place::new();
    place.open().await.shutdown().await;
    let database = place.data().join("journal.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("DROP TABLE requests").execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let journal = place.open().await;
    assert_eq!(journal.take_request(digest("k"), digest("b"), at(0)).await.unwrap(), None);
}
