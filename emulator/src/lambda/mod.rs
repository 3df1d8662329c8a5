//! AWS Lambda: a service that runs one function in execution environments.
//!
//! - [`service`]: starts environments on demand, freezes them, enforces the timeout, replaces them
//! - [`environment`]: one environment and its process
//! - [`runtime_api`]: the API that the process talks to

pub mod environment;
pub mod runtime_api;
pub mod service;
