//! Runs a node until it is told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use actix_web::web;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::server::{self, Listening};
use crate::api::state::Api;
use crate::config::Config;
use crate::node::Node;
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
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let node = Node::start(&config).await.map_err(io::Error::other)?;
    let api = web::Data::new(Api::new(Arc::clone(&node), config));
    let Listening { server, handle, addresses } = server::listen(api.clone(), http_workers())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", api.config.http_listen)))?;
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    announce(&address, &api.config);

    let serving = actix_web::rt::spawn(server);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new writes, finishing those in flight");
    api.start_draining();
    let stopping = handle.stop(true);
    tokio::select! {
        () = stopping => {}
        // Whoever asks twice does not want to wait.
        _ = terminate.recv() => handle.stop(false).await,
        _ = interrupt.recv() => handle.stop(false).await,
    }
    serving.await.map_err(io::Error::other)??;
    node.shutdown().await;
    tracing::info!("stopped");
    Ok(())
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
