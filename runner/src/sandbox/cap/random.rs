//! `random`: bytes from the run's own seed, the same in plan, act and replay.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::sandbox::run::Run;
use crate::sandbox::stop::Stop;

const MAX_BYTES: u32 = 4_096;

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:random/random@1.0.0")?;
    interface.func_wrap("bytes", |mut store: StoreContextMut<'_, Run>, (length,): (u32,)| {
        let run = store.data_mut();
        run.count_call()?;
        if length > MAX_BYTES {
            return Err(Stop::limit(
                "random",
                format!("{length} random bytes at once are more than {MAX_BYTES}"),
            )
            .into());
        }
        let mut bytes = vec![0; length as usize];
        run.draw(&mut bytes);
        Ok((bytes,))
    })
}

impl Run {
    /// The next bytes of the run's own randomness.
    pub(in crate::sandbox) fn draw(&mut self, bytes: &mut [u8]) {
        let seed = self.job.seed;
        self.random.get_or_insert_with(|| ChaCha20Rng::from_seed(seed)).fill_bytes(bytes);
    }
}
