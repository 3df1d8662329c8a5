//! The pool of environments: assigns invocations to them, and freezes idle ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use crate::lambda::environment::Environment;
use crate::lambda::function::Function;
use crate::lambda::invocation::{Event, FunctionError, InvokeError};

/// A pending `/next`: an environment that can take an invocation.
pub(crate) struct Poll {
    pub(crate) environment: Arc<Environment>,
    pub(crate) deliver: oneshot::Sender<Event>,
}

/// A poll, or the reason why the environment did not start.
pub(crate) type Polled = Result<Poll, FunctionError>;

/// The result of [`Pool::acquire`].
pub(crate) enum Acquired {
    /// An idle environment.
    Idle(Poll),
    /// All environments are busy. `start` is a new environment, which the caller must start; `next` resolves when an
    /// environment becomes idle.
    Pending { start: Option<Arc<Environment>>, next: oneshot::Receiver<Polled> },
}

/// The environments of one function.
pub(crate) struct Pool {
    /// Maximum number of environments.
    limit: usize,
    concurrency: usize,
    freeze: bool,
    throttle: bool,
    /// Overrides of the function's environment variables; an empty value removes a variable.
    overrides: Vec<(String, String)>,
    /// Incremented by each change of the configuration.
    version: u64,
    environments: HashMap<u64, Arc<Environment>>,
    idle: Vec<Poll>,
    /// Polls of environments with an old configuration, which receive no more events.
    retired: Vec<Poll>,
    /// Invocations that wait for an environment.
    waiting: VecDeque<oneshot::Sender<Polled>>,
    started: u64,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(function: &Function) -> Self {
        Self {
            limit: function.environments,
            concurrency: function.concurrency,
            freeze: function.freeze && function.concurrency == 1,
            throttle: function.throttle,
            overrides: Vec::new(),
            version: 0,
            environments: HashMap::new(),
            idle: Vec::new(),
            retired: Vec::new(),
            waiting: VecDeque::new(),
            started: 0,
            closed: false,
        }
    }

    /// Takes an idle environment, or queues for one, with a new environment below the limit.
    pub(crate) fn acquire(&mut self) -> Result<Acquired, InvokeError> {
        if self.closed {
            return Err(InvokeError::ShuttingDown);
        }
        self.idle.retain(|poll| !poll.deliver.is_closed());
        // The oldest environment has the fullest cache. Lambda's choice is not documented.
        let oldest = (0..self.idle.len()).min_by_key(|at| self.idle[*at].environment.id);
        if let Some(oldest) = oldest {
            return Ok(Acquired::Idle(self.idle.swap_remove(oldest)));
        }
        let below_limit = self.environments.len() < self.limit;
        if !below_limit && self.throttle {
            return Err(InvokeError::Throttled);
        }
        let (sender, next) = oneshot::channel();
        self.waiting.push_back(sender);
        Ok(Acquired::Pending { start: below_limit.then(|| self.add()), next })
    }

    /// Adds an environment, which the caller must start.
    fn add(&mut self) -> Arc<Environment> {
        self.started += 1;
        let environment = Arc::new(Environment::new(self.started, self.version));
        self.environments.insert(environment.id, environment.clone());
        environment
    }

    /// Gives an environment to the first waiting invocation; without one, adds it to the idle ones and freezes it.
    pub(crate) fn park(&mut self, mut poll: Poll) {
        if poll.environment.version != self.version {
            self.retire(poll);
            return;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(Ok(poll)) {
                Ok(()) => return,
                Err(Ok(returned)) => poll = returned,
                Err(Err(_)) => return,
            }
        }
        // While the caller holds the lock of the pool, so that no invocation sends SIGCONT before this SIGSTOP.
        if self.freeze {
            poll.environment.signal(Signal::SIGSTOP);
        }
        self.idle.push(poll);
    }

    /// Stops sending events to an environment. It receives SIGTERM after its last invocation.
    fn retire(&mut self, poll: Poll) {
        if poll.environment.in_flight() == 0 {
            poll.environment.signal(Signal::SIGTERM);
            poll.environment.signal(Signal::SIGCONT);
        }
        self.retired.push(poll);
    }

    /// Removes an environment whose process has exited, and fails its invocations.
    pub(crate) fn remove(&mut self, environment: &Environment) {
        self.environments.remove(&environment.id);
        self.idle.retain(|poll| poll.environment.id != environment.id);
        self.retired.retain(|poll| poll.environment.id != environment.id);
        environment.close();
    }

    /// Fails the first waiting invocation, because an environment did not start.
    pub(crate) fn fail_first_waiting(&mut self, error: FunctionError) {
        if let Some(waiting) = self.waiting.pop_front() {
            let _ = waiting.send(Err(error));
        }
    }

    /// Adds an environment if invocations are waiting. The caller must start it.
    pub(crate) fn replace(&mut self) -> Option<Arc<Environment>> {
        (!self.waiting.is_empty()).then(|| self.add())
    }

    /// Overrides environment variables in new environments, and retires the existing ones.
    pub(crate) fn configure(&mut self, variables: &[(&str, &str)]) {
        for (name, value) in variables {
            self.overrides.retain(|(known, _)| known != name);
            self.overrides.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.version += 1;
        for poll in std::mem::take(&mut self.idle) {
            self.retire(poll);
        }
    }

    /// The function's environment variables with the overrides applied.
    pub(crate) fn variables(&self, function: &Function) -> HashMap<String, String> {
        let mut variables: HashMap<_, _> = function.env.iter().cloned().collect();
        for (name, value) in &self.overrides {
            if value.is_empty() {
                variables.remove(name);
            } else {
                variables.insert(name.clone(), value.clone());
            }
        }
        variables
    }

    /// Rejects all further invocations, and fails those that wait for an environment.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether an environment has no invocation in progress and has requested its next events, or is not initialized.
    pub(crate) fn is_idle(&self, environment: &Environment) -> bool {
        let polls = self.idle.iter().filter(|poll| poll.environment.id == environment.id).count();
        !environment.is_initialized() || polls >= self.concurrency
    }

    /// Whether all environments are idle.
    pub(crate) fn all_idle(&self) -> bool {
        self.environments.values().all(|environment| self.is_idle(environment))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.environments.is_empty()
    }

    /// The number of environments.
    pub(crate) fn len(&self) -> usize {
        self.environments.len()
    }

    /// The number of environments that are frozen.
    pub(crate) fn frozen(&self) -> usize {
        if !self.freeze {
            return 0;
        }
        let frozen = |environment: &&Arc<Environment>| environment.is_initialized() && self.is_idle(environment);
        self.environments.values().filter(frozen).count()
    }

    /// The number of environments started so far.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// The number of invocations in progress.
    pub(crate) fn in_flight(&self) -> usize {
        self.environments.values().map(|environment| environment.in_flight()).sum()
    }

    /// Sends a signal to all environments.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for environment in self.environments.values() {
            environment.signal(signal);
        }
    }
}
