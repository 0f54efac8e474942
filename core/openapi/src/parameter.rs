//! Parameters of operations in paths, queries and headers (OpenAPI 3.1, "Parameter Object"), and in which style each is written.

use serde_json::Value;

use crate::{
    document::{Document, shown},
    reason::Unfit,
    schema::{Converter, Detail, Stop},
    shape::{Shape, Types},
};

/// A parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Under which name an agent gives it.
    pub(crate) argument: String,
    /// Under which name the API has it.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) is_required: bool,
    pub(crate) style: Style,
    pub(crate) shape: Shape,
}

/// What a definition says of an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described<'d> {
    /// Its schema; `None`: any value.
    pub(crate) schema: Option<&'d Value>,
    /// What is said of it beside its schema.
    pub(crate) text: Option<&'d str>,
    pub(crate) is_deprecated: bool,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    /// As JSON.
    Json,
    /// `a,b`; an object as `k,v`, or exploded as `k=v`.
    Simple { explode: bool },
    /// `name=a,b`, or exploded `name=a&name=b`; an object exploded as `k=v&l=w`.
    Form { explode: bool },
    /// `name=a b` with that character between elements.
    Delimited(char),
    /// `name[k]=v`.
    DeepObject,
}

/// A parameter that no argument can be put into.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Whether the operation is nothing without it.
    pub(crate) is_required: bool,
    pub(crate) why: Unfit,
}

/// Room for what arguments are checked by, in bytes.
const SHAPE_BYTES_MAX: usize = 16 * 1024;

/// Headers that say how a message is framed, routed or spoken, or who sends it. These are the gateway's.
const OURS: [&str; 35] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-host",
    "true-client-ip",
];
const OURS_BEGIN: [&str; 5] = ["proxy-", "sec-", "x-forwarded-", "mcp-", "x-tollgate-"];

// === impl Parameter ===

impl Parameter {
    /// Reads a parameter object.
    pub(crate) fn read<'d>(document: &'d Document, value: &'d Value) -> Result<(Self, Described<'d>), Refused> {
        let refuse = |is_required, why| Refused { is_required, why };
        let value = document.resolved(value).map_err(|why| refuse(true, why))?;
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let is_true = |member: &str| value.get(member).and_then(Value::as_bool) == Some(true);
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            return Err(refuse(true, Unfit::Malformed("parameter without a name".into(), "a parameter")));
        };
        let is_required = is_true("required");
        let why = |why| refuse(is_required, Unfit::Parameter(shown(name), why));
        let place = match text("in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") if is_by_media(name) => {
                // OpenAPI ignores these itself, required or not.
                let ours = Unfit::Parameter(shown(name), "is a header that the gateway itself sets");
                return Err(refuse(false, ours));
            }
            Some("header") if !is_header(name) => return Err(why("is not the name of a header")),
            Some("header") if is_ours(name) => return Err(why("is a header that no argument may set")),
            Some("header") => Place::Header,
            Some("cookie") => return Err(why("is a cookie, and no argument may set one")),
            _ => return Err(why("is in no place that is known")),
        };
        let is_required = is_required || place == Place::Path;
        let (style, schema) = style(value, place).map_err(|why| {
            let why = Unfit::Parameter(shown(name), why);
            refuse(is_required, why)
        })?;
        let mut shape = shape(document, schema).map_err(|why| refuse(is_required, why))?;
        style.fit(&mut shape).map_err(|why| refuse(is_required, Unfit::Parameter(shown(name), why)))?;
        let described = Described { schema, text: text("description"), is_deprecated: is_true("deprecated") };
        let (argument, name) = (String::new(), name.to_owned());
        Ok((Self { argument, name, place, is_required, style, shape }, described))
    }
}

// === impl Place ===

impl Place {
    /// The word for it in OpenAPI.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

// === impl Style ===

impl Style {
    /// The style of that word in a query, or in a form that is a body; `None`: there is none.
    pub(crate) fn of_query(style: Option<&str>, explode: Option<bool>) -> Option<Self> {
        Some(match style {
            None | Some("form") => Self::Form { explode: explode.unwrap_or(true) },
            // Exploded, these are written like forms.
            Some("spaceDelimited" | "pipeDelimited") if explode == Some(true) => Self::Form { explode: true },
            Some("spaceDelimited") => Self::Delimited(' '),
            Some("pipeDelimited") => Self::Delimited('|'),
            Some("deepObject") => Self::DeepObject,
            Some(_) => return None,
        })
    }

    // Keeps of the types those that can be written.
    fn fit(self, shape: &mut Shape) -> Result<(), &'static str> {
        let (can, why) = match self {
            Self::Json => return Ok(()),
            Self::Simple { .. } | Self::Form { .. } => {
                (Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN).or(Types::ARRAY).or(Types::OBJECT), "has no type")
            }
            Self::Delimited(_) => (Types::ARRAY, "has a style that is for lists only"),
            Self::DeepObject => (Types::OBJECT, "has a style that is for objects only"),
        };
        shape.types = shape.types.and(can);
        if shape.types == Types::NONE {
            return Err(why);
        }
        shape.elements = shape.elements.primitive();
        if shape.types == Types::ARRAY && shape.elements == Types::NONE {
            return Err("is a list of lists or objects, for which no style says how it is written");
        }
        if self == (Self::Form { explode: true }) && shape.types == Types::OBJECT && shape.members.is_empty() {
            return Err("is an object of which each member would be a parameter, whatever its name");
        }
        Ok(())
    }
}

/// The shape that values of a schema have; without one, any.
pub(crate) fn shape(document: &Document, schema: Option<&Value>) -> Result<Shape, Unfit> {
    let Some(schema) = schema else { return Ok(Shape::any()) };
    match Converter::new(document, Detail::CHECKED, SHAPE_BYTES_MAX).schema(schema) {
        Ok(schema) => Ok(Shape::of(&schema)),
        Err(Stop::Unfit(why)) => Err(why),
        // What is as large as that is checked by the API alone.
        Err(Stop::Full) => Ok(Shape::any()),
    }
}

fn style(value: &Value, place: Place) -> Result<(Style, Option<&Value>), &'static str> {
    if let Some(content) = value.get("content") {
        let content = content.as_object().filter(|content| content.len() == 1);
        let (media, content) = content.and_then(|content| content.iter().next()).ok_or("has no one media type")?;
        let is_json = crate::body::is_json(media);
        return if is_json {
            Ok((Style::Json, content.get("schema")))
        } else {
            Err("is of a media type that is not JSON")
        };
    }
    let (style, explode) = (value.get("style").and_then(Value::as_str), value.get("explode").and_then(Value::as_bool));
    let written = match (place, style) {
        (Place::Query, style) => Style::of_query(style, explode),
        (Place::Path | Place::Header, None | Some("simple")) => {
            Some(Style::Simple { explode: explode.unwrap_or(false) })
        }
        _ => None,
    };
    Ok((written.ok_or("has a style that is not written here")?, value.get("schema")))
}

/// Whether a text is the name of a header (RFC 9110, section 5.1).
fn is_header(name: &str) -> bool {
    const BYTES_MAX: usize = 128;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_by_media(name: &str) -> bool {
    ["accept", "content-type", "authorization"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Whether a header is one that no argument sets. Some servers take an underscore for a hyphen.
pub(crate) fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    OURS.contains(&name.as_str()) || OURS_BEGIN.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(parameter: Value) -> Result<(Place, Style), String> {
        let document = Document::read(r#"{"openapi":"3.1.0"}"#).unwrap();
        match Parameter::read(&document, &parameter) {
            Ok((parameter, _)) => Ok((parameter.place, parameter.style)),
            Err(refused) => Err(refused.why.to_string()),
        }
    }

    #[test]
    fn a_style_is_that_of_the_description_or_of_its_place() {
        let object = json!({ "type": "object", "properties": { "a": {} } });
        for (parameter, expect) in [
            (json!({ "in": "path", "schema": {} }), (Place::Path, Style::Simple { explode: false })),
            (json!({ "in": "query", "schema": {} }), (Place::Query, Style::Form { explode: true })),
            (json!({ "in": "query", "explode": false, "schema": {} }), (Place::Query, Style::Form { explode: false })),
            (json!({ "in": "query", "style": "pipeDelimited", "schema": {} }), (Place::Query, Style::Delimited('|'))),
            (json!({ "in": "query", "style": "deepObject", "schema": object }), (Place::Query, Style::DeepObject)),
            (json!({ "in": "header", "schema": {} }), (Place::Header, Style::Simple { explode: false })),
            (json!({ "in": "query", "content": { "application/json": {} } }), (Place::Query, Style::Json)),
        ] {
            let mut parameter = parameter;
            parameter["name"] = "x".into();
            assert_eq!(read(parameter.clone()), Ok(expect), "{parameter}");
        }
    }

    #[test]
    fn no_argument_goes_where_only_the_gateway_writes() {
        for name in [
            "Host",
            "Authorization",
            "COOKIE",
            "Content-Length",
            "Transfer_Encoding",
            "Proxy-Authorization",
            "Connection",
            "X-Forwarded-For",
            "X_Forwarded_Host",
            "X-HTTP-Method-Override",
            "Mcp-Session-Id",
            "Sec-Fetch-Site",
            "a b",
            "x:y",
            "x\r\ny",
            "",
        ] {
            assert!(read(json!({ "name": name, "in": "header", "schema": {} })).is_err(), "{name}");
        }
        for parameter in [
            json!({ "in": "cookie", "schema": {} }),
            json!({ "in": "body", "schema": {} }),
            json!({ "schema": {} }),
            json!({ "in": "path", "style": "matrix", "schema": {} }),
            json!({ "in": "path", "style": "label", "schema": {} }),
            json!({ "in": "query", "content": { "text/xml": {} } }),
            json!({ "in": "query", "style": "deepObject", "schema": { "type": "array" } }),
            json!({ "in": "query", "schema": { "type": "object", "additionalProperties": true } }),
            json!({ "in": "query", "schema": { "type": "array", "items": { "type": "object" } } }),
        ] {
            let mut parameter = parameter;
            parameter["name"] = "x".into();
            assert!(read(parameter.clone()).is_err(), "{parameter}");
        }
    }
}
