//! As much of JSON Schema as `openapi.json` uses, and nothing that it does not use goes by unseen.

use serde_json::{Map, Value};

/// What is wrong with a value, by this schema of that document; nothing if it is right.
pub fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return wrong(document, document.pointer(pointer).unwrap_or_else(|| panic!("{reference}")), value, at);
    }
    let fields = schema.as_object().unwrap();
    for key in fields.keys() {
        let known = ["type", "enum", "minimum", "maximum", "items", "properties", "required", "additionalProperties"];
        assert!(known.contains(&key.as_str()) || key == "description", "{at}: {key} is not looked at");
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            panic!("{at}: a schema without a type: {other}")
        }
    };
    if !types.contains(&kind(value)) {
        return Some(format!("{at}: {value} is not {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return Some(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    match value {
        Value::Array(values) => {
            let mut wrongs =
                values.iter().enumerate().map(|(i, v)| wrong(document, &schema["items"], v, &format!("{at}[{i}]")));
            wrongs.find_map(|wrong| wrong)
        }
        Value::Object(values) => object(document, fields, values, at),
        Value::Number(number) => {
            let (least, most) =
                (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64().unwrap_or(u64::MAX));
            let fits = number.as_u64().is_some_and(|number| (least..=most).contains(&number));
            (!fits).then(|| format!("{at}: {number} is out of range"))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn object(document: &Value, schema: &Map<String, Value>, values: &Map<String, Value>, at: &str) -> Option<String> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !values.contains_key(*name)) {
        return Some(format!("{at}.{missing} is not there"));
    }
    values.iter().find_map(|(name, value)| {
        let at = format!("{at}.{name}");
        match (schema.get("properties").and_then(|properties| properties.get(name)), &schema["additionalProperties"]) {
            (Some(schema), _) => wrong(document, schema, value, &at),
            (None, Value::Bool(false)) => Some(format!("{at} is not described")),
            (None, others) => wrong(document, others, value, &at),
        }
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
