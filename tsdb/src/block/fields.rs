//! JSON objects that are rarely looked at, kept as their text.
//!
//! A node holds the descriptions of all blocks of many tenants. What a block says that it covers takes some 5 KB as a tree of
//! values, and 400 bytes as text.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A JSON object. Each look at it reads its text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(
    /// In order of names, so that equal objects are equal texts; `None`: there are no fields.
    Option<Box<str>>,
);

impl Fields {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them.
    pub fn to_map(&self) -> Map<String, Value> {
        self.read().unwrap_or_default()
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.to_map().remove(name)
    }

    /// The object as something else; `None` if it has another form, or there are no fields. What the type has no place for is passed
    /// over, and takes no memory.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.0.as_deref()?).ok()
    }

    /// Changes some of them.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
        let mut map = self.to_map();
        let changed = change(&mut map);
        *self = map.into();
        changed
    }

    /// Puts a field, in place of what had its name; gives that.
    pub fn insert(&mut self, name: &str, value: Value) -> Option<Value> {
        self.change(|map| map.insert(name.to_owned(), value))
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.change(|map| map.remove(name))
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Fields((!map.is_empty()).then(|| Value::Object(map).to_string().into()))
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Map::from_iter(fields).into()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("{}"))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_map().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Map::deserialize(from).map(Fields::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_what_was_put_and_an_object_without_any_takes_no_memory() {
        let mut fields: Fields = [("b".to_owned(), json!([1, {"x": null}]))].into_iter().collect();
        assert_eq!(fields.insert("a", json!("\"")), None);
        assert_eq!(fields.insert("b", json!(2.5)), Some(json!([1, {"x": null}])));
        assert_eq!(
            (fields.get("a"), fields.get("b"), fields.get("c")),
            (Some(json!("\"")), Some(json!(2.5)), None)
        );
        assert_eq!(serde_json::to_value(&fields).unwrap(), json!({"a": "\"", "b": 2.5}));
        assert_eq!(fields, serde_json::from_str(r#"{"b": 2.5, "a": "\u0022"}"#).unwrap());
        fields.remove("a");
        fields.remove("b");
        assert!(fields.is_empty() && fields == Fields::default());
    }

    #[test]
    fn an_object_is_read_as_what_it_is_and_as_nothing_else() {
        #[derive(Deserialize, PartialEq, Debug)]
        struct Version {
            version: u64,
        }
        let fields: Fields = serde_json::from_str(r#"{"version": 3, "more": [{}]}"#).unwrap();
        assert_eq!(fields.read(), Some(Version { version: 3 }));
        let fields: Fields = serde_json::from_str(r#"{"version": "3"}"#).unwrap();
        assert_eq!(fields.read::<Version>(), None);
        assert_eq!(Fields::default().read::<Version>(), None);
    }
}
