//! `series`: the label sets of the selected series.
//!
//! They are sent while they are listed: however many they are, a few hundred are held at a time.

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream;

use super::error::ApiError;
use super::json::Annotations;
use super::json::envelope;
use super::json::value::write_labels;
use super::params::form::Form;
use super::params::selection::{SelectionError, parse_selection};
use super::question::{Asked, Question};
use super::stream::{Answered, PIECE_BYTES, Piece};
use super::{respond, tenant_of};
use crate::api::handing;
use crate::api::state::Api;
use crate::node::{QueryError, SeriesListing, TRUNCATED};

pub(in crate::api) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answered = async {
        let tenant = tenant_of(&api, &request)?;
        let form = Form::read(&request, payload).await?;
        handing::answer(&api, Asked::now(Question::Series, tenant, form)).await
    };
    respond(answered.await)
}

/// The answer of this node.
pub(super) async fn answer(api: &Api, asked: &Asked) -> Result<Answered, ApiError> {
    let form = &asked.form;
    form.check()?;
    if form.all("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let selection = parse_selection(form).map_err(|error| match error {
        SelectionError::Matcher(problem) => ApiError::parameter("match[]", problem),
        SelectionError::Other(error) => error,
    })?;
    let listing = api.node.get()?.series(&asked.tenant, &selection).await?;
    let mut document = Document { listing, left: selection.limit, has_entries: false, is_over: false };
    let mut first = Vec::new();
    envelope::begin_success(&mut first);
    first.push(b'[');
    document.fill(&mut first).await?;
    let rest = (!document.is_over).then(|| stream::unfold(document, Document::next_piece).boxed());
    Ok(Answered::success(first, rest))
}

/// The rest of the answer.
struct Document {
    listing: SeriesListing,
    /// Entries that may still be written, if there is a limit.
    left: Option<usize>,
    has_entries: bool,
    is_over: bool,
}

impl Document {
    /// The next piece, and what is left then.
    async fn next_piece(mut self) -> Option<(Piece, Self)> {
        if self.is_over {
            return None;
        }
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        let filled = self.fill(&mut piece).await;
        self.is_over |= filled.is_err();
        Some((filled.map(|()| piece.into()), self))
    }

    /// Adds to `out` until it is a piece, or the document is over.
    async fn fill(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        while !self.is_over && out.len() < PIECE_BYTES {
            let Some(sets) = self.listing.next().await? else {
                self.end(out, None);
                break;
            };
            for labels in sets.iter() {
                if self.left == Some(0) {
                    self.end(out, Some(TRUNCATED));
                    break;
                }
                self.left = self.left.map(|left| left - 1);
                if self.has_entries {
                    out.push(b',');
                }
                self.has_entries = true;
                write_labels(out, labels.iter());
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>, warning: Option<&str>) {
        out.push(b']');
        let mut warnings = std::mem::take(&mut self.listing.warnings);
        warnings.extend(warning.map(str::to_owned));
        envelope::end_success(out, &Annotations { warnings, infos: Vec::new() });
        self.is_over = true;
    }
}
