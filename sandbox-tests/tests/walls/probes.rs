//! Probes read under grants of their own, however many requests they are made of.

use std::time::Duration;

use staunch::sandbox::ProbeGrants;
use staunch_core::policy::ReadyProbe;
use staunch_core::policy::runbook::sequence::{Extract, Piece, ReadyRequest};
use staunch_core::run::ProbeAnswer;

use super::harness::*;

fn request(url: Vec<Piece<String>>, extract: Vec<(String, Extract)>) -> ReadyRequest {
    ReadyRequest {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        status: None,
        body_contains: None,
        extract,
    }
}

/// Takes `/token` out of the first answer and asks for the item of that name.
async fn walk(target: &Target, granted: &str) -> (ProbeAnswer, String) {
    let token = ("token".to_owned(), Extract::Json("/token".to_owned()));
    let item = vec![Piece::Text(format!("{}items/", target.address)), Piece::Extracted("token".to_owned())];
    let login = vec![Piece::Text(format!("{}login", target.address))];
    let probe =
        ReadyProbe::Sequence { requests: vec![request(login, vec![token]), request(item, Vec::new())] };
    let pattern = format!("GET {}{granted}", target.address);
    let grants = ProbeGrants::compile(&patterns(&[("http", "read", pattern.as_str())])).unwrap();
    sandbox().probe(&probe, &grants, None, Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_sequence_carries_a_value_from_one_answer_into_the_next_address() {
    let target = Target::start(Manner::ok("{\"token\":\"t/1\"}")).await;
    let (answer, detail) = walk(&target, "**").await;
    assert_eq!((answer, detail.as_str()), (ProbeAnswer::Passed, "all 2 requests of the sequence passed"));
    let requests = target.requests();
    assert!(requests[1].starts_with("GET /items/t%2f1 "), "{requests:?}");
}

#[tokio::test]
async fn a_value_from_an_answer_leads_nowhere_that_is_not_granted() {
    let target = Target::start(Manner::ok("{\"token\":\"t\"}")).await;
    let (answer, detail) = walk(&target, "login").await;
    assert_eq!(answer, ProbeAnswer::NoAnswer, "{detail}");
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test]
async fn a_sequence_whose_answer_lacks_the_value_fails_there() {
    let target = Target::start(Manner::ok("{}")).await;
    let (answer, detail) = walk(&target, "**").await;
    assert_eq!(
        (answer, detail.as_str()),
        (ProbeAnswer::Failed, "request 1 of 2 gives no token: it is not there")
    );
    assert_eq!(target.requests().len(), 1);
}
