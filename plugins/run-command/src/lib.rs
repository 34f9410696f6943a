//! Runs one program that the grants name, with arguments, and judges its exit code.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;
use staunch_plugin::process::Output;
use staunch_plugin::{Error, Host, Outcome, Remediation};

/// How much of a program's output a message shows, in characters.
const EXCERPT: usize = 200;

/// The remediation.
#[derive(Debug)]
struct RunCommand;

/// The input, as `[input]` of `plugin.toml` describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    program: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default = "zero")]
    expect_exit: Vec<i32>,
    /// In seconds; without it, what is left of the run.
    timeout: Option<u32>,
    reason: Option<String>,
}

fn zero() -> Vec<i32> {
    vec![0]
}

impl Remediation for RunCommand {
    type Input = Input;

    fn remediate(input: Input, host: &Host) -> Result<Outcome, Error> {
        if !input.program.starts_with('/') {
            return Err(Error::invalid_input(format!("program must be an absolute path: {}", input.program)));
        }
        let Some(&assumed) = input.expect_exit.first() else {
            return Err(Error::invalid_input("expect_exit must name at least one exit code"));
        };
        let line = command_line(&input);
        let timeout = input.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let output = host
            .process()
            .run(&input.program, &input.arguments, timeout)
            .because(input.reason.unwrap_or_else(|| format!("run {line}")))
            .assume(&Output::exited(assumed))
            .perform()?;
        judge(&line, &input.expect_exit, &output)
    }
}

fn judge(line: &str, expected: &[i32], output: &Output) -> Result<Outcome, Error> {
    let Some(code) = output.code else {
        let message = format!("{line} was ended by a signal{}", said(output));
        return Err(Error::new("ended-by-signal", message));
    };
    if !expected.contains(&code) {
        let expected: Vec<String> = expected.iter().map(i32::to_string).collect();
        let message = format!("{line} ended with {code}, not {}{}", expected.join(" or "), said(output));
        return Err(Error::new("unexpected-exit", message));
    }
    Outcome::changed(format!("{line} ended with {code}")).with_details(&serde_json::json!({
        "code": code,
        "stdout": excerpt(&output.stdout),
        "stderr": excerpt(&output.stderr),
        "truncated": output.truncated,
    }))
}

fn command_line(input: &Input) -> String {
    let mut line = input.program.clone();
    for argument in &input.arguments {
        line.push(' ');
        line.push_str(argument);
    }
    excerpt(&line)
}

/// What the program itself said of its failure.
fn said(output: &Output) -> String {
    let text = if output.stderr.trim().is_empty() { output.stdout.trim() } else { output.stderr.trim() };
    if text.is_empty() { String::new() } else { format!(": {}", excerpt(text)) }
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

staunch_plugin::export!(RunCommand);
