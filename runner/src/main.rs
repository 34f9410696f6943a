//! The `staunch` program: the daemon and all commands.

use std::process::ExitCode;

/// Runs allocate on one thread and free on another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[used]
#[expect(unsafe_code, reason = "the allocator takes this setting before its first allocation only")]
// SAFETY: the section holds functions of this type, which are called once each before `main`.
#[unsafe(link_section = ".init_array")]
static BEFORE_ALL: extern "C" fn() = staunch::memory::set_up;

fn main() -> ExitCode {
    staunch::cli::main()
}
