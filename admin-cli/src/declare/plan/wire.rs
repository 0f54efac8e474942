//! The wire form of what the file declares.

use tollgate_proto::admin::v1;

use crate::{
    declare::document::{
        Customer, Dollars, Expires, Key, LongContext, Model, Provider, Rates, Team, Tier, ToolRule, User,
        access::SelfServed,
    },
    literals::{audit::Audit, to_wire},
};

pub(super) fn customer(declared: &Customer, id: &str, etag: &str) -> v1::Customer {
    let Customer { name, display_name, disabled, quota, place: _ } = declared.clone();
    let (budgets, limits, session_limit) = quota.into_wire();
    v1::Customer {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        display_name: display_name.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        create_time: None,
        update_time: None,
        budgets,
        limits,
        session_limit,
    }
}

pub(super) fn team(declared: &Team, id: &str, etag: &str) -> v1::Team {
    let Team { name, customer, display_name, disabled, quota, self_service, providers, regions, place: _ } =
        declared.clone();
    let (budgets, limits, session_limit) = quota.into_wire();
    v1::Team {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        display_name: display_name.unwrap_or_default(),
        // Fixed after creation, so an update does not say it.
        customer: if id.is_empty() { customer.unwrap_or_default() } else { String::new() },
        disabled: disabled.unwrap_or_default(),
        create_time: None,
        update_time: None,
        budgets,
        limits,
        session_limit,
        self_service: match self_service {
            Some(SelfServed::Granted(granted)) => Some(granted.into_wire()),
            Some(SelfServed::None) | None => None,
        },
        providers: providers.unwrap_or_default(),
        regions: regions.unwrap_or_default(),
    }
}

pub(super) fn user(declared: &User, id: &str, etag: &str) -> v1::User {
    let User { name, email, display_name, team, disabled, quota, place: _ } = declared.clone();
    let (budgets, limits, session_limit) = quota.into_wire();
    v1::User {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        email: email.unwrap_or_default(),
        display_name: display_name.unwrap_or_default(),
        team: team.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        create_time: None,
        update_time: None,
        budgets,
        limits,
        session_limit,
    }
}

pub(super) fn provider(declared: &Provider, id: &str, etag: &str, credentials: Vec<v1::Credential>) -> v1::Provider {
    let Provider {
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        priority,
        disabled,
        auth,
        region,
        quirks,
        credentials: _,
        usual: _,
        place: _,
    } = declared.clone();
    v1::Provider {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        dialect: if id.is_empty() { dialect.unwrap_or_default() } else { String::new() },
        base_url: base_url.unwrap_or_default(),
        allow_private: allow_private.unwrap_or_default(),
        models: models.unwrap_or_default(),
        vendor: vendor.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        priority: priority.unwrap_or_default(),
        credentials,
        create_time: None,
        update_time: None,
        auth: auth.unwrap_or_default(),
        region: region.unwrap_or_default(),
        quirks: quirks.unwrap_or_default(),
        health: None,
    }
}

pub(super) fn key(declared: &Key, id: &str, etag: &str) -> v1::Key {
    let Key {
        name,
        team,
        user,
        display_name,
        models,
        providers,
        credentials,
        regions,
        tools,
        tool_rules,
        expires,
        tags,
        audit,
        revoked: _,
        quota,
        place: _,
    } = declared.clone();
    let (budgets, limits, session_limit) = quota.into_wire();
    let rule = |ToolRule { tools, when }| v1::ToolRule { tools, when };
    let expire_time = match expires {
        Some(Expires::At(at)) => Some(to_wire(at)),
        Some(Expires::Never) | None => None,
    };
    v1::Key {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        display_name: display_name.unwrap_or_default(),
        team: if id.is_empty() { team.unwrap_or_default() } else { String::new() },
        user: user.unwrap_or_default(),
        expire_time,
        models: models.unwrap_or_default(),
        providers: providers.unwrap_or_default(),
        credentials: credentials.unwrap_or_default(),
        regions: regions.unwrap_or_default(),
        tools: tools.unwrap_or_default(),
        tool_rules: tool_rules.unwrap_or_default().into_iter().map(rule).collect(),
        tags: tags.unwrap_or_default().into_iter().collect(),
        budgets,
        limits,
        session_limit,
        audit: audit.map_or_else(v1::KeyAudit::default, Audit::to_wire).into(),
        ..v1::Key::default()
    }
}

/// Whether the file says anything of the model's price.
pub(super) fn prices(declared: &Model) -> bool {
    let Model { rates, web_search, long_context, .. } = declared;
    *rates != Rates::default() || web_search.is_some() || long_context.is_some()
}

/// The whole row: what the file says, and where it says nothing what is there.
pub(super) fn model(declared: &Model, held: Option<&Model>) -> v1::Model {
    let held = held.cloned().unwrap_or_default();
    let priced = prices(declared) || prices(&held);
    let Model { name, rates, web_search, long_context, context_window, max_output, display_name, aliases, place: _ } =
        declared.clone();
    let (vendor, model) = name.split_once('/').unwrap_or_default();
    let merged = |ours: Option<Dollars>, theirs: Option<Dollars>| nano(ours.or(theirs));
    let long_context = match long_context.or(held.long_context) {
        Some(Tier::Above(tier)) => Some(tier_of(&tier)),
        Some(Tier::None) | None => None,
    };
    let price = v1::Price {
        input: merged(rates.input, held.rates.input),
        output: merged(rates.output, held.rates.output),
        cache_read: merged(rates.cache_read, held.rates.cache_read),
        cache_write_5m: merged(rates.cache_write_5m, held.rates.cache_write_5m),
        cache_write_1h: merged(rates.cache_write_1h, held.rates.cache_write_1h),
        long_context,
        web_search: merged(web_search, held.web_search),
    };
    v1::Model {
        vendor: vendor.to_owned(),
        model: model.to_owned(),
        display_name: display_name.or(held.display_name).unwrap_or_default(),
        aliases: aliases.or(held.aliases).unwrap_or_default(),
        context_window: context_window.or(held.context_window).unwrap_or_default(),
        max_output: max_output.or(held.max_output).unwrap_or_default(),
        price: priced.then_some(price),
        ..v1::Model::default()
    }
}

fn tier_of(tier: &LongContext) -> v1::LongContext {
    let LongContext { threshold, rates: Rates { input, output, cache_read, cache_write_5m, cache_write_1h } } = tier;
    v1::LongContext {
        threshold: *threshold,
        input: nano(*input),
        output: nano(*output),
        cache_read: nano(*cache_read),
        cache_write_5m: nano(*cache_write_5m),
        cache_write_1h: nano(*cache_write_1h),
    }
}

fn nano(amount: Option<Dollars>) -> i64 {
    amount.unwrap_or_default().0.get()
}
