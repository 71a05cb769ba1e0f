//! The effective configuration as YAML, for `/config` and for reading back.

use std::fmt::Write;

use super::Config;
use super::limits::LIMITS;
use super::settings::SETTINGS;
use crate::tenant::limits::Limits;

pub(super) fn to_yaml(config: &Config) -> String {
    let mut out = String::new();
    let mut open_section = String::new();
    for setting in &SETTINGS {
        let path = setting.yaml_path();
        let value = scalar(&setting.show(config));
        match path.as_slice() {
            [section, key] => {
                if *section != open_section {
                    push_line(&mut out, 0, section, "");
                    open_section.clone_from(section);
                }
                push_line(&mut out, 1, key, &value);
            }
            _ => push_line(&mut out, 0, &path.join("."), &value),
        }
    }
    push_line(&mut out, 0, "limits", "");
    for limit in &LIMITS {
        push_line(&mut out, 1, limit.name, &scalar(&(limit.show)(&config.limits)));
    }
    if !config.overrides.is_empty() {
        push_line(&mut out, 0, "overrides", "");
    }
    for (tenant, limits) in &config.overrides {
        push_overrides(&mut out, tenant.as_str(), limits, &config.limits);
    }
    out
}

/// Only what differs from the common limits: the rest is not the tenant's own.
fn push_overrides(out: &mut String, tenant: &str, limits: &Limits, common: &Limits) {
    let differing: Vec<_> = LIMITS
        .iter()
        .filter(|limit| (limit.show)(limits) != (limit.show)(common))
        .map(|limit| (limit.name, scalar(&(limit.show)(limits))))
        .collect();
    push_line(out, 1, &scalar(tenant), if differing.is_empty() { "{}" } else { "" });
    for (name, value) in differing {
        push_line(out, 2, name, &value);
    }
}

fn push_line(out: &mut String, depth: usize, key: &str, value: &str) {
    let separator = if value.is_empty() { "" } else { " " };
    let indent = "  ".repeat(depth);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{indent}{key}:{separator}{value}");
}

/// A scalar, in quotes unless it is plainly a word, a number or a duration.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let is_number_like = text.starts_with('0') && text.len() > 1 && !text.starts_with("0.");
    if starts_plain && !is_number_like && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
