//! The gate's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::command::run()
}
