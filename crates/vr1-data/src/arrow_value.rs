//! A value of a column as JSON. Bytes become a data URI, so that whoever reads rows meets pictures in one form.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::DataType;
use serde_json::{Number, Value};

use crate::encoded::data_uri;

/// Whether a column holds bytes.
pub(crate) fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::FixedSizeBinary(_))
}

/// Whether [`value`] knows a type, and what is in it.
pub(crate) fn is_readable(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::List(item) | T::FixedSizeList(item, _) | T::Map(item, _) => is_readable(item.data_type()),
        T::Struct(fields) => fields.iter().all(|field| is_readable(field.data_type())),
        T::Null | T::Boolean | T::Utf8 | T::Binary | T::FixedSizeBinary(_) => true,
        T::Float32 | T::Float64 => true,
        other => other.is_integer(),
    }
}

/// The value in `row` of a column. Numbers that JSON has none for are null.
pub(crate) fn value(column: &ArrayRef, row: usize) -> Result<Value, String> {
    use DataType as T;
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    Ok(match column.data_type() {
        T::Null => Value::Null,
        T::Boolean => column.as_boolean().value(row).into(),
        T::Int8 => number::<Int8Type>(column, row),
        T::Int16 => number::<Int16Type>(column, row),
        T::Int32 => number::<Int32Type>(column, row),
        T::Int64 => number::<Int64Type>(column, row),
        T::UInt8 => number::<UInt8Type>(column, row),
        T::UInt16 => number::<UInt16Type>(column, row),
        T::UInt32 => number::<UInt32Type>(column, row),
        T::UInt64 => number::<UInt64Type>(column, row),
        T::Float32 => shortest(column.as_primitive::<Float32Type>().value(row)),
        T::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        T::Utf8 => column.as_string::<i32>().value(row).into(),
        T::Binary => bytes(column.as_binary::<i32>().value(row)),
        T::FixedSizeBinary(_) => bytes(column.as_fixed_size_binary().value(row)),
        T::List(_) => items(&column.as_list::<i32>().value(row))?,
        T::FixedSizeList(..) => items(&column.as_fixed_size_list().value(row))?,
        T::Map(..) => items(&(std::sync::Arc::new(column.as_map().value(row)) as ArrayRef))?,
        T::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let read = |(field, column): (&arrow_schema::FieldRef, &ArrayRef)| {
                let stored = field.name() == "bytes" && *field.data_type() == T::Binary && column.is_valid(row);
                let read = if stored {
                    data_uri("", column.as_binary::<i32>().value(row)).into()
                } else {
                    value(column, row)?
                };
                Ok((field.name().clone(), read))
            };
            Value::Object(columns.map(read).collect::<Result<_, String>>()?)
        }
        other => return Err(format!("{other} is not read")),
    })
}

fn items(list: &ArrayRef) -> Result<Value, String> {
    (0..list.len()).map(|item| value(list, item)).collect::<Result<_, _>>().map(Value::Array)
}

fn number<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> Value
where
    Value: From<T::Native>,
{
    column.as_primitive::<T>().value(row).into()
}

/// A number with as few digits as tell it from others of its kind: 0.1, and not 0.10000000149011612.
fn shortest(number: f32) -> Value {
    let number = number.to_string().parse().ok().and_then(Number::from_f64);
    number.map_or(Value::Null, Value::Number)
}

/// Bytes that are text are text, for not every writer says so; but under `bytes` stands what `datasets` takes for a file.
fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !crate::encoded::begins_as_picture(bytes) => text.into(),
        _ => data_uri("", bytes).into(),
    }
}
