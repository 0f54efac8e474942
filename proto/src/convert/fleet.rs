//! Items of a push to objects of a snapshot.
//!
//! A body must be exactly what this version would encode. A field that it does not know may be a restriction that it would
//! ignore, so such an item is refused as a whole; a newer control plane sends a new field only where it is used.

use std::{collections::HashMap, fmt, sync::Arc};

use prost::Message;
use tollgate_policy::{
    credential::TokenKey,
    id::{
        CredentialId, CustomerId, GuardrailId, InvalidId, KeyId, McpServerId, ProviderId, RouteId, SessionId, TeamId,
        UserId,
    },
    mcp::{Access, TOOL_RULES_MAX, ToolRule, rule_pattern},
    money::NanoUsd,
    pattern::{Pattern, Patterns},
    price::{Price, Rates},
    rule::CallRule,
    snapshot::{Customer, EndedSession, Key, Model, Object, ObjectRef, Quota, Team, User},
    time::UnixMillis,
    token::KeyHash,
};

use crate::{fleet::v1, push};

mod audit;
mod guardrail;
mod mcp;
mod provider;
mod quota;
mod route;

use self::audit::audit;
pub use self::audit::audit_word;

/// The longest name, display name, vendor or model name, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// The most entries in a list of ids, credentials or aliases.
pub const LIST_MAX: usize = 1_000;
/// The longest base URL or reference, in bytes.
pub const LOCATION_BYTES_MAX: usize = 2_048;
/// The largest weight of a credential, so that no sum of weights overflows.
pub const WEIGHT_MAX: u32 = 1_000_000;

/// An item that is not one: which, which of its fields, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} {id:?}: {field} {problem}")]
pub struct InvalidItem {
    kind: &'static str,
    id: String,
    field: &'static str,
    problem: String,
}

/// Decodes many items. Owners and lists that several items have in common are kept in memory once.
#[derive(Debug, Default)]
pub struct Decoder {
    teams: HashMap<String, TeamId>,
    users: HashMap<String, UserId>,
    models: HashMap<Vec<String>, Patterns>,
    providers: HashMap<Vec<String>, Arc<[ProviderId]>>,
    credentials: HashMap<Vec<String>, Arc<[CredentialId]>>,
    tools: HashMap<Vec<String>, Access>,
    tool_rules: HashMap<Vec<v1::ToolRuleItem>, Arc<[ToolRule]>>,
}

// What is wrong with one field, before it is known in which item.
struct Problem {
    field: &'static str,
    text: String,
}

type Field<T> = Result<T, Problem>;

/// Encodes the body of an item. The same body always gives the same bytes, since no message here has a map.
#[must_use]
pub fn item(kind: v1::ItemKind, id: String, body: &impl Message) -> v1::Item {
    v1::Item { kind: kind.into(), id, body: body.encode_to_vec().into() }
}

impl TryFrom<&v1::Item> for Object {
    type Error = InvalidItem;

    fn try_from(item: &v1::Item) -> Result<Self, InvalidItem> {
        Decoder::default().object(item)
    }
}

impl TryFrom<&v1::ItemRef> for ObjectRef {
    type Error = InvalidItem;

    fn try_from(gone: &v1::ItemRef) -> Result<Self, InvalidItem> {
        let v1::ItemRef { kind, id } = gone;
        reference(*kind, id).map_err(|problem| InvalidItem::new(*kind, id, problem))
    }
}

impl From<&Model> for v1::ModelItem {
    fn from(model: &Model) -> Self {
        let Model { vendor, name, display_name, aliases, context_window, output_max, price } = model;
        Self {
            vendor: vendor.to_string(),
            model: name.to_string(),
            aliases: aliases.iter().map(|alias| alias.as_str().to_owned()).collect(),
            context_window: i64::try_from(*context_window).unwrap_or(i64::MAX),
            max_output: i64::try_from(*output_max).unwrap_or(i64::MAX),
            price: price.as_ref().map(v1::PriceItem::from),
            display_name: display_name.to_string(),
        }
    }
}

impl From<&TokenKey> for v1::TokenKeyItem {
    fn from(key: &TokenKey) -> Self {
        Self { public_key: key.public_key().to_vec().into() }
    }
}

impl From<&EndedSession> for v1::EndedSessionItem {
    fn from(ended: &EndedSession) -> Self {
        let EndedSession { id: _, until } = ended;
        Self { until_ms: until.get() }
    }
}

impl From<&Price> for v1::PriceItem {
    fn from(price: &Price) -> Self {
        let Price { rates, long_context, web_search } = price;
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
        Self {
            input: input.get(),
            output: output.get(),
            cache_read: cache_read.get(),
            cache_write_5m: cache_write_5m.get(),
            cache_write_1h: cache_write_1h.get(),
            web_search: web_search.get(),
            long_context: long_context.as_ref().map(|(threshold, rates)| {
                let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
                v1::LongContextItem {
                    threshold: i64::try_from(*threshold).unwrap_or(i64::MAX),
                    input: input.get(),
                    output: output.get(),
                    cache_read: cache_read.get(),
                    cache_write_5m: cache_write_5m.get(),
                    cache_write_1h: cache_write_1h.get(),
                }
            }),
        }
    }
}

// === impl InvalidItem ===

impl InvalidItem {
    fn new(kind: i32, id: &str, problem: Problem) -> Self {
        let kind = v1::ItemKind::try_from(kind).map_or("item", noun);
        let Problem { field, text } = problem;
        // What was sent comes back bounded, since it travels in a Nack and into logs.
        Self { kind, id: id.chars().take(80).collect(), field, problem: text }
    }

    /// The field that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

// === impl Decoder ===

impl Decoder {
    /// Decodes one item.
    ///
    /// # Errors
    /// Names the item and the field that is not valid.
    pub fn object(&mut self, item: &v1::Item) -> Result<Object, InvalidItem> {
        let v1::Item { kind, id, body } = item;
        self.decoded(*kind, id, body).map_err(|problem| InvalidItem::new(*kind, id, problem))
    }

    fn decoded(&mut self, kind: i32, id: &str, body: &[u8]) -> Field<Object> {
        if body.len() > push::ITEM_BYTES_MAX {
            return Err(problem("body", "is longer than 1 MiB"));
        }
        Ok(match known(kind)? {
            v1::ItemKind::Unspecified => return Err(problem("kind", "is not set")),
            v1::ItemKind::Customer => Object::Customer(customer(id, canonical(body)?)?),
            v1::ItemKind::Team => Object::Team(team(id, canonical(body)?)?),
            v1::ItemKind::User => Object::User(user(id, canonical(body)?)?),
            v1::ItemKind::Key => Object::Key(self.key(id, canonical(body)?)?),
            v1::ItemKind::Provider => Object::Provider(provider::read(id, canonical(body)?)?),
            v1::ItemKind::Route => Object::Route(route::read(id, canonical(body)?)?),
            v1::ItemKind::Guardrail => Object::Guardrail(guardrail::read(id, canonical(body)?)?),
            v1::ItemKind::McpServer => Object::McpServer(mcp::read(id, canonical(body)?)?),
            v1::ItemKind::Model => Object::Model(model(id, canonical(body)?)?),
            v1::ItemKind::TokenKey => Object::TokenKey(token_key(id, canonical(body)?)?),
            v1::ItemKind::EndedSession => Object::EndedSession(ended_session(id, canonical(body)?)?),
        })
    }

    fn key(&mut self, id: &str, body: v1::KeyItem) -> Field<Key> {
        let v1::KeyItem {
            name,
            hash,
            team,
            user,
            revoked,
            expires_ms,
            models,
            providers,
            credentials,
            quota,
            audit: mode,
            regions,
            tools,
            tool_rules,
        } = body;
        let hash: [u8; 32] = hash.as_ref().try_into().map_err(|_| problem("hash", "is not of 32 bytes"))?;
        let user = match user.as_str() {
            "" => None,
            _ => Some(shared(&mut self.users, user, |text| parsed("user", text, UserId::parse))?),
        };
        Ok(Key {
            id: parsed("id", id, KeyId::parse)?,
            name: text("name", &name)?,
            hash: KeyHash::new(hash),
            team: shared(&mut self.teams, team, |text| parsed("team", text, TeamId::parse))?,
            user,
            revoked,
            expires: match expires_ms {
                0 => None,
                _ => Some(UnixMillis::new(i64::try_from(unsigned("expires_ms", expires_ms)?).unwrap_or(i64::MAX))),
            },
            models: shared(&mut self.models, models, |list| patterns("models", list))?,
            providers: shared(&mut self.providers, providers, |list| ids("providers", list, ProviderId::parse))?,
            credentials: shared(&mut self.credentials, credentials, |list| {
                ids("credentials", list, CredentialId::parse)
            })?,
            quota: allowed(quota)?,
            audit: audit(&mode)?,
            regions: shared(&mut self.models, regions, |list| patterns("regions", list))?,
            tools: shared(&mut self.tools, tools, access)?,
            tool_rules: shared(&mut self.tool_rules, tool_rules, rules)?,
        })
    }
}

fn customer(id: &str, body: v1::CustomerItem) -> Field<Customer> {
    let v1::CustomerItem { name, disabled, quota } = body;
    let (id, quota) = (parsed("id", id, CustomerId::parse)?, allowed(quota)?);
    Ok(Customer { id, name: text("name", &name)?, disabled, quota })
}

fn team(id: &str, body: v1::TeamItem) -> Field<Team> {
    let v1::TeamItem { name, customer, disabled, quota, providers, regions } = body;
    Ok(Team {
        id: parsed("id", id, TeamId::parse)?,
        name: text("name", &name)?,
        customer: parsed("customer", &customer, CustomerId::parse)?,
        disabled,
        quota: allowed(quota)?,
        providers: ids("providers", &providers, ProviderId::parse)?,
        regions: patterns("regions", &regions)?,
    })
}

fn user(id: &str, body: v1::UserItem) -> Field<User> {
    let v1::UserItem { name, disabled, quota } = body;
    let (id, quota) = (parsed("id", id, UserId::parse)?, allowed(quota)?);
    Ok(User { id, name: text("name", &name)?, disabled, quota })
}

fn token_key(id: &str, body: v1::TokenKeyItem) -> Field<TokenKey> {
    let v1::TokenKeyItem { public_key } = body;
    let public_key = public_key.as_ref().try_into().map_err(|_| problem("public_key", "is not of 32 bytes"))?;
    TokenKey::new(id, public_key).map_err(|error| problem("id", error))
}

fn ended_session(id: &str, body: v1::EndedSessionItem) -> Field<EndedSession> {
    let v1::EndedSessionItem { until_ms } = body;
    let until = i64::try_from(unsigned("until_ms", until_ms)?).unwrap_or(i64::MAX);
    Ok(EndedSession { id: parsed("id", id, SessionId::parse)?, until: UnixMillis::new(until) })
}

fn model(id: &str, body: v1::ModelItem) -> Field<Model> {
    let v1::ModelItem { vendor, model, aliases, context_window, max_output, price, display_name } = body;
    if vendor.contains('/') {
        return Err(problem("vendor", "has a slash"));
    }
    if id != push::model_id(&vendor, &model) {
        return Err(problem("id", "is not <vendor>/<model>"));
    }
    if aliases.len() > LIST_MAX {
        return Err(problem("aliases", "has too many entries"));
    }
    let alias = |text: &String| Pattern::parse(text).map_err(|error| problem("aliases", error));
    let name = text("model", &model)?;
    Ok(Model {
        vendor: text("vendor", &vendor)?,
        display_name: if display_name.is_empty() { Arc::clone(&name) } else { text("display_name", &display_name)? },
        name,
        aliases: aliases.iter().map(alias).collect::<Field<_>>()?,
        context_window: unsigned("context_window", context_window)?,
        output_max: unsigned("max_output", max_output)?,
        price: price.map(price_of).transpose()?,
    })
}

fn price_of(wire: v1::PriceItem) -> Field<Price> {
    let v1::PriceItem { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, long_context } = wire;
    let long_context = long_context.map(|long| {
        let v1::LongContextItem { threshold, input, output, cache_read, cache_write_5m, cache_write_1h } = long;
        let rates = rates([input, output, cache_read, cache_write_5m, cache_write_1h])?;
        Ok((unsigned("price.long_context.threshold", threshold)?, rates))
    });
    Ok(Price {
        rates: rates([input, output, cache_read, cache_write_5m, cache_write_1h])?,
        long_context: long_context.transpose()?,
        web_search: amount(web_search)?,
    })
}

fn rates(amounts: [i64; 5]) -> Field<Rates> {
    let [input, output, cache_read, cache_write_5m, cache_write_1h] = amounts;
    Ok(Rates {
        input: amount(input)?,
        output: amount(output)?,
        cache_read: amount(cache_read)?,
        cache_write_5m: amount(cache_write_5m)?,
        cache_write_1h: amount(cache_write_1h)?,
    })
}

fn reference(kind: i32, id: &str) -> Field<ObjectRef> {
    Ok(match known(kind)? {
        v1::ItemKind::Unspecified => return Err(problem("kind", "is not set")),
        v1::ItemKind::Customer => ObjectRef::Customer(parsed("id", id, CustomerId::parse)?),
        v1::ItemKind::Team => ObjectRef::Team(parsed("id", id, TeamId::parse)?),
        v1::ItemKind::User => ObjectRef::User(parsed("id", id, UserId::parse)?),
        v1::ItemKind::Key => ObjectRef::Key(parsed("id", id, KeyId::parse)?),
        v1::ItemKind::Provider => ObjectRef::Provider(parsed("id", id, ProviderId::parse)?),
        v1::ItemKind::Route => ObjectRef::Route(parsed("id", id, RouteId::parse)?),
        v1::ItemKind::Guardrail => ObjectRef::Guardrail(parsed("id", id, GuardrailId::parse)?),
        v1::ItemKind::McpServer => ObjectRef::McpServer(parsed("id", id, McpServerId::parse)?),
        v1::ItemKind::Model => {
            let (vendor, name) = id.split_once('/').ok_or_else(|| problem("id", "is not <vendor>/<model>"))?;
            ObjectRef::Model(text("id", vendor)?, text("id", name)?)
        }
        v1::ItemKind::TokenKey => ObjectRef::TokenKey(text("id", id)?),
        v1::ItemKind::EndedSession => ObjectRef::EndedSession(parsed("id", id, SessionId::parse)?),
    })
}

fn known(kind: i32) -> Field<v1::ItemKind> {
    v1::ItemKind::try_from(kind).map_err(|_| problem("kind", format!("{kind} is not known to this version")))
}

fn noun(kind: v1::ItemKind) -> &'static str {
    match kind {
        v1::ItemKind::Unspecified => "item",
        v1::ItemKind::Customer => "customer",
        v1::ItemKind::Team => "team",
        v1::ItemKind::User => "user",
        v1::ItemKind::Key => "key",
        v1::ItemKind::Provider => "provider",
        v1::ItemKind::Route => "route",
        v1::ItemKind::Guardrail => "guardrail",
        v1::ItemKind::McpServer => "MCP server",
        v1::ItemKind::Model => "model",
        v1::ItemKind::TokenKey => "token key",
        v1::ItemKind::EndedSession => "ended session",
    }
}

fn canonical<M: Message + Default>(body: &[u8]) -> Field<M> {
    let message = M::decode(body).map_err(|error| problem("body", error))?;
    if message.encoded_len() == body.len() && message.encode_to_vec() == body {
        Ok(message)
    } else {
        Err(problem("body", "has a field that is not known to this version, or is not in its one encoding"))
    }
}

fn allowed(wire: Option<v1::QuotaItem>) -> Field<Option<Arc<Quota>>> {
    wire.map(|wire| quota::read(wire).map(Arc::new)).transpose()
}

// Looks a value up among those that were made before, or makes it.
fn shared<K, B, V>(known: &mut HashMap<K, V>, key: K, make: impl FnOnce(&B) -> Field<V>) -> Field<V>
where
    K: std::borrow::Borrow<B> + Eq + std::hash::Hash,
    B: Eq + std::hash::Hash + ?Sized,
    V: Clone,
{
    if let Some(value) = known.get(key.borrow()) {
        return Ok(value.clone());
    }
    let value = make(key.borrow())?;
    known.insert(key, value.clone());
    Ok(value)
}

fn parsed<T>(field: &'static str, text: &str, parse: fn(&str) -> Result<T, InvalidId>) -> Field<T> {
    parse(text).map_err(|error| problem(field, error))
}

fn ids<T>(field: &'static str, list: &[String], parse: fn(&str) -> Result<T, InvalidId>) -> Field<Arc<[T]>> {
    if list.len() > LIST_MAX {
        return Err(problem(field, "has too many entries"));
    }
    list.iter().map(|text| parsed(field, text, parse)).collect()
}

fn patterns(field: &'static str, list: &[String]) -> Field<Patterns> {
    Patterns::parse(list).map_err(|error| problem(field, error))
}

// In its one order.
fn access(list: &Vec<String>) -> Field<Access> {
    let access = Access::parse(list).map_err(|error| problem("tools", error))?;
    if access.texts() == *list { Ok(access) } else { Err(problem("tools", "is not in its order")) }
}

fn rules(list: &[v1::ToolRuleItem]) -> Field<Arc<[ToolRule]>> {
    if list.len() > TOOL_RULES_MAX {
        return Err(problem("tool_rules", format!("has more than {TOOL_RULES_MAX} entries")));
    }
    let rule = |v1::ToolRuleItem { tools, when }: &v1::ToolRuleItem| {
        let pattern = rule_pattern(tools).filter(|pattern| pattern.as_str() == tools);
        let tools = pattern.ok_or_else(|| problem("tool_rules", "has a pattern that is none over tools of servers"))?;
        let when = CallRule::parse(when).map_err(|error| problem("tool_rules", error))?;
        Ok(ToolRule { tools, when })
    };
    list.iter().map(rule).collect()
}

fn text(field: &'static str, text: &str) -> Field<Arc<str>> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(problem(field, "must be 1 to 256 bytes without control characters"));
    }
    Ok(text.into())
}

fn unsigned(field: &'static str, number: i64) -> Field<u64> {
    u64::try_from(number).map_err(|_| problem(field, "is negative"))
}

fn amount(nano: i64) -> Field<NanoUsd> {
    if nano < 0 { Err(problem("price", "has a negative amount")) } else { Ok(NanoUsd::new(nano)) }
}

fn problem(field: &'static str, text: impl ToString) -> Problem {
    Problem { field, text: text.to_string() }
}

// === Debug of messages that carry secrets; the build asks for none ===

impl fmt::Debug for v1::CredentialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credential, secret: _ } = self;
        f.debug_struct("CredentialSecret").field("credential", credential).field("secret", &"***").finish()
    }
}

impl fmt::Debug for v1::Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, pepper: _, signing_keys } = self;
        let mut fields = f.debug_struct("Welcome");
        fields.field("replica", replica).field("pepper", &"***").field("signing_keys", signing_keys).finish()
    }
}

impl fmt::Debug for v1::JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, certificate_request: _, name, region } = self;
        f.debug_struct("JoinRequest").field("token", &"***").field("name", name).field("region", region).finish()
    }
}

#[cfg(test)]
mod tests;
