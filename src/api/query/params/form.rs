//! Form values, from the URL and from a posted body. The body's come first, as in Go's `Request.Form`.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;

use crate::api::query::error::ApiError;

/// Bytes of a posted form. Go's limit.
pub const FORM_BYTES_MAX: usize = 10 << 20;
/// Values of a form, so that a form of nothing but `&` is no burden.
pub const FORM_VALUES_MAX: usize = 10_000;
/// How long a form may take to arrive.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    values: Vec<(String, String)>,
}

impl Form {
    /// Reads the URL's query and, if a form was posted, the body.
    pub async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, ApiError> {
        let mut form = Self::default();
        if is_form(request) {
            let body = receive(payload).await?;
            form.add(&body)?;
        }
        form.add(request.query_string().as_bytes())?;
        Ok(form)
    }

    /// Adds the pairs of one encoded text.
    fn add(&mut self, encoded: &[u8]) -> Result<(), ApiError> {
        for pair in encoded.split(|byte| *byte == b'&') {
            if pair.is_empty() {
                continue;
            }
            if self.values.len() == FORM_VALUES_MAX {
                return Err(ApiError::BadData(format!("more than {FORM_VALUES_MAX} form values")));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            self.values.push((name, value));
        }
        Ok(())
    }

    /// The first value of this name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All values of this name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn is_form(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn receive(mut payload: web::Payload) -> Result<Vec<u8>, ApiError> {
    let receiving = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|error| ApiError::BadData(format!("cannot read request body: {error}")))?;
            if body.len() + chunk.len() > FORM_BYTES_MAX {
                return Err(ApiError::FormTooLarge { max: FORM_BYTES_MAX });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    tokio::time::timeout(RECEIVE_TIMEOUT, receiving).await.map_err(|_| ApiError::FormSlow)?
}

fn decode(encoded: &[u8]) -> Result<String, ApiError> {
    let fail = || {
        let text = String::from_utf8_lossy(&encoded[..encoded.len().min(200)]).into_owned();
        ApiError::BadData(format!("error parsing form values: invalid encoding in {text:?}"))
    };
    let mut bytes: Cow<'_, [u8]> = Cow::Borrowed(encoded);
    if encoded.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        let mut decoded = Vec::with_capacity(encoded.len());
        let mut rest = encoded;
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            match byte {
                b'+' => decoded.push(b' '),
                b'%' => {
                    let (hex, behind) = rest.split_first_chunk::<2>().ok_or_else(fail)?;
                    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(fail);
                    decoded.push((digit(hex[0])? << 4 | digit(hex[1])?) as u8);
                    rest = behind;
                }
                byte => decoded.push(*byte),
            }
        }
        bytes = Cow::Owned(decoded);
    }
    String::from_utf8(bytes.into_owned()).map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoded: &str) -> Result<Form, ApiError> {
        let mut form = Form::default();
        form.add(encoded.as_bytes())?;
        Ok(form)
    }

    #[test]
    fn values_are_decoded_and_kept_in_order() {
        let form =
            form("query=sum%28up%29+%3E+1&match[]=a&&match%5B%5D=b%26c&flag&empty=&query=second").unwrap();
        assert_eq!(form.get("query"), "sum(up) > 1");
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "b&c"]);
        assert_eq!((form.get("flag"), form.get("empty"), form.get("absent")), ("", "", ""));
        assert_eq!(super::tests::form("q=%C3%BC=1").unwrap().get("q"), "ü=1");
    }

    #[test]
    fn broken_escapes_and_broken_utf8_are_refused() {
        for encoded in ["a=%", "a=%2", "a=%zz", "%=1", "a=%ff"] {
            assert!(matches!(form(encoded), Err(ApiError::BadData(_))), "{encoded}");
        }
    }

    #[test]
    fn the_number_of_values_is_limited() {
        assert!(form(&"a&".repeat(FORM_VALUES_MAX)).is_ok());
        assert!(form(&"a&".repeat(FORM_VALUES_MAX + 1)).is_err());
    }
}
