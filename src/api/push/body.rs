//! Receives the body of a write request: bounded in bytes and in time.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;

use super::inflight::{InflightFull, Reservation};
use super::pool::BatchPool;

/// How long a body may take to arrive. Prometheus gives up after 30 s by default.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a body could not be received.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("received message larger than max ({received} vs {max})")]
    TooLarge { received: u64, max: u64 },
    #[error(transparent)]
    InflightFull(#[from] InflightFull),
    #[error("request body did not arrive within {} seconds", RECEIVE_TIMEOUT.as_secs())]
    Slow,
    #[error("cannot read request body: {0}")]
    Broken(#[from] PayloadError),
}

/// A received body, whose buffer goes back to the pool.
pub(super) struct Body<'a> {
    pool: &'a BatchPool,
    buffer: Vec<u8>,
}

impl Body<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.pool.give_receive_buffer(std::mem::take(&mut self.buffer));
    }
}

/// Receives a whole body of at most `max` bytes. What is announced too large is refused before a byte is read.
pub(super) async fn receive<'a>(
    request: &HttpRequest,
    mut payload: web::Payload,
    max: u64,
    reservation: &mut Reservation<'_>,
    pool: &'a BatchPool,
) -> Result<Body<'a>, BodyError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(announced) = announced {
        if announced > max {
            return Err(BodyError::TooLarge { received: announced, max });
        }
        reservation.grow_to(announced)?;
    }
    let mut body = Body { pool, buffer: pool.take_receive_buffer() };
    let receiving = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk?;
            let received = (body.buffer.len() + chunk.len()) as u64;
            if received > max {
                return Err(BodyError::TooLarge { received, max });
            }
            reservation.grow_to(received)?;
            body.buffer.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::time::timeout(RECEIVE_TIMEOUT, receiving).await.map_err(|_| BodyError::Slow)??;
    Ok(body)
}
