//! YAML as a tree in which every key and value knows its place.
//!
//! The only file that knows the YAML library. Its own data model would do for values, but not for errors that name the
//! line of a misspelt key.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) tree: Tree,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// Nothing, `null` or `~`.
    Null,
    /// Text, a number or a truth value, as text.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) name: String,
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) problem: String,
}

/// Reads one document. An empty one is `Null`.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    // The library refuses a document without content.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { line: 1, column: 1, tree: Tree::Null });
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let text = error.without_snippet().to_string();
        // The place is named in front of the whole line.
        let first_line = text.lines().next().unwrap_or("invalid YAML");
        let problem = first_line.split(" at line ").next().unwrap_or(first_line).to_owned();
        YamlError { line, column, problem }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), column: referenced.column(), tree: value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), column: referenced.column(), name: value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = mapping.next_key::<Key>()? {
            entries.push((key, mapping.next_value()?));
        }
        Ok(Tree::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_place() {
        let node = parse("# hello\nhttp:\n  listen: 1.2.3.4:80\nlimits: {a: 5m, b: 1.5}\n").unwrap();
        let Tree::Mapping(top) = node.tree else { panic!("a mapping") };
        assert_eq!((top[0].0.name.as_str(), top[0].0.line, top[0].0.column), ("http", 2, 1));
        let Tree::Mapping(http) = &top[0].1.tree else { panic!("a mapping") };
        assert_eq!((http[0].0.line, http[0].0.column), (3, 3));
        assert_eq!((http[0].1.line, http[0].1.column), (3, 11));
        assert_eq!(http[0].1.tree, Tree::Scalar("1.2.3.4:80".to_owned()));
        let Tree::Mapping(limits) = &top[1].1.tree else { panic!("a mapping") };
        assert_eq!(limits[0].1.tree, Tree::Scalar("5m".to_owned()));
        assert_eq!((limits[1].0.name.as_str(), limits[1].0.column), ("b", 17));
        assert_eq!(limits[1].1.tree, Tree::Scalar("1.5".to_owned()));
    }

    #[test]
    fn scalars_lists_and_nothing_are_told_apart() {
        let tree = |text| parse(text).unwrap().tree;
        for nothing in ["", "\n# only a comment\n", "~", "null"] {
            assert_eq!(tree(nothing), Tree::Null, "{nothing:?}");
        }
        assert_eq!(tree("true"), Tree::Scalar("true".to_owned()));
        assert_eq!(tree("\"5\""), Tree::Scalar("5".to_owned()));
        assert_eq!(tree("104857600"), Tree::Scalar("104857600".to_owned()));
        let Tree::List(items) = tree("[1, x]") else { panic!("a list") };
        assert_eq!((items.len(), items[1].column, &items[1].tree), (2, 5, &Tree::Scalar("x".to_owned())));
        let Tree::Mapping(entries) = tree("123: x") else { panic!("a mapping") };
        assert_eq!(entries[0].0.name, "123");
    }

    #[test]
    fn broken_yaml_is_one_line_with_its_place() {
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\nb: 2\n", 2), ("a: }\n", 1)] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error:?}");
            assert!(!error.problem.is_empty() && !error.problem.contains('\n'), "{error:?}");
        }
    }
}
