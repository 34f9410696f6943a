//! Native programs that the grants name, on the run's host. The sandbox ends there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::clock::milliseconds;
use crate::{Effect, Error, Intent};

/// What a program left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The exit code, or none if a signal ended it.
    pub code: Option<i32>,
    /// At most 64 KiB; what is more is cut off.
    #[serde(default)]
    pub stdout: String,
    /// The same.
    #[serde(default)]
    pub stderr: String,
    /// Whether something was cut off.
    #[serde(default)]
    pub truncated: bool,
}

impl Output {
    /// A silent end with that exit code.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        Self { code: Some(code), ..Self::default() }
    }
}

/// Native programs. Made by [`Host::process`](crate::Host::process).
#[derive(Debug, Clone, Copy)]
pub struct Process<'h> {
    backend: &'h Backend,
}

impl<'h> Process<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// An effect, to be done once: runs the program at that absolute path and waits for its end. There is no
    /// shell and no environment. Without a `timeout` it may take what is left of the run.
    ///
    /// ```
    /// use serde_json::json;
    /// use staunch_plugin::fake::FakeHost;
    ///
    /// let host = FakeHost::new().answer("process.run", json!({ "code": 0, "stdout": "ok\n" }));
    /// let arguments = ["--now".to_owned()];
    /// let output = host.process().run("/usr/sbin/logrotate", &arguments, None).because("rotate").perform()?;
    /// assert_eq!((output.code, output.stdout.as_str()), (Some(0), "ok\n"));
    /// # Ok::<(), staunch_plugin::Error>(())
    /// ```
    pub fn run<'a>(
        &self,
        program: &'a str,
        arguments: &'a [String],
        timeout: Option<Duration>,
    ) -> Effect<Output, impl FnOnce(Intent) -> Result<Output, Error> + use<'a, 'h>> {
        let backend = self.backend;
        let timeout = timeout.map(milliseconds);
        Effect::new(move |intent| backend.process_run(program, arguments, timeout, intent))
            .assume(&Output::exited(0))
    }
}
