//! The content headers of a write request: what is accepted, and Cortex's words for what is not.

/// The one message that is accepted.
const V1: &str = "prometheus.WriteRequest";
/// The message of remote write 2.0.
const V2: &str = "io.prometheus.write.v2.Request";
const PROTOBUF: &str = "application/x-protobuf";

/// Checks the two headers of a request; the error is the text to answer 415 with.
pub(super) fn check(content_type: &str, content_encoding: &str) -> Result<(), String> {
    match message_type(content_type)? {
        V1 => {}
        other => {
            return Err(format!(
                "{other} protobuf message is not accepted by this server; only accepts {V1}"
            ));
        }
    }
    // No encoding at all is taken for snappy, as in Cortex: there is no other.
    if content_encoding.is_empty() || content_encoding == "snappy" {
        return Ok(());
    }
    Err(format!(
        "{content_encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
    ))
}

/// The name of the protobuf message. No content type, and no `proto` parameter, mean remote write 1.0.
fn message_type(content_type: &str) -> Result<&str, String> {
    let content_type = content_type.trim();
    if content_type.is_empty() {
        return Ok(V1);
    }
    let mut parts = content_type.split(';');
    if parts.next() != Some(PROTOBUF) {
        return Err(format!(
            "expected {PROTOBUF} as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        let (key, value) =
            part.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(|| {
                format!("expected parameters to be key-values, got {part} in {content_type} content-type")
            })?;
        if key.trim() == "proto" {
            let is_known = value == V1 || value == V2;
            return is_known.then_some(value).ok_or_else(|| {
                format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {value}, \
                     supported: {V1}, {V2}"
                )
            });
        }
    }
    Ok(V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_write_1_0_is_accepted_however_it_is_announced() {
        for content_type in [
            "",
            "application/x-protobuf",
            "application/x-protobuf;proto=prometheus.WriteRequest",
            "application/x-protobuf; proto=prometheus.WriteRequest",
            "application/x-protobuf;version=1",
        ] {
            for encoding in ["", "snappy"] {
                assert_eq!(check(content_type, encoding), Ok(()), "{content_type} {encoding}");
            }
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (content_type, encoding, text) in [
            ("application/json", "snappy", "expected application/x-protobuf as the first (media) part"),
            (
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "snappy",
                "io.prometheus.write.v2.Request protobuf message is not accepted by this server; \
                 only accepts prometheus.WriteRequest",
            ),
            (
                "application/x-protobuf;proto=x.Y",
                "snappy",
                "got application/x-protobuf;proto=x.Y content type; unknown",
            ),
            ("application/x-protobuf;proto", "snappy", "expected parameters to be key-values"),
            (
                "",
                "gzip",
                "gzip encoding (compression) is not accepted by this server; only snappy is acceptable",
            ),
        ] {
            let error = check(content_type, encoding).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
