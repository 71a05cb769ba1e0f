//! Who computes: the caller alone, or several threads.

use std::thread;

/// Runs a task on several workers at once. A server passes its own pool; the engine never starts threads behind its
/// back.
pub trait Workers: Send + Sync {
    /// How many tasks may run at once, at least 1.
    fn count(&self) -> usize;

    /// Calls `task` with each number below `tasks` and returns when all calls are over. They may run in parallel.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone. Results are those of Prometheus to the last bit, as series are summed in one order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Workers for Serial {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Threads started for each use; for tests and tools.
#[derive(Clone, Copy, Debug)]
pub struct ScopedThreads {
    /// How many threads, at least 1.
    pub threads: usize,
}

impl Workers for ScopedThreads {
    fn count(&self) -> usize {
        self.threads.max(1)
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        thread::scope(|scope| {
            for i in 1..tasks {
                scope.spawn(move || task(i));
            }
            if tasks > 0 {
                task(0);
            }
        });
    }
}
