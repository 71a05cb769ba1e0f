//! `/drain`: the node leaves its cluster, and stops when it is not needed any more. `gyre drain` is this on the command line.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::response;
use super::state::Api;

/// `POST /drain`: 202 when it is noted durably that the node leaves, with how far it is. 409 if it cannot.
pub(super) async fn drain(api: web::Data<Api>) -> HttpResponse {
    set(&api, true, StatusCode::ACCEPTED).await
}

/// `DELETE /drain`: a node that has not left yet stays. 409 if it has.
pub(super) async fn stay(api: web::Data<Api>) -> HttpResponse {
    set(&api, false, StatusCode::OK).await
}

async fn set(api: &Api, leaving: bool, done: StatusCode) -> HttpResponse {
    let node = match api.node.get() {
        Ok(node) => node,
        Err(starting) => return response::starting(&starting),
    };
    match node.drain(leaving).await {
        Ok(()) => HttpResponse::build(done).json(node.drain_status()),
        Err(problem) => {
            let wanted = if leaving { "leave" } else { "stay" };
            response::text_error(StatusCode::CONFLICT, &format!("this node cannot {wanted}: {problem}"))
        }
    }
}

/// `GET /drain`: how far it is.
pub(super) async fn status(api: web::Data<Api>) -> HttpResponse {
    match api.node.get() {
        Ok(node) => HttpResponse::Ok().json(node.drain_status()),
        Err(starting) => response::starting(&starting),
    }
}
