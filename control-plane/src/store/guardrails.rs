//! The rows of guardrails, and which objects they name.

use serde::{Deserialize, Serialize};
use tollgate_policy::{
    guardrail::{Action, Directions, Expression, FINGERPRINT_BYTES, RuleSource},
    id::{CustomerId, GuardrailId, TeamId},
    name::Name,
};

use super::{Position, Row, Statement, StoreError, TextMatch, Txn, organisation::Stamp, statement};

/// The kind of a guardrail whose rules find credentials.
pub const SECRETS: &str = "secrets";
/// The kind of one with expressions of one's own.
pub const EXPRESSIONS: &str = "expressions";
/// The kind of one with words.
pub const WORDS: &str = "words";
/// Every kind.
pub const KINDS: [&str; 3] = [SECRETS, EXPRESSIONS, WORDS];

/// A guardrail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Guardrail {
    /// Its id.
    pub id: GuardrailId,
    /// Its name.
    pub name: Name,
    /// Whether it does nothing.
    pub disabled: bool,
    /// Where its rules come from.
    pub source: RuleSource,
    /// Which of them act, as patterns, as they were written.
    pub rules: Vec<String>,
    /// Where it looks.
    pub directions: Directions,
    /// What is done.
    pub action: Action,
    /// Whether what it finds is told, and nothing is done.
    pub shadow: bool,
    /// Whom it is for.
    pub owners: Owners,
    /// For which of their keys, as patterns of names.
    pub keys: Vec<String>,
    /// For which models, as patterns.
    pub models: Vec<String>,
    /// What it lets pass, by fingerprint.
    pub allowed: Vec<Allowance>,
    /// Its history.
    pub stamp: Stamp,
}

/// Whom a guardrail is for; both empty: everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Owners {
    /// These customers.
    pub customers: Vec<CustomerId>,
    /// These teams.
    pub teams: Vec<TeamId>,
}

/// Something that is let pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// Which secret.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// Until when, in Unix milliseconds; `None`: for good.
    pub until_ms: Option<i64>,
    /// Why.
    pub reason: String,
}

/// Which guardrails to list.
#[derive(Clone, Debug, Default)]
pub struct GuardrailFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// The kind.
    pub kind: Option<&'static str>,
    /// Whether disabled.
    pub disabled: Option<bool>,
}

// The forms of the JSON columns.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ExpressionForm {
    id: String,
    regex: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AllowanceForm {
    fingerprint: String,
    until_ms: Option<i64>,
    reason: String,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The guardrail with this id or name.
    pub async fn guardrail_find(&mut self, named: &str) -> Result<Option<Guardrail>, StoreError> {
        let select = sql!("SELECT * FROM guardrails WHERE id = $1 OR name = $1", named);
        self.fetch_optional(select).await?.map(|row| Guardrail::read(&row)).transpose()
    }

    /// How many guardrails there are.
    pub async fn guardrail_count(&mut self) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS count FROM guardrails")).await?.int("count")
    }

    /// The guardrails that match, in the order of creation.
    pub async fn guardrail_list(
        &mut self,
        filter: &GuardrailFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Guardrail>, StoreError> {
        let GuardrailFilter { name, kind, disabled } = filter;
        let mut select = sql!("SELECT * FROM guardrails WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("kind", *kind);
        select.narrow("disabled", *disabled);
        select.page(after, limit);
        self.fetch_all(select).await?.iter().map(Guardrail::read).collect()
    }

    /// The guardrails that changed after a revision.
    pub async fn guardrails_changed(&mut self, after: i64) -> Result<Vec<Guardrail>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM guardrails WHERE revision > $1", after)).await?;
        rows.iter().map(Guardrail::read).collect()
    }

    /// Stores a new guardrail.
    pub async fn guardrail_insert(&mut self, guardrail: &Guardrail) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO guardrails (id, name, disabled, kind, builtin, rule_file, expressions, words, rules, on_request,
             on_response, action, shadow, customers, teams, keys, models, allowed, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
            guardrail.id.as_str(),
        );
        self.execute(guardrail.stamp.bind(guardrail.bind(insert)?)).await?;
        self.guardrail_links(guardrail).await
    }

    /// Stores the changed fields of a guardrail.
    pub async fn guardrail_update(&mut self, guardrail: &Guardrail) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE guardrails SET name = $2, disabled = $3, kind = $4, builtin = $5, rule_file = $6, expressions = $7,
             words = $8, rules = $9, on_request = $10, on_response = $11, action = $12, shadow = $13, customers = $14,
             teams = $15, keys = $16, models = $17, allowed = $18, update_time = $19, revision = $20 WHERE id = $1",
            guardrail.id.as_str(),
        );
        let Stamp { update_time, revision, .. } = guardrail.stamp;
        self.execute(guardrail.bind(update)?.bind(update_time).bind(revision)).await?;
        self.execute(sql!("DELETE FROM guardrail_references WHERE guardrail = $1", guardrail.id.as_str())).await?;
        self.guardrail_links(guardrail).await
    }

    /// Deletes a guardrail, and remembers that it is gone.
    pub async fn guardrail_delete(&mut self, id: &GuardrailId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM guardrails WHERE id = $1", id.as_str())).await?;
        self.tombstone(GuardrailId::NOUN, id.as_str(), revision).await
    }

    /// The names of at most five guardrails that name the object with this id: a customer or a team.
    pub async fn guardrails_naming(&mut self, id: &str) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM guardrails WHERE id IN
             (SELECT guardrail FROM guardrail_references WHERE customer = $1 OR team = $1) ORDER BY name LIMIT 5",
            id
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    async fn guardrail_links(&mut self, guardrail: &Guardrail) -> Result<(), StoreError> {
        let Owners { customers, teams } = &guardrail.owners;
        let id = guardrail.id.as_str();
        for customer in customers.iter().map(CustomerId::as_str) {
            let insert = sql!("INSERT INTO guardrail_references (guardrail, customer) VALUES ($1, $2)", id, customer);
            self.execute(insert).await?;
        }
        for team in teams.iter().map(TeamId::as_str) {
            self.execute(sql!("INSERT INTO guardrail_references (guardrail, team) VALUES ($1, $2)", id, team)).await?;
        }
        Ok(())
    }
}

/// The kind of a guardrail with rules from there.
#[must_use]
pub const fn kind(source: &RuleSource) -> &'static str {
    match source {
        RuleSource::Secrets { .. } => SECRETS,
        RuleSource::Expressions(_) => EXPRESSIONS,
        RuleSource::Words(_) => WORDS,
    }
}

// === impl Guardrail ===

impl Guardrail {
    // As the columns from name to allowed.
    fn bind(&self, statement: Statement) -> Result<Statement, StoreError> {
        let Self {
            id: _,
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
        } = self;
        let (mut has_builtin, mut rule_file, mut own, mut listed) = (false, "", Vec::new(), Vec::new());
        match source {
            RuleSource::Secrets { builtin, file } => {
                (has_builtin, rule_file) = (*builtin, file.as_deref().unwrap_or_default());
            }
            RuleSource::Expressions(expressions) => own = expressions.iter().map(ExpressionForm::of).collect(),
            RuleSource::Words(words) => listed = words.to_vec(),
        }
        let allowed: Vec<_> = allowed.iter().map(AllowanceForm::of).collect();
        let json = |column, text: Result<String, _>| text.map_err(|error| StoreError::corrupt(column, error));
        Ok(statement
            .bind(name.as_str())
            .bind(*disabled)
            .bind(kind(source))
            .bind(has_builtin)
            .bind(rule_file)
            .bind(json("expressions", serde_json::to_string(&own))?)
            .bind(statement::list(listed))
            .bind(statement::list(rules))
            .bind(*request)
            .bind(*response)
            .bind(action.word())
            .bind(*shadow)
            .bind(statement::list(customers.iter().map(CustomerId::as_str)))
            .bind(statement::list(teams.iter().map(TeamId::as_str)))
            .bind(statement::list(keys))
            .bind(statement::list(models))
            .bind(json("allowed", serde_json::to_string(&allowed))?))
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", GuardrailId::parse)?,
            name: row.parsed("name", Name::parse)?,
            disabled: row.flag("disabled")?,
            source: source(row)?,
            rules: row.list("rules")?,
            directions: Directions { request: row.flag("on_request")?, response: row.flag("on_response")? },
            action: row.parsed("action", |word| Action::of_word(word).ok_or("not an action"))?,
            shadow: row.flag("shadow")?,
            owners: Owners {
                customers: row.ids("customers", CustomerId::parse)?,
                teams: row.ids("teams", TeamId::parse)?,
            },
            keys: row.list("keys")?,
            models: row.list("models")?,
            allowed: row.parsed("allowed", |text| {
                let forms: Vec<AllowanceForm> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                forms.into_iter().map(AllowanceForm::allowance).collect::<Result<_, String>>()
            })?,
            stamp: Stamp::read(row)?,
        })
    }
}

fn source(row: &Row) -> Result<RuleSource, StoreError> {
    match row.text("kind")?.as_str() {
        SECRETS => {
            let file = Some(row.text("rule_file")?).filter(|text| !text.is_empty());
            Ok(RuleSource::Secrets { builtin: row.flag("builtin")?, file: file.map(Into::into) })
        }
        EXPRESSIONS => {
            let forms: Vec<ExpressionForm> = row.parsed("expressions", |text| serde_json::from_str(text))?;
            Ok(RuleSource::Expressions(forms.into_iter().map(ExpressionForm::expression).collect()))
        }
        WORDS => Ok(RuleSource::Words(row.list("words")?.into_iter().map(Into::into).collect())),
        other => Err(StoreError::corrupt("kind", other)),
    }
}

// === impl ExpressionForm ===

impl ExpressionForm {
    fn of(expression: &Expression) -> Self {
        let Expression { id, regex } = expression;
        Self { id: id.to_string(), regex: regex.to_string() }
    }

    fn expression(self) -> Expression {
        let Self { id, regex } = self;
        Expression { id: id.into(), regex: regex.into() }
    }
}

// === impl AllowanceForm ===

impl AllowanceForm {
    fn of(allowance: &Allowance) -> Self {
        let Allowance { fingerprint, until_ms, reason } = allowance;
        Self { fingerprint: hex::encode(fingerprint), until_ms: *until_ms, reason: reason.clone() }
    }

    fn allowance(self) -> Result<Allowance, String> {
        let Self { fingerprint, until_ms, reason } = self;
        let mut bytes = [0; FINGERPRINT_BYTES];
        hex::decode_to_slice(&fingerprint, &mut bytes).map_err(|error| error.to_string())?;
        Ok(Allowance { fingerprint: bytes, until_ms, reason })
    }
}
