//! An operation: a method of a path, with its parameters and its body (OpenAPI 3.1, "Operation Object").
//!
//! Parameters are arguments side by side, and the body is one argument of its own, `body`, rather than spread out among them: a body may be a
//! list or an alternative, its members may be called like parameters, and a model finds in it what the API's documentation shows. An
//! alternative at the top of a tool's schema is what some models' APIs refuse.

use serde_json::Value;

use crate::{
    body::Body,
    document::{Document, shown},
    name,
    parameter::{Described, Parameter, Place, Style},
    reason::{LeftOut, Unfit},
    shape::Types,
    template::Template,
};

/// The argument that is the body.
pub(crate) const BODY: &str = "body";
/// The most parameters of one operation.
const PARAMETERS_MAX: usize = 128;

/// A request that can be made.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) template: Template,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Body>,
}

/// An operation with what its definition says of it.
#[derive(Debug)]
pub(crate) struct Draft<'d> {
    pub(crate) operation: Operation,
    /// As the description has it.
    pub(crate) path: &'d str,
    /// The name that it gives itself.
    pub(crate) id: Option<&'d str>,
    pub(crate) summary: Option<&'d str>,
    pub(crate) text: Option<&'d str>,
    pub(crate) is_deprecated: bool,
    /// One for each parameter.
    pub(crate) described: Vec<Described<'d>>,
    pub(crate) body: Option<Described<'d>>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'d> {
    pub(crate) method: &'static str,
    pub(crate) path: &'d str,
    /// What holds for all operations of the path.
    pub(crate) item: &'d Value,
    pub(crate) value: &'d Value,
}

/// The members of a path that are operations.
pub(crate) const METHODS: [(&str, &str); 8] = [
    ("get", "GET"),
    ("put", "PUT"),
    ("post", "POST"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
    ("trace", "TRACE"),
];

// === impl Entry ===

impl Entry<'_> {
    /// How it is told apart in sentences.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, shown(self.path))
    }
}

// === impl Draft ===

impl<'d> Draft<'d> {
    /// Reads an operation. What it is a tool without, goes to `left_out`.
    ///
    /// # Errors
    /// Says why it cannot be a tool.
    pub(crate) fn read(document: &'d Document, entry: Entry<'d>, left_out: &mut Vec<LeftOut>) -> Result<Self, Unfit> {
        let Entry { method, path, item, value } = entry;
        if !value.is_object() {
            return Err(Unfit::Malformed("operation".into(), "an object"));
        }
        // It answers with the headers of the request, and so with what the gateway shows.
        if method == "TRACE" {
            return Err(Unfit::Method(method));
        }
        let template = Template::read(path)?;
        let mut without = |part: String, why| left_out.push(LeftOut { what: format!("{}, {part}", entry.what()), why });
        for name in value.get("callbacks").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name) {
            without(format!("callback {:?}", shown(name)), Unfit::Reverse);
        }
        let (parameters, described) = parameters(document, item, value, &template, &mut without)?;
        let mut body = None;
        if let Some(given) = value.get("requestBody") {
            if matches!(method, "GET" | "HEAD") {
                without("body".into(), Unfit::Body(method));
            } else {
                body = Some(Body::read(document, given)?);
            }
        }
        let (body, body_described) = body.map_or((None, None), |(body, described)| (Some(body), Some(described)));
        let mut operation = Operation { method, template, parameters, body };
        let mut described = described;
        operation.name_arguments(&mut described, &mut without)?;
        let text = |member: &str| value.get(member).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        Ok(Self {
            operation,
            path,
            id: text("operationId"),
            summary: text("summary"),
            text: text("description"),
            is_deprecated: value.get("deprecated").and_then(Value::as_bool) == Some(true),
            described,
            body: body_described,
        })
    }
}

// === impl Operation ===

impl Operation {
    // Gives each parameter a name among the arguments, with its place before it where it would not be alone with its own.
    fn name_arguments(
        &mut self,
        described: &mut Vec<Described<'_>>,
        without: &mut impl FnMut(String, Unfit),
    ) -> Result<(), Unfit> {
        let plain: Vec<Option<String>> =
            self.parameters.iter().map(|parameter| name::of_parameter(&parameter.name)).collect();
        for (parameter, own) in self.parameters.iter_mut().zip(&plain) {
            let is_body = self.body.is_some() && own.as_deref() == Some(BODY);
            let is_alone = plain.iter().filter(|other| *other == own).count() == 1;
            parameter.argument = match own {
                Some(own) if is_alone && !is_body => own.clone(),
                _ => name::of_place(parameter.place.word(), &parameter.name).unwrap_or_default(),
            };
        }
        let all: Vec<String> = self.parameters.iter().map(|parameter| parameter.argument.clone()).collect();
        let is_clear = |argument: &str| all.iter().filter(|other| *other == argument).count() == 1;
        let mut kept = Vec::new();
        for (parameter, described) in std::mem::take(&mut self.parameters).into_iter().zip(std::mem::take(described)) {
            if is_clear(&parameter.argument) {
                kept.push((parameter, described));
                continue;
            }
            let why = Unfit::Parameter(shown(&parameter.name), "has a name that cannot be told from that of another");
            if parameter.is_required {
                return Err(why);
            }
            without("in part".into(), why);
        }
        (self.parameters, *described) = kept.into_iter().unzip();
        Ok(())
    }
}

// Those of the path, and those of the operation, which take their place.
fn parameters<'d>(
    document: &'d Document,
    item: &'d Value,
    value: &'d Value,
    template: &Template,
    without: &mut impl FnMut(String, Unfit),
) -> Result<(Vec<Parameter>, Vec<Described<'d>>), Unfit> {
    let mut found: Vec<(Identity, &'d Value)> = Vec::new();
    for (at, owner) in [item, value].into_iter().enumerate() {
        let listed = match owner.get("parameters") {
            None => continue,
            Some(Value::Array(listed)) if listed.len() <= PARAMETERS_MAX => listed,
            Some(_) => return Err(Unfit::Malformed("parameters".into(), "a list of at most 128")),
        };
        for parameter in listed {
            let identity = Identity::of(document.resolved(parameter)?, at);
            if found.iter().any(|(other, _)| *other == identity) {
                return Err(Unfit::Parameter(shown(&identity.name), "is declared twice"));
            }
            found.retain(|(other, _)| !other.is_replaced_by(&identity));
            found.push((identity, parameter));
        }
    }
    let (mut parameters, mut described) = (Vec::new(), Vec::new());
    for (_, parameter) in found {
        match Parameter::read(document, parameter) {
            Ok((parameter, said)) => {
                parameters.push(parameter);
                described.push(said);
            }
            Err(refused) if refused.is_required => return Err(refused.why),
            Err(refused) => without("in part".into(), refused.why),
        }
    }
    check(&parameters, template)?;
    Ok((parameters, described))
}

// What a parameter is told apart by.
#[derive(Debug, Eq, PartialEq)]
struct Identity {
    name: String,
    place: String,
    level: usize,
}

impl Identity {
    fn of(parameter: &Value, level: usize) -> Self {
        let text = |member| parameter.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, place) = (text("name"), text("in"));
        let name = if place == "header" { name.to_ascii_lowercase() } else { name };
        Self { name, place, level }
    }

    fn is_replaced_by(&self, other: &Self) -> bool {
        self.name == other.name && self.place == other.place && self.level < other.level
    }
}

// Each name in the path has its parameter, and nothing that is written into the query can be taken for something else.
fn check(parameters: &[Parameter], template: &Template) -> Result<(), Unfit> {
    let in_path = |name: &str| parameters.iter().any(|one| one.place == Place::Path && one.name == name);
    if let Some(name) = template.names().find(|name| !in_path(name)) {
        return Err(Unfit::Parameter(shown(name), "stands in the path, and is not declared"));
    }
    for one in parameters {
        let refuse = |why| Err(Unfit::Parameter(shown(&one.name), why));
        if one.place == Place::Path && !template.names().any(|name| name == one.name) {
            return refuse("is declared for the path, and does not stand in it");
        }
        let is_spread = one.style == (Style::Form { explode: true }) && one.shape.types.meet(Types::OBJECT);
        let others = parameters.iter().filter(|other| other.place == one.place && other.name != one.name);
        let is_taken = |other: &Parameter| {
            let is_spread = other.style == (Style::Form { explode: true }) && other.shape.types.meet(Types::OBJECT);
            one.shape.members.contains_key(&other.name)
                || (is_spread && one.shape.members.keys().any(|member| other.shape.members.contains_key(member)))
        };
        if is_spread && one.place == Place::Query && others.into_iter().any(is_taken) {
            return refuse("has members that are parameters as well");
        }
    }
    Ok(())
}
