//! Listens, times out, stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, middleware, web};

use super::observe::observe;
use super::routes;
use super::state::Api;

/// How long the head of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. Above the interval at which senders send.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests in flight may take to finish when the node stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections of one worker; more wait in the system's queue.
const CONNECTIONS_PER_WORKER_MAX: usize = 10_000;

/// A server that is listening.
pub struct Listening {
    /// Runs until it is stopped; does nothing unless it is awaited.
    pub server: Server,
    /// Stops it.
    pub handle: ServerHandle,
    /// The addresses it listens on, with the port that the system chose if 0 was asked for.
    pub addresses: Vec<SocketAddr>,
}

/// Opens the configured port and serves `api` on it with this many threads.
pub fn listen(api: web::Data<Api>, workers: usize) -> io::Result<Listening> {
    let address = &api.config.http_listen;
    let bind_to = (address.host.clone(), address.port);
    let server = HttpServer::new(move || {
        App::new().app_data(api.clone()).wrap(middleware::from_fn(observe)).configure(routes::configure)
    })
    .workers(workers.max(1))
    .max_connections(CONNECTIONS_PER_WORKER_MAX)
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(SHUTDOWN_TIMEOUT.as_secs())
    // An answer in several pieces must not wait for the client's delayed acknowledgement of the piece before.
    .tcp_nodelay(true)
    // A client that has closed its side waits for no answer: its query is dropped, which cancels it.
    .h1_allow_half_closed(false)
    .disable_signals()
    .bind(bind_to)?;
    let addresses = server.addrs();
    let server = server.run();
    Ok(Listening { handle: server.handle(), server, addresses })
}
