//! The `staunch` program: the daemon and all commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    staunch::cli::main()
}
