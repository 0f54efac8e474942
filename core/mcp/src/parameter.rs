//! Arguments of tools that are repeated in headers (2026-07-28, Transports, "Custom Headers from Tool Parameters"): which a definition
//! names by `x-mcp-header`, and what they are for the arguments of a call.

use crate::{
    header,
    members::Members,
    route::{Headers, Refused},
    tree::Tree,
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
    /// It is compared as a number.
    is_integer: bool,
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
const BY_NAME: [&str; 4] = ["patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Members of a schema that are values and no schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

// === impl Parameters ===

impl Parameters {
    /// What the definition of a tool names.
    ///
    /// # Errors
    /// When it names a header as it may not.
    pub(crate) fn of_tool(definition: &Tree<'_>) -> Result<Self, InvalidParameter> {
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
                (Some(said), Some(meant)) if parameter.is_same(&header::decode(said)?, meant) => {}
                (said, _) => return Err(Refused::mismatch(&name, said, meant.as_deref())),
            }
        }
        Ok(())
    }

    /// Reads a schema. `path` leads to it; none: it cannot be reached in each call.
    fn read(&mut self, schema: &Tree<'_>, path: Option<&[&str]>) -> Result<(), InvalidParameter> {
        if let Tree::List(schemas) = schema {
            return schemas.iter().try_for_each(|schema| self.read(schema, None));
        }
        if let Some(annotation) = schema.get(ANNOTATION) {
            self.take(annotation, schema, path)?;
        }
        for (name, value) in schema.members() {
            match &**name {
                "properties" => {
                    for (property, schema) in value.members() {
                        let path = path.map(|path| [path, &[&**property]].concat());
                        self.read(schema, path.as_deref())?;
                    }
                }
                name if BY_NAME.contains(&name) => {
                    value.members().iter().try_for_each(|(_, schema)| self.read(schema, None))?;
                }
                name if VALUES.contains(&name) => {}
                _ => self.read(value, None)?,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        annotation: &Tree<'_>,
        schema: &Tree<'_>,
        path: Option<&[&str]>,
    ) -> Result<(), InvalidParameter> {
        let path = path.filter(|path| !path.is_empty()).ok_or(InvalidParameter::Unreachable)?;
        let is_name = |name: &&str| (1..=HEADER_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token);
        let header = annotation.as_text().filter(is_name).ok_or(InvalidParameter::Name)?;
        let is_integer = match schema.get("type").and_then(Tree::as_text) {
            Some("integer") => true,
            Some("string" | "boolean") => false,
            _ => return Err(InvalidParameter::Type),
        };
        if self.0.iter().any(|other| other.header.eq_ignore_ascii_case(header)) {
            return Err(InvalidParameter::Twice);
        }
        let path = path.iter().map(|&name| name.to_owned()).collect();
        self.0.push(Parameter { header: header.to_owned(), path, is_integer });
        Ok(())
    }
}

/// What a name of a header has (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
        match Tree::read(members.get(last)?.get())? {
            Tree::Text(text) => Some(text.into_owned()),
            Tree::Bool(value) => Some(value.to_string()),
            Tree::Number(number) => Some(number.into_owned()),
            Tree::Null | Tree::List(_) | Tree::Object(_) => None,
        }
    }

    /// Whether a header says what is meant. Integers are compared as numbers: `42.0` is `42`.
    fn is_same(&self, said: &str, meant: &str) -> bool {
        let whole = said.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|byte| byte == b'0'));
        said == meant || (self.is_integer && whole.is_some_and(|(whole, _)| whole == meant))
    }
}
