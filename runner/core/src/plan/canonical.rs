//! The bytes that a plan's digest is made of: JSON as RFC 8785 wants it.
//!
//! Every run writes them once, so they are written in one pass: records have their members in order already, the
//! members of values are put in order where they stand, and numbers are written as ECMAScript writes them. A general
//! canonicalizer reads its own output again for every member; the tests hold this one against it.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;

/// The RFC 8785 bytes of a record whose members stand in the order of their names, with [`Sorted`] around every value.
pub(super) fn bytes<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, EcmaScript);
    record.serialize(&mut serializer).expect("records and values have a JSON form");
    bytes
}

/// A value, its members in the order of their names.
pub(super) struct Sorted<'a>(pub(super) &'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by(|(one, _), (other, _)| by_units(one, other));
                serializer.collect_map(members.into_iter().map(|(name, value)| (name, Sorted(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

/// The order of names: that of their UTF-16 code units.
fn by_units(one: &str, other: &str) -> std::cmp::Ordering {
    if one.is_ascii() && other.is_ascii() {
        return one.cmp(other);
    }
    one.encode_utf16().cmp(other.encode_utf16())
}

/// Writes every number as a double, the way that ECMAScript does.
struct EcmaScript;

impl Formatter for EcmaScript {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format(value).as_bytes())
    }

    #[expect(clippy::cast_precision_loss, reason = "RFC 8785 knows no other numbers")]
    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.write_f64(writer, value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "RFC 8785 knows no other numbers")]
    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.write_f64(writer, value as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-1000i64..1000).prop_map(Value::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            any::<String>().prop_map(Value::from),
        ];
        // Names of both sides of the surrogates, where the order of code units is not that of code points.
        let name =
            prop_oneof![any::<String>(), "[a-c\u{e000}-\u{e001}\u{1f600}-\u{1f601}\u{7f}\"\n\u{1}]{0,3}"];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_a_general_canonicalizer(value in any_value()) {
            let general = serde_json_canonicalizer::to_vec(&value).unwrap();
            prop_assert_eq!(String::from_utf8(bytes(&Sorted(&value))).unwrap(), String::from_utf8(general).unwrap());
        }
    }
}
