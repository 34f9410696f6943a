//! `silence`, `silences`, `unsilence`

use serde_json::{Value, json};

use super::Done;
use super::args::{Connection, SilenceArgs, SilencesArgs};
use super::client::Client;
use super::output::Output;

/// `silence`
pub(super) async fn silence(args: &SilenceArgs, connection: &Connection, output: &Output) -> Done {
    let mut body = json!({ "matchers": args.matchers, "comment": args.comment });
    let given = [
        ("duration", args.duration.clone().map(Value::from)),
        ("ends_at", args.until.map(|until| json!(until))),
        ("starts_at", args.from.map(|from| json!(from))),
    ];
    for (key, value) in given {
        if let (Some(value), Value::Object(members)) = (value, &mut body) {
            members.insert(key.to_owned(), value);
        }
    }
    let silence = Client::new(connection)?.post("/v1/silences", &body).await?;
    if output.is_json() {
        output.json(&silence);
        return Ok(());
    }
    let text = |name: &str| silence.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    output.data(&text("id"));
    output.note(&format!(
        "silent from {} until {}; end it with `staunch unsilence {}`",
        text("starts_at"),
        text("ends_at"),
        text("id")
    ));
    Ok(())
}

/// `silences`
pub(super) async fn list(args: &SilencesArgs, connection: &Connection, output: &Output) -> Done {
    let filters = [("state", args.state.clone())];
    let listed = Client::new(connection)?.list("/v1/silences", &filters, &args.part).await?;
    let columns = [
        ("ID", "/id"),
        ("STATE", "/state"),
        ("MATCHERS", "/matchers"),
        ("FROM", "/starts_at"),
        ("UNTIL", "/ends_at"),
        ("BY", "/created_by"),
        ("COMMENT", "/comment"),
    ];
    output.part(&listed, &columns);
    Ok(())
}

/// `unsilence`
pub(super) async fn expire(id: &str, connection: &Connection, output: &Output) -> Done {
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let silence = Client::new(connection)?.delete(&format!("/v1/silences/{id}")).await?;
    if output.is_json() {
        output.json(&silence);
        return Ok(());
    }
    let id = silence.get("id").and_then(Value::as_str).unwrap_or("-");
    output.data(id);
    output.note(&format!("{id} is over"));
    Ok(())
}
