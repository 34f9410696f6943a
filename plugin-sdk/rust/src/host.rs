//! The plugin's only way to the world.

use crate::backend::Backend;
use crate::clock::Clock;
use crate::file::File;
use crate::http::Http;
use crate::log::Log;
use crate::process::Process;
use crate::random::Random;
use crate::service::Service;

/// The plugin's only way to the world, handed to it with each call.
///
/// Behind it is the daemon's broker in a component, and a [`FakeHost`](crate::fake::FakeHost) in unit tests.
/// What a component really uses of it becomes its imports, and those must equal what its manifest requests.
pub struct Host {
    backend: Backend,
}

impl Host {
    pub(crate) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// HTTP requests to hosts that the grants name.
    pub fn http(&self) -> Http<'_> {
        Http::new(&self.backend)
    }

    /// Files in trees that the grants name, on the run's host.
    pub fn file(&self) -> File<'_> {
        File::new(&self.backend)
    }

    /// Native programs that the grants name, on the run's host.
    pub fn process(&self) -> Process<'_> {
        Process::new(&self.backend)
    }

    /// Units of the service manager on the run's host.
    pub fn service(&self) -> Service<'_> {
        Service::new(&self.backend)
    }

    /// Lines for the people who read the run.
    pub fn log(&self) -> Log<'_> {
        Log::new(&self.backend)
    }

    /// The run's own time.
    pub fn clock(&self) -> Clock<'_> {
        Clock::new(&self.backend)
    }

    /// Randomness from the run's own seed.
    pub fn random(&self) -> Random<'_> {
        Random::new(&self.backend)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}
