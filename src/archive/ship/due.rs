//! Which windows a node ships now, and in which order.
//!
//! What may go wrong: after a change of members thousands of windows are due at once. Those that this node is to upload and
//! those that others have uploaded come by turns: other nodes wait for the former, and the latter give memory back. A
//! replica that knows that it lacks something lets others go first, whose blocks cover what it has: so nothing need be sent to
//! it.

use std::collections::HashMap;
use std::sync::Arc;

use gyre_ring::{Replica, Segment};

use super::turn::{before, due_ms, due_of_ended_ms};
use crate::cluster::ClusterState;
use crate::shard::supervisor::ShardHandle;

/// A window that samples still come for is shipped when there have been none for so long.
const QUIET_MS: i64 = 10 * 60 * 1000;

/// It is shipped after so long however many come.
const UNQUIET_MS: i64 = 60 * 60 * 1000;

/// A window that could not be shipped is tried again after so long.
const RETRY_MS: i64 = 60 * 1000;

/// One of a segment that has ended.
const RETRY_ENDED_MS: i64 = 10 * 1000;

/// Windows that are due, by segment and window.
#[derive(Default)]
pub struct Due {
    windows: HashMap<(Segment, i64), DueWindow>,
}

/// A window that is due, as it was when it was last looked at.
struct DueWindow {
    since_ms: i64,
    changed_ms: i64,
    batches: u64,
    not_before_ms: i64,
    /// Of a segment that takes nothing any more.
    has_ended: bool,
}

/// What is to be done with a window.
pub struct Task {
    pub shard: Arc<ShardHandle>,
    pub window: i64,
    /// It is this node's turn. Otherwise listed blocks may cover the window, and it is dropped if they do.
    pub may_upload: bool,
    /// Since when it has been due.
    since_ms: i64,
}

/// What a node should do now.
pub struct Ready {
    /// In this order.
    pub tasks: Vec<Task>,
    /// For how long the first window that is due has been.
    pub late_ms: i64,
}

impl Due {
    /// Looks at all windows of these shards.
    pub fn look(
        &mut self,
        shards: &[Arc<ShardHandle>],
        state: &ClusterState,
        own: &Replica,
        now_ms: i64,
    ) -> Ready {
        let waiting = self.windows.values().filter(|due| due.has_ended).count();
        let (mut uploads, mut looks, mut late_ms) = (Vec::new(), Vec::new(), 0);
        let mut seen = HashMap::new();
        for shard in shards {
            let segment = &shard.segment;
            let spans = state.spans(&segment.shard.tenant);
            let Some(span) = spans.iter().find(|span| span.segment == *segment) else { continue };
            let has_ended = span.ended.is_some() && shard.state.is_sealed();
            for (window, batches) in shard.state.windows().iter() {
                let due_ms = due_ms(segment, window, &span.replicas, own);
                if due_ms > now_ms && !has_ended {
                    continue;
                }
                let key = (segment.clone(), window);
                let batches = batches.len();
                let mut entry = self.windows.remove(&key).unwrap_or(DueWindow {
                    since_ms: now_ms,
                    changed_ms: now_ms,
                    batches,
                    not_before_ms: 0,
                    has_ended,
                });
                if has_ended && !entry.has_ended {
                    (entry.has_ended, entry.since_ms) = (true, now_ms);
                }
                if entry.batches != batches {
                    (entry.changed_ms, entry.batches) = (now_ms, batches);
                }
                let (since_ms, may_upload) = match has_ended {
                    true => {
                        let counts = |other: &Replica| !shard.state.is_behind(other);
                        let mut before = before(segment, 0, &span.replicas, own, counts);
                        if shard.state.is_behind_another() {
                            before += span.replicas.len();
                        }
                        let since_ms = due_of_ended_ms(before, entry.since_ms, waiting);
                        (since_ms, now_ms >= since_ms)
                    }
                    false => {
                        let is_quiet = now_ms - entry.changed_ms >= QUIET_MS;
                        (due_ms, is_quiet || now_ms - entry.since_ms >= UNQUIET_MS)
                    }
                };
                let is_worth_a_look = has_ended && shard.state.is_clear_elsewhere();
                if (may_upload || is_worth_a_look) && now_ms >= entry.not_before_ms {
                    let task = Task { shard: shard.clone(), window, may_upload, since_ms };
                    if may_upload { &mut uploads } else { &mut looks }.push(task);
                }
                late_ms = late_ms.max(now_ms - since_ms);
                seen.insert(key, entry);
            }
        }
        self.windows = seen;
        for tasks in [&mut uploads, &mut looks] {
            tasks.sort_by_key(|task| task.since_ms);
        }
        Ready { tasks: by_turns(uploads, looks), late_ms }
    }

    /// A task has been done.
    pub fn done(&mut self, task: &Task) {
        self.windows.remove(&task.key());
    }

    /// A task could not be done: it is put off.
    pub fn failed(&mut self, task: &Task, now_ms: i64) {
        if let Some(due) = self.windows.get_mut(&task.key()) {
            due.not_before_ms = now_ms + if due.has_ended { RETRY_ENDED_MS } else { RETRY_MS };
        }
    }
}

/// One of these, one of those.
fn by_turns(uploads: Vec<Task>, looks: Vec<Task>) -> Vec<Task> {
    let (mut uploads, mut looks) = (uploads.into_iter(), looks.into_iter());
    let mut tasks = Vec::with_capacity(uploads.len() + looks.len());
    loop {
        let before = tasks.len();
        tasks.extend(uploads.next());
        tasks.extend(looks.next());
        if tasks.len() == before {
            return tasks;
        }
    }
}

impl Task {
    fn key(&self) -> (Segment, i64) {
        (self.shard.segment.clone(), self.window)
    }
}
