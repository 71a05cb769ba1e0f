//! What can be asked about an expression without data: its canonical form, its tree, its exemplars.

use serde_json::{Value, json};

use crate::server::{Response, Server};

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn ask(server: &Server, endpoint: &str, expr: &str) -> Response {
    server.get(&format!("/prometheus/api/v1/{endpoint}?query={}", encoded(expr)))
}

#[test]
fn an_expression_is_formatted_in_prometheus_style() {
    let server = Server::start();
    // Line breaks by the rules of Prometheus's printer: an expression of more than 100 characters is split.
    for (expr, formatted) in [
        ("  sum  by(job)(up)", "sum by (job) (up)"),
        ("foo/bar", "foo / bar"),
        ("up{a='<b>'}", "up{a=\"<b>\"}"),
        (
            "sum by(job)(rate(http_requests_total{job=\"a_rather_long_name_of_a_job\",method=\"GET\",status=~\"2..\"}[5m]))",
            "sum by (job) (\n  rate(http_requests_total{job=\"a_rather_long_name_of_a_job\",method=\"GET\",status=~\"2..\"}[5m])\n)",
        ),
    ] {
        let response = ask(&server, "format_query", expr);
        assert_eq!(response.json(), json!({"status": "success", "data": formatted}), "{expr}");
    }
    let posted = server.send("POST", "/api/prom/api/v1/format_query", &FORM, b"query=1%2B1");
    assert_eq!(posted.text(), r#"{"status":"success","data":"1 + 1"}"#);
    let broken = ask(&server, "format_query", "sum(");
    assert_eq!(
        (broken.status, broken.json()["error"].as_str()),
        (400, Some(r#"invalid parameter "query": 1:5: parse error: unclosed left parenthesis"#))
    );
}

fn tree(server: &Server, expr: &str) -> Value {
    let response = ask(server, "parse_query", expr);
    assert_eq!(response.status, 200, "{expr}: {}", response.text());
    response.json()["data"].clone()
}

fn selector(name: &str) -> Value {
    json!({
        "type": "vectorSelector", "name": name, "offset": 0, "offsetExpr": null,
        "matchers": [{"name": "__name__", "type": "=", "value": name}],
        "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
    })
}

// The shapes of Prometheus's `translate_ast.go`.
#[test]
fn an_expression_is_shown_as_a_tree() {
    let server = Server::start();
    assert_eq!(tree(&server, "1.5"), json!({"type": "numberLiteral", "val": "1.5"}));
    assert_eq!(tree(&server, "-Inf"), json!({"type": "numberLiteral", "val": "-Inf"}));
    assert_eq!(tree(&server, "'a<b'"), json!({"type": "stringLiteral", "val": "a<b"}));
    assert_eq!(tree(&server, "foo"), selector("foo"));
    assert_eq!(
        tree(&server, "-(foo)"),
        json!({"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": selector("foo")}})
    );
    let mut pinned = selector("foo");
    pinned["matchers"] = json!([
        {"name": "a", "type": "!~", "value": "b|c"},
        {"name": "__name__", "type": "=", "value": "foo"},
    ]);
    pinned["offset"] = json!(-1500);
    pinned["timestamp"] = json!(1_234_500);
    assert_eq!(tree(&server, "foo{a!~'b|c'} @ 1234.5 offset -1.5"), pinned);
    let mut window = selector("foo");
    window["type"] = json!("matrixSelector");
    window["range"] = json!(300_000);
    window["rangeExpr"] = Value::Null;
    window["startOrEnd"] = json!("end");
    assert_eq!(
        tree(&server, "rate(foo[5m] @ end())"),
        json!({
            "type": "call", "args": [window],
            "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
        })
    );
    assert_eq!(
        tree(&server, "topk without(a, b) (3, foo)"),
        json!({
            "type": "aggregation", "op": "topk", "grouping": ["a", "b"], "without": true,
            "param": {"type": "numberLiteral", "val": "3"}, "expr": selector("foo"),
        })
    );
    assert_eq!(
        tree(&server, "sum(foo)"),
        json!({
            "type": "aggregation", "op": "sum", "grouping": [], "without": false, "param": null,
            "expr": selector("foo"),
        })
    );
    assert_eq!(
        tree(&server, "foo > bool on (a) group_left (b) bar"),
        json!({
            "type": "binaryExpr", "op": ">", "bool": true, "lhs": selector("foo"), "rhs": selector("bar"),
            "matching": {
                "card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
                "fillValues": {"lhs": null, "rhs": null},
            },
        })
    );
    assert_eq!(
        tree(&server, "2 ^ foo"),
        json!({
            "type": "binaryExpr", "op": "^", "bool": false, "matching": null, "rhs": selector("foo"),
            "lhs": {"type": "numberLiteral", "val": "2"},
        })
    );
    assert_eq!(
        tree(&server, "label_join(foo, 'a', 'b', 'c')")["func"],
        json!({
            "name": "label_join", "argTypes": ["vector", "string", "string", "string"], "variadic": -1,
            "returnType": "vector",
        })
    );
    assert_eq!(
        tree(&server, "foo[10m:30s] offset 1m"),
        json!({
            "type": "subquery", "expr": selector("foo"), "range": 600_000, "rangeExpr": null,
            "step": 30_000, "stepExpr": null, "offset": 60_000, "offsetExpr": null, "timestamp": null,
            "startOrEnd": null,
        })
    );
}

#[test]
fn durations_that_must_be_computed_are_shown_as_trees() {
    let server = Server::start();
    let number =
        |val: &str, duration: bool| json!({"type": "numberLiteral", "val": val, "duration": duration});
    let operation = |op: &str, lhs: Value, rhs: Value, wrapped: bool| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": wrapped});
    let window = tree(&server, "foo[5m * (2 + step())]");
    assert_eq!(window["range"], 0);
    let sum = operation("+", number("2", false), operation("step", Value::Null, Value::Null, false), true);
    assert_eq!(window["rangeExpr"], operation("*", number("300", true), sum, false));
    let shifted = tree(&server, "foo offset -min_of(range(), 5)");
    let smaller =
        operation("min_of", operation("range", Value::Null, Value::Null, false), number("5", false), false);
    assert_eq!(shifted["offsetExpr"], operation("-", Value::Null, smaller, false));
}

#[test]
fn keys_of_a_tree_are_sorted_as_go_sorts_them() {
    let server = Server::start();
    assert_eq!(
        ask(&server, "parse_query", "sum(1 < bool 2)").json()["error"],
        r#"invalid parameter "query": 1:5: parse error: expected type instant vector in aggregation expression, got scalar"#
    );
    assert_eq!(
        ask(&server, "parse_query", "1 < bool 2").text(),
        concat!(
            r#"{"status":"success","data":{"bool":true,"lhs":{"type":"numberLiteral","val":"1"},"matching":null,"#,
            r#""op":"\u003c","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"}}"#
        )
    );
}

#[test]
fn exemplars_are_checked_as_prometheus_checks_them_and_there_are_none() {
    let server = Server::start();
    let get = |parameters: &str| server.get(&format!("/prometheus/api/v1/query_exemplars?{parameters}"));
    assert_eq!(get("query=up&start=0&end=1").text(), r#"{"status":"success","data":[]}"#);
    assert_eq!(get("query=rate(up[5m])").text(), r#"{"status":"success","data":[]}"#);
    // Grafana asks whether there are exemplars with milliseconds for seconds.
    assert_eq!(get("query=test&start=1763800000000&end=1763803600000").status, 200);
    let none = get("query=1");
    assert_eq!((none.status, none.text().as_str()), (204, ""));
    for (parameters, error) in [
        (
            "query=up&start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        (
            "query=up&end=x",
            r#"invalid parameter "end": invalid time value for 'end': cannot parse "x" to a valid timestamp"#,
        ),
        ("query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
        ("query=up%7B", "1:4: parse error: unexpected end of input inside braces"),
        ("", "unknown position: parse error: no expression found in input"),
    ] {
        let response = get(parameters);
        let expected = json!({"status": "error", "errorType": "bad_data", "error": error});
        assert_eq!((response.status, response.json()), (400, expected), "{parameters}");
    }
    let posted = server.send("POST", "/api/v1/query_exemplars", &FORM, b"query=up&start=0&end=1");
    assert_eq!(posted.status, 200);
}

#[test]
fn experimental_parts_are_switched_on_by_prometheus_names() {
    let off = Server::start();
    let error = ask(&off, "format_query", "limitk(1, up)").json()["error"].clone();
    assert_eq!(
        error,
        r#"invalid parameter "query": 1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions"#
    );
    let on = Server::start_with(
        &[
            "--enable-feature=promql-experimental-functions,promql-extended-range-selectors",
            "--enable-feature",
            "promql-binop-fill-modifiers",
        ],
        None,
    );
    for expr in ["limitk(1, up)", "rate(up[5m] anchored)", "a + fill (0) b"] {
        assert_eq!(ask(&off, "format_query", expr).status, 400, "{expr}");
        assert_eq!(ask(&on, "format_query", expr).status, 200, "{expr}");
    }
    // Part of the language in Prometheus 3, whatever the flags say.
    assert_eq!(ask(&off, "format_query", "up[5m + step()]").status, 200);
    let fill = tree(&on, "a + fill_right (1e-7) b");
    assert_eq!(fill["matching"]["fillValues"], json!({"lhs": null, "rhs": 1e-7}));
}
