//! How a key is shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    commands::{names::Names, quota::view::QuotaView, some_or_all},
    literals::{audit::Audit, from_wire, printed},
    output::View,
};

/// A key as it is shown. Ids stand beside names, since a name may change.
#[derive(Serialize)]
pub(super) struct KeyView {
    id: String,
    name: String,
    display_name: String,
    team: String,
    team_name: String,
    user: String,
    user_name: String,
    state: &'static str,
    expired: bool,
    expire_time: Option<String>,
    models: Vec<String>,
    providers: Vec<String>,
    provider_names: Vec<String>,
    credentials: Vec<String>,
    credential_names: Vec<String>,
    regions: Vec<String>,
    tools: Vec<String>,
    tool_rules: Vec<ToolRuleView>,
    tags: BTreeMap<String, String>,
    audit: Audit,
    #[serde(flatten)]
    quota: QuotaView,
    prefix: String,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

/// What must hold of the arguments of calls.
#[derive(Serialize)]
struct ToolRuleView {
    tools: String,
    when: String,
}

/// A key together with its secret.
#[derive(Serialize)]
pub(super) struct SecretView {
    id: String,
    name: String,
    secret: String,
    #[serde(flatten)]
    key: Rest,
}

/// What stands behind the secret: the key without what was said before it.
#[derive(Serialize)]
struct Rest {
    team: String,
    team_name: String,
    user: String,
    state: &'static str,
    expire_time: Option<String>,
    #[serde(flatten)]
    quota: QuotaView,
    prefix: String,
    create_time: Option<String>,
}

impl KeyView {
    pub(super) fn new(key: v1::Key, names: &Names, now: Timestamp) -> Self {
        let (state, audit) = (state_name(key.state()), Audit::from_wire(key.audit()));
        let v1::Key {
            id,
            name,
            display_name,
            team,
            user,
            state: _,
            expire_time,
            models,
            providers,
            credentials,
            tags,
            prefix,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
            audit: _,
            regions,
            tools,
            tool_rules,
        } = key;
        let named = |ids: &[String]| ids.iter().map(|id| names.of(id)).collect();
        Self {
            quota: QuotaView::new(budgets, limits, session_limit, names),
            team_name: names.of(&team),
            user_name: names.of(&user),
            provider_names: named(&providers),
            credential_names: named(&credentials),
            expired: from_wire(expire_time.as_ref()).is_some_and(|end| end <= now),
            expire_time: printed(expire_time.as_ref()),
            create_time: printed(create_time.as_ref()),
            update_time: printed(update_time.as_ref()),
            tags: tags.into_iter().collect(),
            audit,
            id,
            name,
            display_name,
            team,
            user,
            state,
            models,
            providers,
            credentials,
            regions,
            tools,
            tool_rules: tool_rules
                .into_iter()
                .map(|v1::ToolRule { tools, when }| ToolRuleView { tools, when })
                .collect(),
            prefix,
            etag,
        }
    }
}

impl SecretView {
    pub(super) fn new(secret: String, key: KeyView) -> Self {
        let KeyView { id, name, team, team_name, user, state, expire_time, quota, prefix, create_time, .. } = key;
        Self { id, name, secret, key: Rest { team, team_name, user, state, expire_time, quota, prefix, create_time } }
    }
}

impl View for KeyView {
    const PLURAL: &'static str = "keys";
    const LISTED: &'static [&'static str] =
        &["name", "team", "user", "state", "models", "budgets", "limits", "expires", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let state = if self.expired && self.state == "active" { "expired" } else { self.state };
        let tags: Vec<_> = self.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let rules: Vec<_> =
            self.tool_rules.iter().map(|ToolRuleView { tools, when }| format!("{tools}: {when}")).collect();
        let mut fields = vec![
            ("name", self.name.clone()),
            ("display_name", self.display_name.clone()),
            ("team", self.team_name.clone()),
            ("user", self.user_name.clone()),
            ("state", state.to_owned()),
            ("models", some_or_all(&self.models)),
            ("providers", some_or_all(&self.provider_names)),
            ("credentials", some_or_all(&self.credential_names)),
            ("regions", some_or_all(&self.regions)),
            ("tools", some_or_all(&self.tools)),
            ("tool_rules", rules.join("; ")),
            ("expires", self.expire_time.clone().unwrap_or_else(|| "never".to_owned())),
            ("tags", tags.join(" ")),
            ("audit", self.audit.word().to_owned()),
        ];
        fields.extend(self.quota.fields());
        fields.extend([
            ("prefix", self.prefix.clone()),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]);
        fields
    }
}

impl View for SecretView {
    const PLURAL: &'static str = "keys";
    const LISTED: &'static [&'static str] = &["name", "secret"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let expires = self.key.expire_time.clone().unwrap_or_else(|| "never".to_owned());
        let mut fields = vec![
            ("name", self.name.clone()),
            ("secret", self.secret.clone()),
            ("team", self.key.team_name.clone()),
            ("expires", expires),
        ];
        fields.extend(self.key.quota.fields());
        fields.push(("id", self.id.clone()));
        fields
    }
}

/// The state in a word.
const fn state_name(state: v1::KeyState) -> &'static str {
    match state {
        v1::KeyState::Active => "active",
        v1::KeyState::Revoked => "revoked",
        v1::KeyState::Unspecified => "unknown",
    }
}
