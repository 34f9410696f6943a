//! Reading an answer within its bounds.

use std::io::Read as _;

use bytes::Buf as _;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::request::{MAX_BODY, Response};
use crate::sandbox::broker::Failure;

/// How many times bigger a body may be than what was sent of it.
const MAX_RATIO: usize = 100;
/// Small answers may be compressed better than that.
const RATIO_FROM: usize = 16 << 10;

/// What belongs to the connection, or would hand out credentials.
const DROPPED: [&str; 12] = [
    "connection",
    "keep-alive",
    "transfer-encoding",
    "trailer",
    "upgrade",
    "set-cookie",
    "set-cookie2",
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "x-amz-security-token",
];

/// The whole answer. The target has answered already: a failure is a known result, but for a broken body.
pub(super) async fn read(answer: http::Response<Incoming>) -> Result<Response, Failure> {
    let (head, body) = answer.into_parts();
    let body = read_body(body, &head.headers).await?;
    let (body, decoded) = decode(body, &head.headers)?;
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| !DROPPED.contains(&name.as_str()))
        .filter(|(name, _)| !(decoded && matches!(**name, header::CONTENT_ENCODING | header::CONTENT_LENGTH)))
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    Ok(Response { status: head.status.as_u16(), headers, body })
}

async fn read_body(mut body: Incoming, headers: &HeaderMap) -> Result<Vec<u8>, Failure> {
    let stated =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(stated.unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::in_doubt("connection-lost", format!("the answer broke off in its body: {error}"))
        })?;
        if let Ok(mut data) = frame.into_data() {
            if bytes.len() + data.remaining() > MAX_BODY {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
    }
    Ok(bytes)
}

fn too_large() -> Failure {
    Failure::known("response-too-large", format!("the answer has more than {MAX_BODY} bytes"), false)
}

/// The body as it was meant, and whether it had been compressed. Nothing asks for compression, so what cannot
/// be undone here stays as it is, under its `content-encoding`.
fn decode(body: Vec<u8>, headers: &HeaderMap) -> Result<(Vec<u8>, bool), Failure> {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|encoding| encoding.to_str().ok());
    let limit = body.len().saturating_mul(MAX_RATIO).clamp(RATIO_FROM, MAX_BODY);
    let decoded = match encoding.map(|encoding| encoding.trim().to_ascii_lowercase()).as_deref() {
        Some("gzip" | "x-gzip") => inflate(&mut MultiGzDecoder::new, &body, limit)?,
        Some("deflate") => inflate(&mut ZlibDecoder::new, &body, limit)?,
        _ => return Ok((body, false)),
    };
    Ok((decoded, true))
}

/// Kept apart from its caller, whose stack is the guest's: a decoder is many pages big, and each of them would be
/// touched also for answers that are not compressed.
#[inline(never)]
fn inflate<'a, D: std::io::Read>(
    decoder: &mut dyn FnMut(&'a [u8]) -> D,
    body: &'a [u8],
    limit: usize,
) -> Result<Vec<u8>, Failure> {
    let decoder = decoder(body);
    let mut bytes = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut bytes);
    if let Err(error) = read {
        return Err(Failure::known(
            "bad-response",
            format!("the answer cannot be decompressed: {error}"),
            false,
        ));
    }
    if bytes.len() > limit {
        let message =
            format!("the answer decompresses to more than {MAX_RATIO} times its size or {MAX_BODY} bytes");
        return Err(Failure::known("response-too-large", message, false));
    }
    Ok(bytes)
}
