//! Values that go into statements and come out of rows.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::StoreError;
use crate::identity::Tenant;

/// One value as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number; also a time in milliseconds since 1970.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// A flag. SQLite gives it back as [`Value::Int`].
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Bytes),
    /// The values of many rows, for PostgreSQL: see [`Transaction::execute_each`](super::Transaction::execute_each).
    Array(Vec<Self>),
}

/// The parameters of a statement: the first is `?1`.
pub type Params = Vec<Value>;

/// The parameters of a statement from anything that converts into [`Value`](crate::store::Value): `params![id, 5, name]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::Value::from($value)),*]
    };
}

impl Value {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Int(_) => "integer",
            Self::Real(_) => "real",
            Self::Bool(_) => "boolean",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
            Self::Array(_) => "array",
        }
    }
}

macro_rules! from {
    ($($source:ty => $convert:expr),* $(,)?) => {
        $(impl From<$source> for Value {
            fn from(source: $source) -> Self {
                let convert: fn($source) -> Self = $convert;
                convert(source)
            }
        })*
    };
}

from! {
    i64 => Self::Int,
    i32 => |number| Self::Int(number.into()),
    u32 => |number| Self::Int(number.into()),
    u16 => |number| Self::Int(number.into()),
    u8 => |number| Self::Int(number.into()),
    f64 => Self::Real,
    bool => Self::Bool,
    String => Self::Text,
    &String => |text| Self::Text(text.clone()),
    Bytes => Self::Blob,
    Vec<u8> => |bytes| Self::Blob(bytes.into()),
    Timestamp => |moment| Self::Int(moment.as_millisecond()),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(Bytes::copy_from_slice(bytes))
    }
}

impl From<&Tenant> for Value {
    fn from(tenant: &Tenant) -> Self {
        Self::Text(tenant.as_str().to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// PostgreSQL has no text with a NUL in it; what one engine cannot keep the other must not either.
pub(super) fn refuse_nul(params: &Params) -> Result<(), StoreError> {
    fn has_nul(value: &Value) -> bool {
        match value {
            Value::Text(text) => text.as_bytes().contains(&0),
            Value::Array(values) => values.iter().any(has_nul),
            _ => false,
        }
    }
    match params.iter().position(has_nul) {
        Some(position) => Err(StoreError::Nul(position + 1)),
        None => Ok(()),
    }
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// What it is read from, for the error that says it was something else.
    const EXPECTED: &'static str;

    /// The value as this type, `None` if it is another kind or out of range.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    const EXPECTED: &'static str = "integer";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }
}

macro_rules! from_integer {
    ($($target:ty),*) => {
        $(impl FromValue for $target {
            const EXPECTED: &'static str = concat!("integer within ", stringify!($target));

            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value).and_then(|number| Self::try_from(number).ok())
            }
        })*
    };
}

from_integer!(i32, u8, u16, u32, u64, usize);

impl FromValue for f64 {
    const EXPECTED: &'static str = "real";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Real(number) => Some(*number),
            Value::Int(number) => Some(*number as Self),
            _ => None,
        }
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "boolean";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for Bytes {
    const EXPECTED: &'static str = "bytes";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &'static str = "bytes";

    fn from_value(value: &Value) -> Option<Self> {
        Bytes::from_value(value).map(Self::from)
    }
}

impl FromValue for Timestamp {
    const EXPECTED: &'static str = "milliseconds since 1970";

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(|millis| Self::from_millisecond(millis).ok())
    }
}

impl FromValue for Value {
    const EXPECTED: &'static str = "anything";

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// One row of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Arc<[Box<str>]>,
    values: Vec<Value>,
}

/// Names a column: by its position from 0, or by its name.
pub trait ColumnIndex: std::fmt::Display + Copy {
    /// The position among the columns, if there is such a column.
    fn position(&self, columns: &[Box<str>]) -> Option<usize>;
}

impl ColumnIndex for usize {
    fn position(&self, columns: &[Box<str>]) -> Option<usize> {
        (*self < columns.len()).then_some(*self)
    }
}

impl ColumnIndex for &str {
    fn position(&self, columns: &[Box<str>]) -> Option<usize> {
        columns.iter().position(|column| **column == **self)
    }
}

impl Row {
    pub(super) fn new(columns: Arc<[Box<str>]>, values: Vec<Value>) -> Self {
        debug_assert_eq!(columns.len(), values.len());
        Self { columns, values }
    }

    /// A column's value; [`StoreError::Column`] if there is no such column or it holds something else.
    pub fn get<T: FromValue>(&self, column: impl ColumnIndex) -> Result<T, StoreError> {
        let error = |found| StoreError::Column { column: column.to_string(), expected: T::EXPECTED, found };
        let value = column
            .position(&self.columns)
            .and_then(|position| self.values.get(position))
            .ok_or_else(|| error("no such column"))?;
        T::from_value(value).ok_or_else(|| error(value.kind()))
    }
}
