//! The envelope around every answer: `{"status":"success","data":...}` or
//! `{"status":"error","errorType":...,"error":...}`.

use super::Annotations;
use super::text::write_html_safe_string;

/// Warnings, and infos, that an answer shows; the rest is counted.
const SHOWN_MAX: usize = 10;

/// An answer.
pub fn success(annotations: &Annotations, write_data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    begin_success(&mut out);
    write_data(&mut out);
    end_success(&mut out, annotations);
    out
}

/// What comes in front of the data, for answers that are written piece by piece.
pub fn begin_success(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
}

/// What comes behind the data.
pub fn end_success(out: &mut Vec<u8>, annotations: &Annotations) {
    write_annotations(out, b",\"warnings\":", &annotations.warnings, "warning");
    write_annotations(out, b",\"infos\":", &annotations.infos, "info");
    out.push(b'}');
}

/// Why there is no answer.
pub fn error(kind: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + message.len());
    out.extend_from_slice(b"{\"status\":\"error\",\"errorType\":");
    write_html_safe_string(&mut out, kind);
    out.extend_from_slice(b",\"error\":");
    write_html_safe_string(&mut out, message);
    out.push(b'}');
    out
}

fn write_annotations(out: &mut Vec<u8>, key: &[u8], annotations: &[String], kind: &str) {
    if annotations.is_empty() {
        return;
    }
    out.extend_from_slice(key);
    out.push(b'[');
    for (position, annotation) in annotations.iter().take(SHOWN_MAX).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_html_safe_string(out, annotation);
    }
    if let Some(omitted) = annotations.len().checked_sub(SHOWN_MAX).filter(|omitted| *omitted > 0) {
        out.push(b',');
        write_html_safe_string(out, &format!("{omitted} more {kind} annotations omitted"));
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: Vec<u8>) -> String {
        String::from_utf8(document).unwrap()
    }

    #[test]
    fn an_answer_without_annotations_has_status_and_data_only() {
        let document = success(&Annotations::default(), |out| out.extend_from_slice(b"[]"));
        assert_eq!(text(document), r#"{"status":"success","data":[]}"#);
    }

    #[test]
    fn an_error_has_its_kind_and_its_text_escaped_as_go_does() {
        let document = error("bad_data", "1:1: \"a\" < b\n");
        assert_eq!(
            text(document),
            r#"{"status":"error","errorType":"bad_data","error":"1:1: \"a\" \u003c b\n"}"#
        );
    }

    #[test]
    fn more_than_ten_annotations_of_a_kind_are_counted() {
        let numbered = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
        let annotations = Annotations { warnings: numbered(12), infos: numbered(10) };
        let document = text(success(&annotations, |out| out.extend_from_slice(b"0")));
        assert_eq!(
            document,
            concat!(
                r#"{"status":"success","data":0,"#,
                r#""warnings":["0","1","2","3","4","5","6","7","8","9","2 more warning annotations omitted"],"#,
                r#""infos":["0","1","2","3","4","5","6","7","8","9"]}"#
            )
        );
    }
}
