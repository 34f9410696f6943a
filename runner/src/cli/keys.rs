//! `keys`

use serde_json::json;

use super::args::{KeysArgs, KeysCommand};
use super::output::Output;
use super::{Done, Failure};
use crate::causes::chain;
use crate::keys;

pub(super) fn run(args: &KeysArgs, output: &Output) -> Done {
    let KeysCommand::Generate { file } = &args.command;
    let pair = keys::generate(file).map_err(|error| Failure::Refused(chain(&error)))?;
    if output.is_json() {
        output.json(&json!({ "private": pair.private, "public": pair.public, "key_id": pair.key_id }));
    } else {
        output.data(&format!(
            "private  {}\npublic   {}\nkey id   {}",
            pair.private.display(),
            pair.public.display(),
            pair.key_id
        ));
    }
    Ok(())
}
