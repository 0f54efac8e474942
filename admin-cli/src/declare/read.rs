//! Reads a declarative file. Every mistake is reported, with its line, and nothing is ignored.

mod access;
mod fields;
mod guardrail;
mod mcp;
mod provider;
mod quota;
mod route;

use std::collections::BTreeMap;

use super::{
    document::{
        Customer, Document, Dollars, Expires, Key, Kind, LongContext, Model, Rates, Secret, Team, Tier, ToolRule, User,
    },
    tree::{self, Mistake, Node, Place, Value},
};
use crate::literals::{self, Tag};
use fields::Fields;
use quota::quota;

/// The most tags of a key.
const TAGS_MAX: usize = 32;

/// Reads the documents of a text into one.
///
/// # Errors
/// Every mistake, in the order of the text.
pub(crate) fn read(text: &str) -> Result<Document, Vec<Mistake>> {
    let trees = tree::parse(text).map_err(|mistake| vec![mistake])?;
    let mut mistakes = Vec::new();
    let mut document = Document::default();
    for tree in &trees {
        add(&mut document, tree, &mut mistakes);
    }
    repeated(&document, &mut mistakes);
    mistakes.sort();
    if mistakes.is_empty() { Ok(document) } else { Err(mistakes) }
}

fn add(document: &mut Document, tree: &Node, mistakes: &mut Vec<Mistake>) {
    let Some(mut fields) = Fields::open(tree, "", mistakes) else { return };
    document.customers.extend(section(&mut fields, Kind::Customer, &mut document.sections, customer));
    document.teams.extend(section(&mut fields, Kind::Team, &mut document.sections, team));
    document.users.extend(section(&mut fields, Kind::User, &mut document.sections, user));
    document.keys.extend(section(&mut fields, Kind::Key, &mut document.sections, key));
    document.providers.extend(section(&mut fields, Kind::Provider, &mut document.sections, provider::provider));
    document.routes.extend(section(&mut fields, Kind::Route, &mut document.sections, route::route));
    document.guardrails.extend(section(&mut fields, Kind::Guardrail, &mut document.sections, guardrail::guardrail));
    document.mcp_servers.extend(section(&mut fields, Kind::McpServer, &mut document.sections, mcp::server));
    document.roles.extend(section(&mut fields, Kind::Role, &mut document.sections, access::role));
    document.service_accounts.extend(section(
        &mut fields,
        Kind::ServiceAccount,
        &mut document.sections,
        access::service_account,
    ));
    document.bindings.extend(section(&mut fields, Kind::Binding, &mut document.sections, access::binding));
    document.models.extend(section(&mut fields, Kind::Model, &mut document.sections, model));
    fields.close();
}

fn section<T>(
    fields: &mut Fields<'_, '_>,
    kind: Kind,
    sections: &mut Vec<Kind>,
    read: fn(Fields<'_, '_>) -> T,
) -> Vec<T> {
    let Some(items) = fields.tables(kind.section(), read) else { return Vec::new() };
    if !sections.contains(&kind) {
        sections.push(kind);
    }
    items
}

fn customer(mut fields: Fields<'_, '_>) -> Customer {
    let customer = Customer {
        place: fields.place(),
        name: name(&mut fields),
        display_name: fields.text("display_name"),
        disabled: fields.boolean("disabled"),
        quota: quota(&mut fields),
    };
    fields.close();
    customer
}

fn team(mut fields: Fields<'_, '_>) -> Team {
    let team = Team {
        place: fields.place(),
        name: name(&mut fields),
        customer: fields.parsed("customer", literals::reference),
        display_name: fields.text("display_name"),
        disabled: fields.boolean("disabled"),
        quota: quota(&mut fields),
        self_service: access::self_service(&mut fields),
        providers: fields.list("providers", literals::reference),
        regions: fields.list("regions", literals::pattern),
    };
    fields.close();
    team
}

fn user(mut fields: Fields<'_, '_>) -> User {
    let user = User {
        place: fields.place(),
        name: name(&mut fields),
        email: fields.text("email"),
        display_name: fields.text("display_name"),
        team: fields.parsed("team", reference_or_none),
        disabled: fields.boolean("disabled"),
        quota: quota(&mut fields),
    };
    fields.close();
    user
}

fn key(mut fields: Fields<'_, '_>) -> Key {
    let key = Key {
        place: fields.place(),
        name: name(&mut fields),
        team: fields.parsed("team", literals::reference),
        user: fields.parsed("user", reference_or_none),
        display_name: fields.text("display_name"),
        models: fields.list("models", literals::pattern),
        providers: fields.list("providers", literals::reference),
        credentials: fields.list("credentials", literals::reference),
        regions: fields.list("regions", literals::pattern),
        tools: fields.list("tools", literals::mcp::access),
        tool_rules: fields.tables("tool_rules", tool_rule),
        expires: fields.parsed("expires", expires),
        tags: tags(&mut fields),
        audit: fields.parsed("audit", literals::audit::audit),
        revoked: fields.boolean("revoked"),
        quota: quota(&mut fields),
    };
    fields.close();
    key
}

fn tool_rule(mut fields: Fields<'_, '_>) -> ToolRule {
    let rule = ToolRule {
        tools: fields.required("tools", literals::mcp::ruled).unwrap_or_default(),
        when: fields.required("when", literals::mcp::call_rule).unwrap_or_default(),
    };
    fields.close();
    rule
}

fn model(mut fields: Fields<'_, '_>) -> Model {
    let model = Model {
        place: fields.place(),
        name: fields.required("model", literals::model).unwrap_or_default(),
        rates: rates(&mut fields),
        web_search: fields.scalar("web_search", dollars),
        long_context: fields.one_of("long_context", "none", tier).map(|tier| tier.map_or(Tier::None, Tier::Above)),
        context_window: fields.integer("context_window", 0, i64::MAX),
        max_output: fields.integer("max_output", 0, i64::MAX),
        display_name: fields.text("display_name"),
        aliases: fields.list("aliases", literals::pattern),
    };
    fields.close();
    model
}

fn tier(mut fields: Fields<'_, '_>) -> LongContext {
    let tier = LongContext {
        threshold: fields.required_integer("threshold", 1, i64::MAX).unwrap_or_default(),
        rates: rates(&mut fields),
    };
    fields.close();
    tier
}

fn rates(fields: &mut Fields<'_, '_>) -> Rates {
    Rates {
        input: fields.scalar("input", dollars),
        output: fields.scalar("output", dollars),
        cache_read: fields.scalar("cache_read", dollars),
        cache_write_5m: fields.scalar("cache_write_5m", dollars),
        cache_write_1h: fields.scalar("cache_write_1h", dollars),
    }
}

fn name(fields: &mut Fields<'_, '_>) -> String {
    fields.required("name", literals::name).unwrap_or_default()
}

fn tags(fields: &mut Fields<'_, '_>) -> Option<BTreeMap<String, String>> {
    let (place, node) = fields.take("tags")?;
    let Value::Table(entries) = &node.value else {
        fields.mistake(node.place, "tags", &format!("must be a table of names and values, not {}", node.value.noun()));
        return None;
    };
    if entries.len() > TAGS_MAX {
        fields.mistake(place, "tags", &format!("at most {TAGS_MAX} tags are allowed"));
    }
    let mut tags = BTreeMap::new();
    for (place, name, value) in entries {
        let text = match &value.value {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Boolean(value) => value.to_string(),
            other => {
                fields.mistake(value.place, &format!("tags.{name}"), &format!("must be a text, not {}", other.noun()));
                continue;
            }
        };
        match Tag::checked(name, &text) {
            Ok(tag) => drop(tags.insert(tag.name, tag.value)),
            Err(reason) => fields.mistake(*place, &format!("tags.{name}"), &reason),
        }
    }
    Some(tags)
}

fn dollars(text: &str) -> Result<Dollars, String> {
    literals::dollars(text).map(Dollars)
}

fn reference_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { literals::reference(text) }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("must not be empty; write env://NAME, file:///path, or stored:// to keep what is there".to_owned());
    }
    Ok(Secret::parse(text))
}

fn expires(text: &str) -> Result<Expires, String> {
    if text == "never" {
        return Ok(Expires::Never);
    }
    if literals::span(text).is_ok() {
        return Err("must be an instant, since a duration would mean another instant at each apply".to_owned());
    }
    literals::instant(text).map(Expires::At).map_err(|reason| format!("{reason}, or never"))
}

fn repeated(document: &Document, mistakes: &mut Vec<Mistake>) {
    let Document {
        providers,
        models,
        customers,
        teams,
        users,
        keys,
        routes,
        guardrails,
        mcp_servers,
        roles,
        service_accounts,
        bindings,
        sections: _,
    } = document;
    unique(Kind::Provider, providers.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Model, models.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Customer, customers.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Team, teams.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::User, users.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Role, roles.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::ServiceAccount, service_accounts.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    let titles: Vec<_> = bindings.iter().map(|each| (each.title(), each.place)).collect();
    unique(Kind::Binding, titles.iter().map(|each| (each.0.as_str(), each.1)), mistakes);
    unique(Kind::Route, routes.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Guardrail, guardrails.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::McpServer, mcp_servers.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
    unique(Kind::Key, keys.iter().map(|each| (each.name.as_str(), each.place)), mistakes);
}

fn unique<'d>(kind: Kind, objects: impl Iterator<Item = (&'d str, Place)>, mistakes: &mut Vec<Mistake>) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    // A name that is missing has been reported already.
    for (name, place) in objects.filter(|object| !object.0.is_empty()) {
        if let Some(first) = seen.get(name) {
            let text = format!("the {} {name:?} is declared already, at line {}", kind.noun(), first.line);
            mistakes.push(Mistake { place, text });
        } else {
            seen.insert(name, place);
        }
    }
}

#[cfg(test)]
mod tests;
