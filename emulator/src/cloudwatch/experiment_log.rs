//! What the handler logs about experiments: the state of the definition.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::cloudwatch::definition_log::DefinitionLog;
use crate::identity;

#[derive(Debug, Default)]
struct State {
    definition: DefinitionLog,
}

/// The log lines about experiments, read as they are written.
#[derive(Debug, Clone, Default)]
pub struct ExperimentLog(Arc<Mutex<State>>);

impl ExperimentLog {
    /// Records a log line of an environment.
    pub fn put_line(&self, environment: u64, line: &Value) {
        self.0.lock().definition.put_line(environment, line, identity::now_ms());
    }

    /// Forgets what an environment has loaded, because it has ended.
    pub fn end(&self, environment: u64) {
        self.0.lock().definition.end(environment);
    }

    /// What the environments have logged about the definition.
    pub fn definition(&self) -> DefinitionLog {
        self.0.lock().definition.clone()
    }
}
