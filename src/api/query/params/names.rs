//! Label names in a path. Names beyond `[a-zA-Z_][a-zA-Z0-9_]*` are sent as `U__` and an escaped rest: `__` for an
//! underscore, `_2e_` for a character by its number.

/// Undoes the escaping; a name that is not escaped, or not properly, is taken as it is.
pub fn unescape_label_name(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescape).unwrap_or_else(|| name.to_owned())
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (code, behind) = behind.split_once('_')?;
        match code.len() {
            0 => name.push('_'),
            // Six digits hold the largest character. `from_str_radix` would take a sign, too.
            1..=6 if code.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                name.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            }
            _ => return None,
        }
        rest = behind;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pairs of Prometheus's documentation of value encoding escaping.
    #[test]
    fn escaped_names_are_unescaped() {
        for (escaped, name) in [
            ("http_requests", "http_requests"),
            ("U__http_2e_route", "http.route"),
            ("U__http__route_2e_x", "http_route.x"),
            ("U__mysystem_2e_prod_2e_west_2e_cpu_2e_load", "mysystem.prod.west.cpu.load"),
            ("U___1f600_", "😀"),
            ("U____", "_"),
            ("U__", ""),
        ] {
            assert_eq!(unescape_label_name(escaped), name, "{escaped}");
        }
    }

    #[test]
    fn what_is_not_properly_escaped_is_taken_as_it_is() {
        for name in
            ["U__a_", "U__a_zz_", "U__a_1234567_", "U__a_d800_", "U__a_110000_", "U__a_+1_", "U__a_2e"]
        {
            assert_eq!(unescape_label_name(name), name);
        }
    }
}
