//! Lines for the people who read the run.

use crate::backend::Backend;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only of use when looking for a fault in the plugin.
    Debug,
    /// What the plugin sees and does.
    Info,
    /// Something is odd, and the work goes on.
    Warn,
    /// Something is wrong.
    Error,
}

/// Lines for the people who read the run; part of its record. Made by [`Host::log`](crate::Host::log).
///
/// Needs no grant. Lines over 4 KiB are cut; after 64 KiB a run, lines are counted and dropped.
#[derive(Debug, Clone, Copy)]
pub struct Log<'h> {
    backend: &'h Backend,
}

impl<'h> Log<'h> {
    pub(crate) fn new(backend: &'h Backend) -> Self {
        Self { backend }
    }

    /// Writes a line.
    ///
    /// ```
    /// use staunch_plugin::fake::FakeHost;
    /// use staunch_plugin::log::Level;
    ///
    /// let host = FakeHost::new();
    /// host.log().write(Level::Info, "3 files are older than 7 days");
    /// assert_eq!(host.logged(), [(Level::Info, "3 files are older than 7 days".to_owned())]);
    /// ```
    pub fn write(&self, level: Level, message: &str) {
        self.backend.log_write(level, message);
    }

    /// Writes a line at [`Level::Debug`].
    pub fn debug(&self, message: impl AsRef<str>) {
        self.write(Level::Debug, message.as_ref());
    }

    /// Writes a line at [`Level::Info`].
    pub fn info(&self, message: impl AsRef<str>) {
        self.write(Level::Info, message.as_ref());
    }

    /// Writes a line at [`Level::Warn`].
    pub fn warn(&self, message: impl AsRef<str>) {
        self.write(Level::Warn, message.as_ref());
    }

    /// Writes a line at [`Level::Error`].
    pub fn error(&self, message: impl AsRef<str>) {
        self.write(Level::Error, message.as_ref());
    }
}
