//! Reading JSON with the place of everything in it, and without losing a key that stands twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Most of anything that is told of one document.
pub const MOST: usize = 32;

/// Reads a text. Keys that stand twice in one object are errors: which of the two was meant is not known.
///
/// # Errors
/// What is wrong, with line and column, or with its JSON path.
pub fn parse(text: &str) -> Result<Value, Vec<String>> {
    let (mut path, mut twice) = (String::from("$"), Vec::new());
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Seed { path: &mut path, twice: &mut twice };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Err(error) => Err(vec![format!("this is not JSON: {error}")]),
        Ok(_) if !twice.is_empty() => Err(twice),
        Ok(value) => Ok(value),
    }
}

/// The path one key further: `$.tags.customer`, or `$["a b"]` where it is no plain name.
#[must_use]
pub fn below(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if plain { format!("{path}.{key}") } else { format!("{path}[{}]", shown(&Value::from(key))) }
}

/// A value as a message shows it: on one line, and not at any length.
#[must_use]
pub fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.chars().count() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("{start:?}...")
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// A value to be read, at a path.
struct Seed<'a> {
    path: &'a mut String,
    twice: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Seed { path, twice } = self;
        let before = path.len();
        let mut list = Vec::new();
        loop {
            path.push_str(&format!("[{}]", list.len()));
            let next = items.next_element_seed(Seed { path: &mut *path, twice: &mut *twice });
            path.truncate(before);
            match next? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Seed { path, twice } = self;
        let before = path.len();
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            *path = below(path, &key);
            let value = entries.next_value_seed(Seed { path: &mut *path, twice: &mut *twice });
            if object.insert(key, value?).is_some() && twice.len() < MOST {
                twice.push(format!("{path} stands twice: remove one of the two"));
            }
            path.truncate(before);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_it_is() {
        let text = r#"{"a": [1, -2, 3.5, "x", null, true, {"b": {}}], "c d": 18446744073709551615}"#;
        assert_eq!(parse(text), Ok(serde_json::from_str(text).expect("JSON")));
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_its_place() {
        let told = parse(r#"{"a": [{"b c": 1, "b c": 2}], "a": 3, "d": {"e": 1}}"#).expect_err("twice");
        assert_eq!(
            told,
            [
                "$.a[0][\"b c\"] stands twice: remove one of the two",
                "$.a stands twice: remove one of the two"
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_told_and_nothing_breaks() {
        let deep = "[".repeat(100_000);
        let long = "x".repeat(10 << 20);
        for text in ["", "{", "{\"a\":1}x", "\u{0}", "1e999", "{\"a\":1,}", deep.as_str(), long.as_str()] {
            let told = parse(text).expect_err("no JSON");
            assert!(told.len() == 1 && told[0].starts_with("this is not JSON: "), "{told:?}");
            assert!(told[0].len() < 200, "{}", told[0].len());
        }
    }
}
