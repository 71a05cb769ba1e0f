//! A lane's queue and the task that empties it.
//!
//! The task runs while there is a connection or something to send. What it owes to callers is that each call ends:
//! calls in flight when a connection breaks fail with an unknown outcome, and all that waits fails when no connection
//! can be made. The next attempt then waits for the back-off; calls until then fail at once.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_ring::Replica;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::call::{Abandoned, Call};
use super::connection;
use super::peer::{Outgoing, PeerConfig};
use super::reply::PendingCall;
use crate::actor::{Budget, Permit};
use crate::rpc::error::{ConnectError, Outcome, RpcError};
use crate::rpc::frame::CallId;
use crate::rpc::handshake::{self, Agreement};
use crate::rpc::identity::LocalNode;
use crate::rpc::method::{Lane, Method};
use crate::rpc::metrics::PeerCounters;

/// The longest time between two attempts to connect where the machine is there and nobody listens.
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Calls that nobody waits for any more stay in the queue until there are this many, or half of it.
const SHELLS_MAX: usize = 64;

/// What the lanes of a peer have in common.
pub(super) struct Shared {
    pub(super) replica: Replica,
    pub(super) address: SocketAddr,
    pub(super) local: Arc<LocalNode>,
    pub(super) config: PeerConfig,
    pub(super) io: Handle,
    pub(super) metrics: PeerCounters,
    pub(super) budget: Arc<Budget>,
}

impl Shared {
    pub(super) fn overloaded(&self) -> RpcError {
        RpcError::Overloaded { peer: self.replica.clone(), queued_bytes: self.budget.used_bytes() }
    }
}

/// A lane of a peer.
pub(super) struct LaneQueue {
    pub(super) lane: Lane,
    pub(super) shared: Arc<Shared>,
    state: Mutex<State>,
    /// Something is to be written, or the peer is not needed any more.
    pub(super) wake: Notify,
}

struct State {
    task: Task,
    next: CallId,
    queue: VecDeque<Arc<Call>>,
    /// Calls given up before they were sent, since the queue was last cleared of them.
    shells: usize,
    notices: VecDeque<Notice>,
    in_flight: HashMap<CallId, Arc<Call>>,
    failures: u32,
    /// No attempt to connect before this, and why.
    backoff: Option<(Instant, ConnectError)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    None,
    Running,
    /// The peer is not needed any more.
    Closed,
}

/// What the peer is told about a call in flight. There is at most one of each kind per call and window.
pub(super) enum Notice {
    Cancel(CallId),
    Credit(CallId, u32),
}

/// What is to be written next.
pub(super) enum ToWrite {
    Notice(Notice),
    Request(Arc<Call>, Outgoing, Permit),
    Nothing,
    /// The peer is not needed any more.
    Closed,
}

impl LaneQueue {
    pub(super) fn new(lane: Lane, shared: Arc<Shared>) -> Self {
        let state = State {
            task: Task::None,
            next: CallId(1),
            queue: VecDeque::new(),
            shells: 0,
            notices: VecDeque::new(),
            in_flight: HashMap::new(),
            failures: 0,
            backoff: None,
        };
        LaneQueue { lane, shared, state: Mutex::new(state), wake: Notify::new() }
    }

    /// The next call connects at once, whatever became of the last one.
    pub(super) fn try_again(&self) {
        self.state().backoff = None;
    }

    /// Puts a call into the queue, and starts the task if there is none.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        method: Method,
        request: Outgoing,
        permit: Permit,
        deadline: Instant,
    ) -> PendingCall {
        let mut state = self.state();
        if let Some((until, error)) = &state.backoff
            && Instant::now() < *until
        {
            return PendingCall::failed(self, self.unreachable(error.clone()));
        }
        if state.task == Task::Closed {
            return PendingCall::failed(self, self.ended(Outcome::NotExecuted));
        }
        let id = state.next;
        state.next.0 += 1;
        let window_bytes = self.shared.config.window_bytes;
        let call = Arc::new(Call::new(id, method, deadline, window_bytes, request, permit));
        state.queue.push_back(Arc::clone(&call));
        if state.task == Task::None {
            state.task = Task::Running;
            self.shared.io.spawn(Arc::clone(self).run());
        }
        drop(state);
        self.wake.notify_one();
        self.show_queue();
        // The timer belongs to the I/O runtime, so that callers need none of their own.
        let deadline = {
            let _runtime = self.shared.io.enter();
            sleep_until(deadline)
        };
        PendingCall::waiting(call, Arc::clone(self), deadline)
    }

    /// What is to be written next, while at most `in_flight_max` calls wait for replies.
    pub(super) fn next_to_write(&self, in_flight_max: usize) -> ToWrite {
        let mut state = self.state();
        if state.task == Task::Closed {
            return ToWrite::Closed;
        }
        if let Some(notice) = state.notices.pop_front() {
            return ToWrite::Notice(notice);
        }
        while state.in_flight.len() < in_flight_max
            && let Some(call) = state.queue.pop_front()
        {
            if let Some((request, permit)) = call.take_to_send() {
                state.in_flight.insert(call.id, Arc::clone(&call));
                return ToWrite::Request(call, request, permit);
            }
        }
        ToWrite::Nothing
    }

    /// The call with this number, if somebody still waits for it.
    pub(super) fn in_flight(&self, id: CallId) -> Option<Arc<Call>> {
        self.state().in_flight.get(&id).cloned()
    }

    /// Takes the call with this number, whose end has come.
    pub(super) fn ended_in_flight(&self, id: CallId) -> Option<Arc<Call>> {
        let mut state = self.state();
        let call = state.in_flight.remove(&id)?;
        // The peer answers: from here on a failure to connect is the first one again.
        state.failures = 0;
        // Another one may be sent now.
        let is_waiting = !state.queue.is_empty();
        drop(state);
        if is_waiting {
            self.wake.notify_one();
        }
        Some(call)
    }

    /// The peer takes no calls behind `last` any more. Whether none is left in flight.
    pub(super) fn going_away(&self, last: Option<CallId>) -> bool {
        let mut state = self.state();
        let mut refused: Vec<_> = state.queue.drain(..).collect();
        if let Some(last) = last {
            refused.extend(state.in_flight.extract_if(|id, _| *id > last).map(|(_, call)| call));
        }
        let is_done = state.in_flight.is_empty();
        drop(state);
        for call in refused {
            call.end(Err(RpcError::GoingAway { peer: self.shared.replica.clone() }));
        }
        is_done
    }

    /// The deadline of a call is over.
    pub(super) fn expire(&self, call: &Arc<Call>) {
        let was_sent = call.fail(|outcome| RpcError::Deadline { peer: self.shared.replica.clone(), outcome });
        if was_sent {
            self.cancel(call.id);
        }
    }

    /// Nobody waits for a call any more.
    pub(super) fn abandon(&self, call: &Arc<Call>) {
        let abandoned = call.abandon();
        self.show_queue();
        match abandoned {
            Abandoned::Over => {}
            Abandoned::Running => self.cancel(call.id),
            Abandoned::Unsent => {
                let mut state = self.state();
                state.shells += 1;
                if state.shells > SHELLS_MAX.max(state.queue.len() / 2) {
                    state.shells = 0;
                    state.queue.retain(|call| call.is_unsent());
                }
            }
        }
    }

    fn cancel(&self, id: CallId) {
        let mut state = self.state();
        if state.in_flight.remove(&id).is_some() {
            state.notices.push_back(Notice::Cancel(id));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The caller has taken parts of a streamed reply: the peer may send as much again.
    pub(super) fn give_credit(&self, id: CallId, bytes: u32) {
        let mut state = self.state();
        if state.in_flight.contains_key(&id) {
            state.notices.push_back(Notice::Credit(id, bytes));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Brings the metric up to date.
    pub(super) fn show_queue(&self) {
        self.shared.metrics.queue_bytes.set(self.shared.budget.used_bytes() as i64);
    }

    pub(super) fn count_error(&self, error: &RpcError) {
        self.shared.metrics.error(error.kind());
    }

    /// Ends the task and all calls.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.task = Task::Closed;
        let calls = state.take_calls();
        drop(state);
        for call in calls {
            call.fail(|outcome| self.ended(outcome));
        }
        self.wake.notify_one();
    }

    /// The task.
    async fn run(self: Arc<Self>) {
        loop {
            match self.connect().await {
                Ok((stream, agreement)) => {
                    self.shared.metrics.connections.inc();
                    let reason = connection::run(stream, &agreement, &self).await;
                    self.shared.metrics.connections.dec();
                    self.lost(&reason);
                }
                Err(error) => self.failed(error),
            }
            if self.is_idle() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<(TcpStream, Agreement), ConnectError> {
        let Shared { replica, address, local, config, .. } = &*self.shared;
        let attempt = timeout(config.connect_timeout, TcpStream::connect(address));
        let io = |error| ConnectError::Io(Arc::new(error));
        let mut stream = attempt.await.map_err(|_| ConnectError::Timeout)?.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let agreement = handshake::connect(&mut stream, local, replica, self.lane, config.handshake_timeout)
            .await
            .map_err(ConnectError::Handshake)?;
        info!(peer = %replica, %address, lane = self.lane.name(), version = agreement.version, "connected to a peer");
        Ok((stream, agreement))
    }

    /// The connection is gone, and with it what was in flight.
    fn lost(&self, reason: &str) {
        let mut state = self.state();
        state.notices.clear();
        let calls: Vec<_> = state.in_flight.drain().map(|(_, call)| call).collect();
        let is_closed = state.task == Task::Closed;
        drop(state);
        if !is_closed {
            let Shared { replica, address, .. } = &*self.shared;
            let (lane, in_flight) = (self.lane.name(), calls.len());
            warn!(peer = %replica, %address, lane, in_flight, "lost the connection to a peer: {reason}");
        }
        let reason: Arc<str> = reason.into();
        for call in calls {
            call.fail(|outcome| RpcError::ConnectionLost {
                peer: self.shared.replica.clone(),
                reason: Arc::clone(&reason),
                outcome,
            });
        }
    }

    /// No connection could be made.
    fn failed(&self, error: ConnectError) {
        let Shared { replica, address, config, .. } = &*self.shared;
        let mut state = self.state();
        let is_first = state.failures == 0;
        // A machine that refuses at once is asked at little cost, and its process may be back at any moment.
        let pause_max = match &error {
            ConnectError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => REFUSED_PAUSE_MAX,
            _ => config.backoff_max,
        };
        let pause = jittered((config.backoff_min * 2u32.pow(state.failures.min(16))).min(pause_max));
        state.failures += 1;
        state.backoff = Some((Instant::now() + pause, error.clone()));
        let calls = state.take_calls();
        drop(state);
        let lane = self.lane.name();
        if is_first {
            warn!(peer = %replica, %address, lane, "cannot connect to a peer: {error}");
        } else {
            debug!(peer = %replica, %address, lane, "still cannot connect to a peer: {error}");
        }
        for call in calls {
            call.end(Err(self.unreachable(error.clone())));
        }
    }

    /// Whether the task has nothing to do; then it is not running any more.
    fn is_idle(&self) -> bool {
        let mut state = self.state();
        if state.task == Task::Running && state.queue.is_empty() {
            state.task = Task::None;
        }
        state.task != Task::Running
    }

    fn unreachable(&self, error: ConnectError) -> RpcError {
        RpcError::Unreachable { peer: self.shared.replica.clone(), error }
    }

    fn ended(&self, outcome: Outcome) -> RpcError {
        RpcError::Ended { peer: self.shared.replica.clone(), outcome }
    }

    /// Each change of the state is complete before the lock goes: a poisoned one is as good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_calls(&mut self) -> Vec<Arc<Call>> {
        self.notices.clear();
        self.queue.drain(..).chain(self.in_flight.drain().map(|(_, call)| call)).collect()
    }
}

/// Between half of it and all of it, so that nodes that lost the same peer do not all return at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is merely the same for all.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}
