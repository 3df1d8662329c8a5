//! The deployed binary, which Lambda starts as `bootstrap`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    nearedge::bootstrap::run(|name| std::env::var(name).ok(), names)
}
