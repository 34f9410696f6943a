//! Members of a group by a Prometheus query: what the file says of it, and what an answer means.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::group::Members;
use super::read::MOST_MEMBERS;
use crate::policy::reader::Reader;
use crate::policy::yaml::Node;

const KEYS: [&str; 4] = ["url", "query", "label", "bearer"];

/// Longest query: it goes into an address.
const MOST_QUERY_BYTES: usize = 4_096;

/// Longest message of a server that is told on.
const MOST_TOLD: usize = 200;

/// What a server is shown. Nobody sees it in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// A token, or the place that stands for one in a file.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The token.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// A query whose answer names the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberQuery {
    /// The server, without `/api/v1/query`.
    pub url: String,
    /// The query, as the server takes it.
    pub query: String,
    /// The label whose values the members are.
    pub label: String,
    /// What the server is shown, if it wants to see something.
    pub bearer: Option<Bearer>,
}

/// Reads `members.prometheus`. Problems are noted in the reader.
pub(super) fn read(reader: &mut Reader<'_>, what: &str, node: &Node) -> Option<Members> {
    let fields = reader.fields(node, what, &KEYS);
    let mut text = |key: &str, default: Option<&str>| {
        let node = if default.is_some() { fields.get(key) } else { reader.required(fields, key, what) };
        match node {
            Some(node) => reader.text(node, &format!("{what}.{key}")).map(str::to_owned),
            None => default.map(str::to_owned),
        }
    };
    let (url, query, label) = (text("url", None), text("query", None), text("label", Some("instance")));
    let bearer = fields.get("bearer").map(|node| reader.text(node, &format!("{what}.bearer")));
    let bearer = bearer.map_or(Some(None), |text| text.map(|text| Some(Bearer::new(text.to_owned()))))?;
    let (url, query, label) = (url?, query?, label?);
    let mut wrong = |key: &str, message: &str| {
        let at = fields.get(key).map_or(node.at, |node| node.at);
        reader.error(at, format!("{what}.{key} {message}"));
    };
    if query.trim().is_empty() || query.len() > MOST_QUERY_BYTES {
        wrong("query", &format!("must be a query of at most {MOST_QUERY_BYTES} bytes"));
    }
    let starts = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        wrong("label", "must be the name of a label: letters, digits and '_', and no digit first");
    }
    Some(Members::Prometheus(MemberQuery { url, query, label, bearer }))
}

#[derive(Deserialize)]
struct Said {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: serde_json::Map<String, Value>,
}

impl MemberQuery {
    /// The members that an answer of the server names: the values of the label in all series, whatever their sample.
    ///
    /// # Errors
    /// Why they are not known: an error, a warning that something may be missing, no instant vector, a series without
    /// the label, nothing at all, too many.
    pub fn members(&self, status: u16, body: &[u8]) -> Result<BTreeSet<String>, String> {
        let told = |text: &str| text.chars().take(MOST_TOLD).collect::<String>();
        let said: Said = serde_json::from_slice(body).map_err(|error| {
            if status == 200 {
                format!("the answer cannot be read: {error}")
            } else {
                format!("the server answers {status}")
            }
        })?;
        if status != 200 || said.status != "success" {
            return Err(format!("the server answers {status}: {}", told(&said.error)));
        }
        if let Some(warning) = said.warnings.first() {
            return Err(format!("the server warns that its answer may not be whole: {}", told(warning)));
        }
        let data = said.data.ok_or("the answer has no data")?;
        if data.kind != "vector" {
            return Err(format!("the query gives a {}; an instant vector is needed", told(&data.kind)));
        }
        let mut members = BTreeSet::new();
        for series in &data.result {
            let name = series.metric.get(&self.label).and_then(Value::as_str).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| format!("a series of the answer has no label {:?}", self.label))?;
            members.insert(name.to_owned());
            if members.len() > MOST_MEMBERS {
                return Err(format!("the answer names more than {MOST_MEMBERS} members"));
            }
        }
        if members.is_empty() { Err("the answer names no member".to_owned()) } else { Ok(members) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, body: &str) -> Result<Vec<String>, String> {
        let query = MemberQuery {
            url: "http://127.0.0.1:9090".to_owned(),
            query: "up".to_owned(),
            label: "instance".to_owned(),
            bearer: Some(Bearer::new("a secret".to_owned())),
        };
        assert!(!format!("{query:?}").contains("a secret"));
        query.members(status, body.as_bytes()).map(|members| members.into_iter().collect())
    }

    fn vector(result: &str) -> String {
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}},"infos":["x"]}}"#
        )
    }

    #[test]
    fn the_label_of_every_series_is_a_member_once() {
        let series = r#"{"metric":{"__name__":"up","instance":"b","job":"x"},"value":[1.5,"0"]},
                        {"metric":{"instance":"a"},"value":[1.5,"1"]},
                        {"metric":{"instance":"b"},"value":[1.5,"1"]}"#;
        assert_eq!(asked(200, &vector(series)).unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_may_not_be_the_whole_fleet_is_not_known() {
        let one = r#"{"metric":{"instance":"a"},"value":[1,"1"]}"#;
        let whole = vector(one);
        let many: Vec<String> =
            (0..=MOST_MEMBERS).map(|n| format!(r#"{{"metric":{{"instance":"n{n}"}}}}"#)).collect();
        for (status, body, wanted) in [
            (200, whole.replace("infos", "warnings"), "may not be whole: x"),
            (200, whole.replace("vector", "matrix"), "gives a matrix; an instant vector is needed"),
            (200, r#"{"status":"success"}"#.to_owned(), "has no data"),
            (200, vector(""), "names no member"),
            (200, vector(r#"{"metric":{"job":"x"},"value":[1,"1"]}"#), "no label \"instance\""),
            (200, vector(r#"{"metric":{"instance":""},"value":[1,"1"]}"#), "no label \"instance\""),
            (200, vector(&many.join(",")), "more than 10000 members"),
            (
                400,
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned(),
                "400: parse error",
            ),
            (200, r#"{"status":"error","error":"too busy"}"#.to_owned(), "too busy"),
            (503, whole, "answers 503"),
            (302, "<html>".to_owned(), "answers 302"),
            (200, "<html>".to_owned(), "cannot be read"),
            (200, whole_without_end(one), "cannot be read"),
        ] {
            let why = asked(status, &body).unwrap_err();
            assert!(why.contains(wanted), "{wanted}: {why}");
        }
    }

    fn whole_without_end(series: &str) -> String {
        vector(series).trim_end_matches('}').to_owned()
    }
}
