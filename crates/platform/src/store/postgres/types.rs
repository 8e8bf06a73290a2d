//! Values on PostgreSQL's wire.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::store::Value;

type WireError = Box<dyn std::error::Error + Sync + Send>;

fn mismatch(kind: &str, ty: &Type) -> WireError {
    format!("a parameter holds {kind} where {ty} is expected").into()
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, WireError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => int_to_sql(*number, ty, out),
            Self::Real(number) => match *ty {
                Type::FLOAT4 => (*number as f32).to_sql(ty, out),
                Type::FLOAT8 => number.to_sql(ty, out),
                _ => Err(mismatch("a real number", ty)),
            },
            Self::Bool(flag) if *ty == Type::BOOL => flag.to_sql(ty, out),
            Self::Bool(flag) => int_to_sql((*flag).into(), ty, out),
            Self::Text(text) if *ty == Type::JSON || *ty == Type::JSONB => {
                if *ty == Type::JSONB {
                    // The version of the binary format.
                    out.extend_from_slice(&[1]);
                }
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            Self::Text(text) if <&str as ToSql>::accepts(ty) => text.as_str().to_sql(ty, out),
            Self::Text(_) => Err(mismatch("text", ty)),
            Self::Blob(bytes) if *ty == Type::BYTEA => bytes.as_ref().to_sql(ty, out),
            Self::Blob(_) => Err(mismatch("bytes", ty)),
            Self::Array(values) if matches!(ty.kind(), Kind::Array(_)) => values.to_sql(ty, out),
            Self::Array(_) => Err(mismatch("an array", ty)),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn int_to_sql(number: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, WireError> {
    match *ty {
        Type::INT8 => number.to_sql(ty, out),
        Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
        Type::FLOAT8 => (number as f64).to_sql(ty, out),
        Type::BOOL if number == 0 || number == 1 => (number == 1).to_sql(ty, out),
        _ => Err(mismatch("an integer", ty)),
    }
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, WireError> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(ty, raw)?),
            Type::FLOAT4 => Self::Real(f32::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Bool(bool::from_sql(ty, raw)?),
            Type::BYTEA => Self::from(raw),
            Type::JSON => Self::Text(std::str::from_utf8(raw)?.to_owned()),
            Type::JSONB => Self::Text(std::str::from_utf8(raw.get(1..).unwrap_or_default())?.to_owned()),
            _ if <&str as FromSql<'_>>::accepts(ty) => Self::Text(<&str>::from_sql(ty, raw)?.to_owned()),
            _ => {
                return Err(
                    format!("a column is of type {ty}, which the store does not read: cast it").into()
                );
            }
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, WireError> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
