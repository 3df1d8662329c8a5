//! The deployed binary, which Lambda starts as `bootstrap`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nearedge::bootstrap::run(|name| std::env::var(name).ok())
}
