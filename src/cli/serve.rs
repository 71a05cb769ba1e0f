//! Runs a node until it is told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use actix_rt::Arbiter;
use actix_web::web;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::api::handing::take::Taker;
use crate::api::server::{self, Listening};
use crate::api::state::Api;
use crate::config::Config;
use crate::node::Node;
use crate::node::handle::NodeHandle;
use crate::telemetry::logs;
use crate::version;

/// Runs a node; returns when it has stopped.
pub(super) fn serve(config: Config) -> ExitCode {
    logs::start(config.log_level.into());
    match actix_web::rt::System::new().block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gyre: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> io::Result<()> {
    // Before anything is opened, so that an early signal stops the node in order, too.
    let mut stops =
        Stops { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };

    let node = Arc::new(NodeHandle::default());
    let api = web::Data::new(Api::new(Arc::clone(&node), config));
    let Listening { server, handle, addresses } = server::listen(api.clone(), http_workers())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", api.config.http_listen)))?;
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    tracing::info!(%address, "HTTP is up; the node starts");
    let serving = actix_web::rt::spawn(server);

    let started = tokio::select! {
        started = start(api.clone()) => started.map(Some),
        () = stops.next() => Ok(None),
    };
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            handle.stop(false).await;
            return Err(error);
        }
    };
    if let Some(started) = &started {
        node.started(Arc::clone(started));
        announce(&address, &api.config);
        tokio::select! {
            () = stops.next() => {}
            () = started.drained() => {}
        }
    }
    tracing::info!("stopping: no new connections, finishing what is in flight");
    api.start_draining();
    let stopping = handle.stop(true);
    tokio::select! {
        () = stopping => {}
        // Whoever asks twice does not want to wait.
        () = stops.next() => handle.stop(false).await,
    }
    serving.await.map_err(io::Error::other)??;
    if let Some(started) = started {
        started.shutdown().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// The signals that stop a node.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the node on a thread of its own: reading a long log blocks, and signals are to be heard meanwhile.
async fn start(api: web::Data<Api>) -> io::Result<Arc<Node>> {
    let (tell, told) = oneshot::channel();
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || {
        actix_web::rt::spawn(async move {
            let questions = Arc::new(Taker::new(&api.clone().into_inner()));
            let started = Node::start(&api.config, &api.telemetry.cluster, &api.node, questions).await;
            // Nobody waits if the node is to stop already.
            let _ = tell.send(started);
        });
    });
    // The thread goes on until the system ends: what the node has spawned there lives as long.
    let started = told.await.map_err(|_| io::Error::other("the thread that starts the node has died"))?;
    started.map_err(io::Error::other)
}

/// Half of the cores: decoding is a small part of the work behind it.
fn http_workers() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// Says where the node listens, where its data lies, and what to try. Whoever reads this may have gone away, which is
/// no reason not to serve.
fn announce(address: &str, config: &Config) {
    let text = format!(
        "gyre {} listens on http://{address}, data in {}\n\
         try: curl 'http://{address}/prometheus/api/v1/query?query=up'\n",
        version::VERSION,
        config.data_dir.display()
    );
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
