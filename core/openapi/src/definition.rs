//! The definition of a tool, as `tools/list` has it (Model Context Protocol, "Tools").
//!
//! It says which request is made, so that another one is another definition, which has to be approved anew. It has no `outputSchema`: clients
//! refuse a result that does not follow it, and what APIs answer often does not follow their descriptions.

use serde_json::{Map, Value, json};

use crate::{
    document::Document,
    operation::{BODY, Draft},
    parameter::{Described, Parameter},
    schema::{Converter, Detail, Stop, bounded},
};

/// The longest definition, in bytes: as long as the control plane takes one to be approved.
pub const TOOL_BYTES_MAX: usize = 64 * 1024;
/// The longest summary and the longest description of an operation, in characters.
const SUMMARY_CHARACTERS_MAX: usize = 300;
const DESCRIPTION_CHARACTERS_MAX: usize = 4_000;

impl<'d> Draft<'d> {
    /// The definition under a name, as JSON.
    ///
    /// # Errors
    /// When a reference leads nowhere, or the definition would be too long at that detail.
    pub(crate) fn definition(&self, document: &'d Document, name: &str, detail: Detail) -> Result<String, Stop> {
        let mut converter = Converter::new(document, detail, TOOL_BYTES_MAX);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for (parameter, described) in self.operation.parameters.iter().zip(&self.described) {
            let schema = argument(&mut converter, described, detail, sent_as(parameter))?;
            properties.insert(parameter.argument.clone(), schema);
            if parameter.is_required {
                required.push(parameter.argument.as_str());
            }
        }
        if let (Some(body), Some(described)) = (&self.operation.body, &self.body) {
            properties.insert(BODY.into(), argument(&mut converter, described, detail, None)?);
            if body.is_required {
                required.push(BODY);
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let (Value::Object(schema), false) = (&mut schema, required.is_empty()) {
            schema.insert("required".into(), required.into());
        }
        let definition = json!({
            "name": name,
            "description": self.described_as(),
            "inputSchema": schema,
            "annotations": annotations(self.operation.method),
        });
        let definition = definition.to_string();
        if definition.len() > TOOL_BYTES_MAX { Err(Stop::Full) } else { Ok(definition) }
    }

    fn described_as(&self) -> String {
        let summary = self.summary.map(|text| bounded(text, SUMMARY_CHARACTERS_MAX));
        let text = self.text.map(|text| bounded(text, DESCRIPTION_CHARACTERS_MAX));
        let text = text.filter(|text| summary.as_ref() != Some(text));
        let deprecated = self.is_deprecated.then(|| "Deprecated.".to_owned());
        let request = format!("{} {}", self.operation.method, self.path);
        [summary, text, deprecated, Some(request)].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }
}

fn argument<'d>(
    converter: &mut Converter<'d>,
    described: &Described<'d>,
    detail: Detail,
    sent_as: Option<String>,
) -> Result<Value, Stop> {
    let mut schema = match described.schema.map(|schema| converter.schema(schema)).transpose()? {
        Some(Value::Object(schema)) => schema,
        // A schema without a word admits every value; one that admits none is for nobody to fill.
        Some(Value::Bool(false)) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    let text = described.text.filter(|_| detail.text > 0).map(|text| bounded(text, detail.text));
    let own = schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let said: Vec<String> = [text.filter(|text| !text.is_empty()).or(own), sent_as].into_iter().flatten().collect();
    if !said.is_empty() {
        schema.insert("description".into(), said.join(" ").into());
    }
    if described.is_deprecated {
        schema.insert("deprecated".into(), true.into());
    }
    Ok(Value::Object(schema))
}

// A model that knows the API knows the parameter by its own name.
fn sent_as(parameter: &Parameter) -> Option<String> {
    (parameter.argument != parameter.name).then(|| format!("({:?} in the {})", parameter.name, parameter.place.word()))
}

fn annotations(method: &str) -> Value {
    match method {
        "GET" | "HEAD" | "OPTIONS" => json!({ "readOnlyHint": true }),
        "PUT" => json!({ "readOnlyHint": false, "idempotentHint": true }),
        "DELETE" => json!({ "readOnlyHint": false, "destructiveHint": true, "idempotentHint": true }),
        _ => json!({ "readOnlyHint": false }),
    }
}
