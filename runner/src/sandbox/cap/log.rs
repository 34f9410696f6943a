//! `log`: lines for the people who read the run.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};

use crate::sandbox::job::{LogLevel, LogLine};
use crate::sandbox::limits::{MAX_LOG_BYTES, MAX_LOG_LINE};
use crate::sandbox::log_text::cut;
use crate::sandbox::run::Run;

#[expect(dead_code, reason = "made by lifting guests' values")]
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:log/log@1.0.0")?;
    interface.func_wrap("write", |mut store: StoreContextMut<'_, Run>, (level, message): (Level, String)| {
        store.data_mut().write_log(level.into(), message);
        Ok(())
    })
}

impl Run {
    /// Keeps a line, cut to size, or counts it. Lines do not count as calls: a plugin that only talks too much
    /// still does its work.
    pub(in crate::sandbox) fn write_log(&mut self, level: LogLevel, mut message: String) {
        cut(&mut message, MAX_LOG_LINE);
        if self.log_bytes + message.len() > MAX_LOG_BYTES {
            self.log_dropped = self.log_dropped.saturating_add(1);
            return;
        }
        // An empty line takes room too.
        self.log_bytes += message.len().max(1);
        self.log.push(LogLine { level, message });
    }
}
