//! Rows of the store to items of a push. Two control planes that read the same rows make the same items, byte for byte.

use std::collections::HashMap;

use tollgate_policy::{
    credential::TokenKey,
    guardrail::{Allowed, Directions, RuleSource},
    id::{CustomerId, KeyId, ProviderId, TeamId},
    mcp::{CALL_BYTES_DEFAULT, McpAuth, Pinning, TIMEOUT_DEFAULT, Transport},
    route::{Balance, Scope},
    snapshot::{EndedSession, Model, Object, ObjectRef},
    time::UnixMillis,
};
use tollgate_proto::{
    convert::fleet::{InvalidItem, audit_word, item},
    fleet::v1::{
        AllowedItem, CredentialItem, CustomerItem, EndedSessionItem, ExpressionItem, GuardrailItem, Item, ItemKind,
        KeyItem, McpPriceItem, McpServerItem, ModelItem, PinItem, ProviderItem, RouteItem, RouteTierItem, TeamItem,
        TokenKeyItem, ToolRuleItem, UserItem,
    },
    push,
};

use crate::store::{
    guardrails::{self, Allowance, Guardrail, Owners},
    keys::{Key, ToolRule},
    mcp::{McpServer, PinnedServer, Priced, ServerCredential},
    organisation::{Customer, Team, User},
    providers::{Credential, Provider},
    routes::Route,
};

mod quota;

/// The name of an item: its kind, as its number, and its id. Items are sent in this order.
pub(crate) type Name = (i32, String);

/// What the vendor of a provider depends on: how many models each vendor has.
pub(crate) type Vendors = HashMap<String, usize>;

pub(crate) fn customer(row: &Customer) -> Item {
    let Customer { id, name, display_name: _, disabled, quota, stamp: _ } = row;
    let body = CustomerItem { name: name.to_string(), disabled: *disabled, quota: quota::item(quota) };
    item(ItemKind::Customer, id.to_string(), &body)
}

pub(crate) fn team(row: &Team) -> Item {
    let Team { id, name, display_name: _, customer, disabled, quota, self_service: _, providers, regions, stamp: _ } =
        row;
    let body = TeamItem {
        name: name.to_string(),
        customer: customer.to_string(),
        disabled: *disabled,
        quota: quota::item(quota),
        providers: providers.iter().map(ToString::to_string).collect(),
        regions: regions.clone(),
    };
    item(ItemKind::Team, id.to_string(), &body)
}

pub(crate) fn user(row: &User) -> Item {
    let User { id, name, email: _, display_name: _, team: _, disabled, quota, stamp: _ } = row;
    let body = UserItem { name: name.to_string(), disabled: *disabled, quota: quota::item(quota) };
    item(ItemKind::User, id.to_string(), &body)
}

pub(crate) fn key(row: &Key) -> Item {
    let Key {
        id,
        name,
        display_name: _,
        team,
        user,
        revoked,
        expires_ms,
        models,
        providers,
        credentials,
        tags: _,
        audit,
        regions,
        tools,
        tool_rules,
        prefix: _,
        hash,
        quota,
        stamp: _,
    } = row;
    let rule = |ToolRule { tools, when }: &ToolRule| ToolRuleItem { tools: tools.clone(), when: when.clone() };
    let body = KeyItem {
        name: name.to_string(),
        hash: hash.as_bytes().to_vec().into(),
        team: team.to_string(),
        user: user.as_ref().map(ToString::to_string).unwrap_or_default(),
        revoked: *revoked,
        expires_ms: expires_ms.unwrap_or_default(),
        models: models.clone(),
        providers: providers.iter().map(ToString::to_string).collect(),
        credentials: credentials.iter().map(ToString::to_string).collect(),
        quota: quota::item(quota),
        audit: audit_word(*audit).to_owned(),
        regions: regions.clone(),
        tools: tools.clone(),
        tool_rules: tool_rules.iter().map(rule).collect(),
    };
    item(ItemKind::Key, id.to_string(), &body)
}

pub(crate) fn provider(row: &Provider, vendors: &Vendors) -> Item {
    let Provider {
        id,
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        disabled,
        priority,
        credentials,
        auth,
        region,
        quirks,
        stamp: _,
    } = row;
    let vendor = match vendor.as_str() {
        "" if vendors.contains_key(name.as_str()) => name.as_str(),
        "" => dialect.vendor(),
        vendor => vendor,
    };
    let body = ProviderItem {
        name: name.to_string(),
        dialect: dialect.word().to_owned(),
        base_url: base_url.clone(),
        allow_private: *allow_private,
        models: models.clone(),
        vendor: vendor.to_owned(),
        disabled: *disabled,
        priority: *priority,
        credentials: credentials.iter().map(credential).collect(),
        auth: auth.text(),
        region: region.clone(),
        quirks: quirks.iter().map(|quirk| quirk.word().to_owned()).collect(),
    };
    item(ItemKind::Provider, id.to_string(), &body)
}

pub(crate) fn route(row: &Route) -> Item {
    let Route {
        id,
        name,
        models,
        scope,
        priority,
        disabled,
        strict,
        tiers,
        rule,
        balance,
        first_byte_timeout_ms,
        hedge_after_ms,
        deadline_ms,
        stamp: _,
    } = row;
    let Scope { customers, teams, keys } = scope;
    let body = RouteItem {
        name: name.to_string(),
        models: models.clone(),
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.iter().map(KeyId::to_string).collect(),
        priority: *priority,
        disabled: *disabled,
        strict: *strict,
        tiers: tiers.iter().map(RouteTierItem::from).collect(),
        rule: rule.clone(),
        balance: balance_word(*balance).to_owned(),
        first_byte_timeout_ms: first_byte_timeout_ms.unwrap_or_default(),
        deadline_ms: deadline_ms.unwrap_or_default(),
        hedge_after_ms: hedge_after_ms.unwrap_or_default(),
    };
    item(ItemKind::Route, id.to_string(), &body)
}

pub(crate) fn guardrail(row: &Guardrail) -> Item {
    let Guardrail {
        id,
        name,
        disabled,
        source,
        rules,
        directions: Directions { request, response },
        action,
        shadow,
        owners: Owners { customers, teams },
        keys,
        models,
        allowed,
        stamp: _,
    } = row;
    let bare = GuardrailItem {
        name: name.to_string(),
        disabled: *disabled,
        kind: guardrails::kind(source).to_owned(),
        rules: rules.clone(),
        on_request: *request,
        on_response: *response,
        action: action.word().to_owned(),
        shadow: *shadow,
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.clone(),
        models: models.clone(),
        allowed: allowed.iter().map(allowed_item).collect(),
        ..GuardrailItem::default()
    };
    let body = match source {
        RuleSource::Secrets { builtin, file } => {
            GuardrailItem { builtin: *builtin, rule_file: file.as_deref().unwrap_or_default().to_owned(), ..bare }
        }
        RuleSource::Expressions(expressions) => {
            GuardrailItem { expressions: expressions.iter().map(ExpressionItem::from).collect(), ..bare }
        }
        RuleSource::Words(words) => GuardrailItem { words: words.iter().map(ToString::to_string).collect(), ..bare },
    };
    item(ItemKind::Guardrail, id.to_string(), &body)
}

// Why something is let pass concerns nobody but the control plane.
fn allowed_item(row: &Allowance) -> AllowedItem {
    let Allowance { fingerprint, until_ms, reason: _ } = row;
    AllowedItem::from(&Allowed { fingerprint: *fingerprint, until: until_ms.map(UnixMillis::new) })
}

pub(crate) fn mcp_server(row: &PinnedServer) -> Item {
    let PinnedServer { server, pins, tests } = row;
    let McpServer {
        id,
        name,
        disabled,
        url,
        document,
        allow_private,
        transport,
        auth,
        credential,
        oauth: _,
        grants,
        owners: Owners { customers, teams },
        keys,
        tools,
        prompts,
        resources,
        prices,
        timeout_ms,
        parallel,
        arguments_bytes,
        result_bytes,
        truncate,
        record_arguments,
        pinning,
        stamp: _,
    } = server;
    // The secret of a client is for the control plane alone, and so is where it is found.
    let (credential, reference) = match credential {
        Some(ServerCredential { id, reference, fingerprint: _ }) if auth.has_secret() => {
            (id.to_string(), reference.clone())
        }
        _ => (String::new(), None),
    };
    let price = |Priced { tools, call }: &Priced| McpPriceItem { tools: tools.clone(), call: call.get() };
    let body = McpServerItem {
        name: name.to_string(),
        disabled: *disabled,
        url: url.clone(),
        allow_private: *allow_private,
        transport: unusual(*transport, Transport::word),
        auth: if *auth == McpAuth::Nothing { String::new() } else { auth.text() },
        credential,
        reference: reference.unwrap_or_default(),
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.clone(),
        tools: tools.clone(),
        prompts: prompts.clone(),
        resources: resources.clone(),
        prices: prices.iter().map(price).collect(),
        timeout_ms: or_usual(*timeout_ms, TIMEOUT_DEFAULT.as_millis()),
        parallel: *parallel,
        arguments_bytes: or_usual(*arguments_bytes, CALL_BYTES_DEFAULT.into()),
        result_bytes: or_usual(*result_bytes, CALL_BYTES_DEFAULT.into()),
        truncate: *truncate,
        record_arguments: *record_arguments,
        pinning: unusual(*pinning, Pinning::word),
        pins: pins.iter().map(PinItem::from).collect(),
        document: document.clone().unwrap_or_default().into_bytes().into(),
        grants: u64::try_from(*grants).unwrap_or_default(),
        tests: u64::try_from(*tests).unwrap_or_default(),
    };
    item(ItemKind::McpServer, id.to_string(), &body)
}

// What is usual has one encoding: none.
fn unusual<T: Copy + Default + PartialEq>(value: T, word: fn(T) -> &'static str) -> String {
    if value == T::default() { String::new() } else { word(value).to_owned() }
}

fn or_usual(number: i64, usual: u128) -> i64 {
    if u128::try_from(number) == Ok(usual) { 0 } else { number }
}

pub(crate) fn model(row: &Model) -> Item {
    item(ItemKind::Model, push::model_id(&row.vendor, &row.name), &ModelItem::from(row))
}

pub(crate) fn token_key(row: &TokenKey) -> Item {
    item(ItemKind::TokenKey, row.id().to_owned(), &TokenKeyItem::from(row))
}

pub(crate) fn ended_session(row: &EndedSession) -> Item {
    item(ItemKind::EndedSession, row.id.to_string(), &EndedSessionItem::from(row))
}

// What is usual has one encoding, and it is the one of before there was a choice.
const fn balance_word(balance: Balance) -> &'static str {
    match balance {
        Balance::Weight => "",
        Balance::Latency => balance.word(),
    }
}

fn credential(row: &Credential) -> CredentialItem {
    let Credential { id, name, reference, weight, disabled, fingerprint: _ } = row;
    CredentialItem {
        id: id.to_string(),
        name: name.to_string(),
        weight: i32::try_from(*weight).unwrap_or(i32::MAX),
        disabled: *disabled,
        reference: reference.clone().unwrap_or_default(),
    }
}

/// The name of what was deleted.
pub(crate) fn gone(object: &ObjectRef) -> Name {
    let (kind, id) = match object {
        ObjectRef::Customer(id) => (ItemKind::Customer, id.to_string()),
        ObjectRef::Team(id) => (ItemKind::Team, id.to_string()),
        ObjectRef::User(id) => (ItemKind::User, id.to_string()),
        ObjectRef::Key(id) => (ItemKind::Key, id.to_string()),
        ObjectRef::Provider(id) => (ItemKind::Provider, id.to_string()),
        ObjectRef::Route(id) => (ItemKind::Route, id.to_string()),
        ObjectRef::Guardrail(id) => (ItemKind::Guardrail, id.to_string()),
        ObjectRef::McpServer(id) => (ItemKind::McpServer, id.to_string()),
        ObjectRef::Model(vendor, name) => (ItemKind::Model, push::model_id(vendor, name)),
        ObjectRef::TokenKey(id) => (ItemKind::TokenKey, id.to_string()),
        ObjectRef::EndedSession(id) => (ItemKind::EndedSession, id.to_string()),
    };
    (kind.into(), id)
}

/// The name of a provider's item.
pub(crate) fn provider_name(id: &ProviderId) -> Name {
    (ItemKind::Provider.into(), id.to_string())
}

/// Reads an item as a replica will. What a replica would refuse is not published: it would halt every change, revocations
/// too, while an object that is missing only denies.
pub(crate) fn checked(item: Item) -> Result<Item, InvalidItem> {
    Object::try_from(&item).map(|_| item)
}
