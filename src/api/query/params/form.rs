//! Form values, from the URL and from a posted body. The body's come first, as in Go's `Request.Form`.
//!
//! A pair that cannot be decoded is left out, as Go does; only `series` asks whether there was one.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use gyre_promql::gostd::quote;

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
    /// What is wrong with the first pair that was left out.
    problem: Option<String>,
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
            match decode_pair(pair) {
                Ok(pair) => self.values.push(pair),
                Err(problem) => self.problem = self.problem.take().or(Some(problem)),
            }
        }
        Ok(())
    }

    /// The form that another node has read: names and values, and what is wrong with the first pair that was left out.
    pub fn of_parts(values: Vec<(String, String)>, problem: Option<String>) -> Result<Self, ApiError> {
        if values.len() > FORM_VALUES_MAX {
            return Err(ApiError::BadData(format!("more than {FORM_VALUES_MAX} form values")));
        }
        Ok(Self { values, problem })
    }

    /// What [`Form::of_parts`] takes.
    pub fn into_parts(self) -> (Vec<(String, String)>, Option<String>) {
        (self.values, self.problem)
    }

    /// Refuses a form of which something had to be left out.
    pub fn check(&self) -> Result<(), ApiError> {
        match &self.problem {
            Some(problem) => Err(ApiError::BadData(format!("error parsing form values: {problem}"))),
            None => Ok(()),
        }
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
    if request.method() != Method::POST {
        return false;
    }
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

/// Name and value; the error is in Go's words, but for text that is not UTF-8, which Go lets pass.
fn decode_pair(pair: &[u8]) -> Result<(String, String), String> {
    if pair.contains(&b';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = decode(halves.next().unwrap_or_default())?;
    Ok((name, decode(halves.next().unwrap_or_default())?))
}

fn decode(encoded: &[u8]) -> Result<String, String> {
    let mut bytes: Cow<'_, [u8]> = Cow::Borrowed(encoded);
    if encoded.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        let mut decoded = Vec::with_capacity(encoded.len());
        let mut rest = encoded;
        while let Some((byte, behind)) = rest.split_first() {
            match byte {
                b'+' => decoded.push(b' '),
                b'%' => {
                    let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
                    let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                        let escape = &rest[..rest.len().min(3)];
                        return Err(format!("invalid URL escape {}", quote(escape)));
                    };
                    decoded.push((high << 4 | low) as u8);
                    rest = &behind[2..];
                    continue;
                }
                byte => decoded.push(*byte),
            }
            rest = behind;
        }
        bytes = Cow::Owned(decoded);
    }
    String::from_utf8(bytes.into_owned()).map_err(|_| "a form value is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    // Texts of Go's `net/url`.
    #[test]
    fn pairs_that_cannot_be_decoded_are_left_out_and_remembered() {
        for (encoded, problem) in [
            ("a=%", r#"invalid URL escape "%""#),
            ("a=%2", r#"invalid URL escape "%2""#),
            ("a=%zz1", r#"invalid URL escape "%zz""#),
            ("%=1", r#"invalid URL escape "%""#),
            ("a=1;b=2", "invalid semicolon separator in query"),
            ("a=%ff", "a form value is not UTF-8"),
        ] {
            let form = form(&format!("{encoded}&a=kept")).unwrap();
            assert_eq!(form.get("a"), "kept", "{encoded}");
            assert_eq!(
                form.check(),
                Err(ApiError::BadData(format!("error parsing form values: {problem}"))),
                "{encoded}"
            );
        }
        assert_eq!(form("a=1").unwrap().check(), Ok(()));
    }

    #[test]
    fn the_number_of_values_is_limited() {
        assert!(form(&"a&".repeat(FORM_VALUES_MAX)).is_ok());
        assert!(form(&"a&".repeat(FORM_VALUES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_pairs_come_back_from_their_encoding(pairs in prop::collection::vec((".*", ".*"), 0..5)) {
            let escape = |text: &String| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let encoded: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
            let form = form(&encoded.join("&")).unwrap();
            prop_assert_eq!(form.check(), Ok(()));
            prop_assert_eq!(form.values, pairs);
        }

        #[test]
        fn any_bytes_are_a_form_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut form = Form::default();
            prop_assert!(form.add(&bytes).is_ok());
            prop_assert!(form.values.len() <= bytes.len());
        }
    }
}
