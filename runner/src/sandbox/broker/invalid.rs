//! Calls that make no sense: they are answered with an error, and journaled as refused calls, so that a replay
//! meets them again.

use serde_json::json;
use staunch_core::effect::{Access, Answer, Call, CallError};

use super::{Answered, weight_of};
use crate::sandbox::capability;
use crate::sandbox::job::Denial;
use crate::sandbox::log_text;
use crate::sandbox::run::Run;
use crate::sandbox::stop::Stop;

/// What stands for the target of a call that means none.
const NO_TARGET: &str = "none";
/// The most bytes of the sentence that says what is wrong: it may quote what the guest said.
const MAX_PROBLEM: usize = 1 << 10;

/// Refuses a call whose arguments are none. It has no arguments that could be written down, so what is wrong with
/// them stands in their place; the same guest says the same again, so a replay finds the same call.
pub(super) async fn refuse<T>(
    run: &mut Run,
    function: &'static capability::Function,
    access: Access,
    mut error: CallError,
    fuel: u64,
) -> Answered<T> {
    log_text::cut(&mut error.message, MAX_PROBLEM);
    let call = Call {
        capability: function.capability.into(),
        function: function.name.into(),
        target: NO_TARGET.into(),
        arguments: json!({ "invalid": error.message }).into(),
    };
    run.count_bytes(call.target.len() + 2 * weight_of(&call.arguments))?;
    if let Some(recorded) = run.replayed(&call, access, fuel)? {
        if recorded.index.is_some() || !matches!(recorded.answer, Some(Answer::Err(_))) {
            return Err(
                Stop::Diverged { expected: Some(Box::new(recorded)), call: Box::new(call), fuel }.into()
            );
        }
        run.denials.push(Denial { call, error: error.clone() });
        return Ok(Err(error.into()));
    }
    super::deny(run, call, error, fuel).await
}
