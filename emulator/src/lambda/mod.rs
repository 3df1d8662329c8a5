//! AWS Lambda: a service that runs one function in execution environments.
//!
//! - [`service`]: starts environments on demand, invokes the function in them, enforces the timeout, shuts down
//! - `pool`: the environments of the function: assigns invocations to idle ones, and freezes them
//! - `report`: metrics, log lines and spans of the service itself
//! - [`runtime_api`]: the API that a handler process calls
//! - [`stream`], [`upload`]: a streamed response, and its upload to the Runtime API
//! - [`environment`]: one environment, its process and its invocations in progress
//! - [`function`]: the configuration of the function, and the environment variables that Lambda sets
//! - [`invocation`]: events, responses and errors

pub mod environment;
pub mod function;
pub mod invocation;
mod pool;
mod report;
pub mod runtime_api;
pub mod service;
pub mod stream;
pub mod upload;
