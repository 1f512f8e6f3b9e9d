use serde_json::Value;

/// How JSON is laid out: Python's `json.dumps` arguments.
pub(crate) struct Indent<'a> {
    /// Spaces a level; none means one line.
    pub(crate) width: Option<usize>,
    /// Between items.
    pub(crate) item: &'a str,
    /// Between a key and its value.
    pub(crate) key: &'a str,
    /// Whether keys are sorted.
    pub(crate) sort_keys: bool,
}

/// JSON as Python writes it with `ensure_ascii=False`.
pub(crate) fn dump(value: &Value, indent: &Indent<'_>) -> String {
    let mut out = String::new();
    write(&mut out, value, indent, 0);
    out
}

fn write(out: &mut String, value: &Value, indent: &Indent<'_>, depth: usize) {
    match value {
        Value::Array(items) => write_block(out, ['[', ']'], items.iter(), indent, depth, |out, item| {
            write(out, item, indent, depth + 1);
        }),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            if indent.sort_keys {
                entries.sort_by_key(|(key, _)| key.as_str());
            }
            write_block(out, ['{', '}'], entries.into_iter(), indent, depth, |out, (key, item)| {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(indent.key);
                write(out, item, indent, depth + 1);
            });
        }
        Value::Number(number) if number.is_f64() => out.push_str(&float(number.as_f64().unwrap_or_default())),
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The shortest digits that give the number back, as Python's `repr` lays them out: with an exponent of two digits
/// below 0.0001 and from 1e16.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        -4..=15 => format!("{number:?}"),
        exponent => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

fn write_block<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    indent: &Indent<'_>,
    depth: usize,
    mut write_item: impl FnMut(&mut String, T),
) {
    let empty = items.len() == 0;
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = indent.width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(open);
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push_str(indent.item);
        }
        line(out, depth + 1);
        write_item(out, item);
    }
    if !empty {
        line(out, depth);
    }
    out.push(close);
}
