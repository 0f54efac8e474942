//! Arguments of tools that are repeated in headers (2026-07-28, Transports, "Custom Headers from Tool Parameters"): which a definition
//! names by `x-mcp-header`, and what they are for the arguments of a call.

use serde_json::{Map, Value};

use crate::{
    header,
    members::Members,
    route::{Headers, Refused},
};

/// The arguments of a tool that are repeated in headers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parameters(Vec<Parameter>);

/// An argument.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Parameter {
    /// Behind `Mcp-Param-`.
    header: String,
    /// The names of the members that lead to it.
    path: Vec<String>,
}

/// A definition names a header as it may not. A client that speaks streamable HTTP must not offer such a tool.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidParameter {
    /// It is no name of a header.
    #[error("an \"x-mcp-header\" must be a string of 1 to 64 characters that the name of a header may have")]
    Name,
    /// Two of them are the same header.
    #[error("two \"x-mcp-header\" of a tool must not be equal, whatever their letter case")]
    Twice,
    /// What stands there cannot be written into a header.
    #[error("an \"x-mcp-header\" may stand at a parameter of the type \"string\", \"integer\" or \"boolean\" only")]
    Type,
    /// What stands there is not there in each call.
    #[error("an \"x-mcp-header\" may be reached through \"properties\" only")]
    Unreachable,
}

/// How the header of an argument begins.
pub const PREFIX: &str = "Mcp-Param-";

/// The annotation.
const ANNOTATION: &str = "x-mcp-header";

/// The longest name of a header behind its prefix, in bytes.
const HEADER_BYTES_MAX: usize = 64;

/// Members of a schema whose members are schemas by name.
const BY_NAME: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Members of a schema that are values and no schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// The largest integer that is written into a header: that of JavaScript.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

// === impl Parameters ===

impl Parameters {
    /// What the definition of a tool names.
    ///
    /// # Errors
    /// When it names a header as it may not.
    pub(crate) fn of_tool(definition: &Value) -> Result<Self, InvalidParameter> {
        let mut found = Self::default();
        if let Some(schema) = definition.get("inputSchema") {
            found.read(schema, Some(&[]))?;
        }
        Ok(found)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers, with their values, of a call with these arguments. What is missing, null or no value of a primitive type has none.
    #[must_use]
    pub fn headers(&self, arguments: &Members<'_>) -> Vec<(String, String)> {
        let header = |parameter: &Parameter| {
            let value = parameter.value(arguments)?;
            Some((format!("{PREFIX}{}", parameter.header), header::encode(&value).into_owned()))
        };
        self.0.iter().filter_map(header).collect()
    }

    /// Compares the headers of a call with its arguments. Headers of other names are nobody's here, and are not looked at.
    ///
    /// # Errors
    /// When one says something else, is missing, or is there without an argument.
    pub fn check(&self, headers: &Headers<'_>, arguments: &Members<'_>) -> Result<(), Refused> {
        for parameter in &self.0 {
            let name = format!("{PREFIX}{}", parameter.header);
            let (said, meant) = (headers.parameter(&parameter.header), parameter.value(arguments));
            match (said, &meant) {
                (None, None) => {}
                (Some(said), Some(meant)) if is_same(&header::decode(said)?, meant) => {}
                (said, _) => return Err(Refused::mismatch(&name, said, meant.as_deref())),
            }
        }
        Ok(())
    }

    /// Reads a schema. `path` leads to it; none: it cannot be reached in each call.
    fn read(&mut self, schema: &Value, path: Option<&[&str]>) -> Result<(), InvalidParameter> {
        let Value::Object(members) = schema else {
            // A schema may be `true`; a list of schemas is reached through no `properties`.
            return schema.as_array().into_iter().flatten().try_for_each(|schema| self.read(schema, None));
        };
        if let Some(annotation) = members.get(ANNOTATION) {
            self.take(annotation, members, path)?;
        }
        for (name, value) in members {
            match (name.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    for (property, schema) in properties {
                        let path = path.map(|path| [path, &[property.as_str()]].concat());
                        self.read(schema, path.as_deref())?;
                    }
                }
                (name, Value::Object(schemas)) if BY_NAME.contains(&name) => {
                    schemas.values().try_for_each(|schema| self.read(schema, None))?;
                }
                (name, _) if VALUES.contains(&name) => {}
                (_, value) => self.read(value, None)?,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        annotation: &Value,
        schema: &Map<String, Value>,
        path: Option<&[&str]>,
    ) -> Result<(), InvalidParameter> {
        let path = path.filter(|path| !path.is_empty()).ok_or(InvalidParameter::Unreachable)?;
        let is_name = |name: &&str| (1..=HEADER_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token);
        let header = annotation.as_str().filter(is_name).ok_or(InvalidParameter::Name)?;
        match schema.get("type").and_then(Value::as_str) {
            Some("string" | "integer" | "boolean") => {}
            _ => return Err(InvalidParameter::Type),
        }
        if self.0.iter().any(|other| other.header.eq_ignore_ascii_case(header)) {
            return Err(InvalidParameter::Twice);
        }
        let path = path.iter().map(|&name| name.to_owned()).collect();
        self.0.push(Parameter { header: header.to_owned(), path });
        Ok(())
    }
}

/// What a name of a header has (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Integers are compared as numbers: `42.0` is `42`.
fn is_same(said: &str, meant: &str) -> bool {
    let whole = said.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|byte| byte == b'0'));
    said == meant || whole.is_some_and(|(whole, _)| whole == meant && meant.parse::<i64>().is_ok())
}

// === impl Parameter ===

impl Parameter {
    /// Its value in these arguments, as text.
    fn value(&self, arguments: &Members<'_>) -> Option<String> {
        let (last, above) = self.path.split_last()?;
        let mut members = arguments.clone();
        for name in above {
            members = members.object(name)?;
        }
        match serde_json::from_str(members.get(last)?.get()).ok()? {
            Value::String(text) => Some(text),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Some(number.to_string()),
                (_, Some(number)) if number.fract() == 0.0 && number.abs() <= INTEGER_MAX => {
                    Some(format!("{}", number as i64))
                }
                _ => Some(number.to_string()),
            },
            _ => None,
        }
    }
}
