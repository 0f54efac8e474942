//! `tollgate key`: what developers and automation present to a proxy.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use tollgate_proto::admin::v1;

mod view;

use super::{
    Changed, Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
    quota::{Quota, QuotaArguments, QuotaField, view::providers},
};
use crate::{
    arguments::{Deletion, Listing, Named, NewName},
    failure::Failure,
    literals::{
        Expiry, Tag,
        audit::Audit,
        mcp::{RuleArgument, access},
        name, pattern, reference, to_wire,
    },
    output::Answer,
};
use view::{KeyView, SecretView};

/// What people are told beside a new secret.
const SECRET_NOTE: &str = "the secret is shown this once; keep it now";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key and print its secret, this once
    #[command(
        after_help = "Example: tollgate key create --name payments-dev --team platform --model 'claude-*' --budget '500 USD/1M' --expires 30d -o json"
    )]
    Create(Box<Create>),
    /// Show one key, without its secret
    #[command(after_help = "Example: tollgate key get payments-dev -o json")]
    Get(Named),
    /// List keys
    #[command(after_help = "Example: tollgate key list --team platform --state active")]
    List(List),
    /// Change a key; an option that is given more than once replaces the whole list
    #[command(after_help = "Example: tollgate key update payments-dev --model 'claude-*' --model '!claude-opus-*'")]
    Update(Box<Update>),
    /// Delete a key; its usage stays in the ledger
    #[command(after_help = "Example: tollgate key delete payments-dev")]
    Delete(Deletion),
    /// Give a key a new secret and print it, this once; the old one dies at once
    #[command(after_help = "Example: tollgate key rotate payments-dev -o json")]
    Rotate(Named),
    /// Refuse a key from now on and cut its open streams
    #[command(after_help = "Example: tollgate key revoke payments-dev --reason leaked")]
    Revoke {
        #[command(flatten)]
        named: Named,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Make a revoked key usable again
    #[command(after_help = "Example: tollgate key enable payments-dev")]
    Enable(Named),
}

/// A new key.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    name: NewName,
    /// The team that owns the key, by id or name; fixed after creation
    #[arg(long, value_parser = reference)]
    team: String,
    /// The user to whom the key is attributed, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

/// What a key may do; the same for a new key and a changed one.
#[derive(Args, Debug)]
pub(crate) struct Limits {
    /// What people read
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// A model that may be asked for; '*' stands for any run of characters, a leading '!' denies [may be repeated; none: every model]
    #[arg(long = "model", value_name = "PATTERN", value_parser = pattern)]
    models: Vec<String>,
    /// A provider that may be reached, by id or name [may be repeated; none: every provider]
    #[arg(long = "provider", value_name = "PROVIDER", value_parser = reference)]
    providers: Vec<String>,
    /// A provider's credential that may be used [may be repeated; none: every one]
    #[arg(long = "credential", value_name = "PROVIDER/NAME", value_parser = reference)]
    credentials: Vec<String>,
    /// A region in which requests may be received and answered, as replicas and providers say where they are; '*' stands for any run of characters, a leading '!' denies [may be repeated; none: everywhere]
    #[arg(long = "region", value_name = "PATTERN", value_parser = pattern)]
    regions: Vec<String>,
    /// A tool that may be used, as SERVER.TOOL, or prompt:SERVER.PROMPT, resource:SERVER.URI, or without a dot a tool of the agent's own; '*' stands for any run of characters, a leading '!' denies [may be repeated; none: every tool]
    #[arg(long = "tool", value_name = "PATTERN", value_parser = access)]
    tools: Vec<String>,
    /// What must hold of the arguments of calls, a pattern over SERVER.TOOL and a condition in CEL, such as 'github.create_issue: arguments.repo.startsWith("acme/")'; what cannot be decided is refused [may be repeated: each must hold]
    #[arg(long = "tool-rule", value_name = "PATTERN: CONDITION")]
    tool_rules: Vec<RuleArgument>,
    /// When the key ends: a duration such as 30d, an instant in RFC 3339, a day, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// A label for reports [may be repeated]
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<Tag>,
    /// Whether requests are refused that the audit log may miss, or go on and are counted; what a budget pays for is refused either way
    #[arg(long)]
    audit: Option<Audit>,
    #[command(flatten)]
    quota: QuotaArguments,
}

/// Which keys are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only keys of this team, by id or name
    #[arg(long, value_parser = reference)]
    team: Option<String>,
    /// Only keys of this user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Only keys in this state
    #[arg(long)]
    state: Option<State>,
    #[command(flatten)]
    listing: Listing,
}

/// A changed key.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The id or the name
    #[arg(value_parser = reference)]
    key: String,
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// The user to whom the key is attributed, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    #[command(flatten)]
    limits: Limits,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
}

/// The state of a key, to list by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Active,
    Revoked,
}

/// A field that can be emptied. An empty list admits everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Clearable {
    DisplayName,
    User,
    Models,
    Providers,
    Credentials,
    Regions,
    Tools,
    #[value(name = "tool_rules", alias = "tool-rules")]
    ToolRules,
    Tags,
    Budgets,
    Limits,
    #[value(name = "session_limit", alias = "session-limit")]
    SessionLimit,
}

impl KeyCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.keys();
        let key = match self {
            Self::Create(create) => {
                let key = Some(create.key(context.now)?);
                let created = client.create_key(v1::CreateKeyRequest { key }).await?.into_inner();
                return secret(context, created).await;
            }
            Self::Rotate(Named { name }) => {
                let rotated = client.rotate_key(v1::RotateKeyRequest { key: name }).await?.into_inner();
                return secret(context, rotated).await;
            }
            Self::Get(Named { name }) => client.get_key(v1::GetKeyRequest { key: name }).await?,
            Self::List(list) => {
                let state = list.state.map(State::text);
                let filter = Filter::new(list.listing.filter)
                    .and("team", list.team)?
                    .and("user", list.user)?
                    .and("state", state)?;
                let found = all(context, list.listing.limit, filter.text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update(update) => {
                let (named, mut wanted, update_mask) = update.change(context.now)?;
                wanted.id = client.get_key(v1::GetKeyRequest { key: named }).await?.into_inner().id;
                client.update_key(v1::UpdateKeyRequest { key: Some(wanted), update_mask: Some(update_mask) }).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteKeyRequest { key: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_key(request).await?;
                return done(context.format, "deleted", "key", &name);
            }
            Self::Revoke { named, reason } => {
                client.revoke_key(v1::RevokeKeyRequest { key: named.name, reason: reason.unwrap_or_default() }).await?
            }
            Self::Enable(Named { name }) => client.enable_key(v1::EnableKeyRequest { key: name }).await?,
        };
        one(context, views(context, vec![key.into_inner()]).await)
    }
}

impl Create {
    fn key(self, now: Timestamp) -> Result<v1::Key, Failure> {
        let Self { name, team, user, limits } = self;
        let Limits {
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
            quota,
        } = limits;
        let Quota { budgets, limits, session_limit } = quota.new_quota()?;
        Ok(v1::Key {
            name: name.into_name(),
            display_name: display_name.unwrap_or_default(),
            team,
            user: user.unwrap_or_default(),
            expire_time: expires.map(|expires| end(expires, now)).transpose()?.flatten(),
            models,
            providers,
            credentials,
            regions,
            tools,
            tool_rules: tool_rules.into_iter().map(RuleArgument::into_wire).collect(),
            tags: tags.into_iter().map(|tag| (tag.name, tag.value)).collect(),
            budgets,
            limits,
            session_limit,
            audit: audit.map_or_else(v1::KeyAudit::default, Audit::to_wire).into(),
            ..v1::Key::default()
        })
    }
}

impl Update {
    /// Which key, its new values, and the fields that change.
    fn change(self, now: Timestamp) -> Result<(String, v1::Key, prost_types::FieldMask), Failure> {
        let Self { key, name, user, limits, clear } = self;
        let Limits {
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
            quota,
        } = limits;
        let cleared = |field| clear.contains(&field);
        let text = |value: Option<String>, field| if cleared(field) { Some(String::new()) } else { value };
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let set = [
            (Clearable::DisplayName, display_name.is_some()),
            (Clearable::User, user.is_some()),
            (Clearable::Models, !models.is_empty()),
            (Clearable::Providers, !providers.is_empty()),
            (Clearable::Credentials, !credentials.is_empty()),
            (Clearable::Regions, !regions.is_empty()),
            (Clearable::Tools, !tools.is_empty()),
            (Clearable::ToolRules, !tool_rules.is_empty()),
            (Clearable::Tags, !tags.is_empty()),
        ];
        if set.into_iter().any(|(field, set)| set && cleared(field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        let rules = (!tool_rules.is_empty() || cleared(Clearable::ToolRules)).then_some(tool_rules);
        let tags: Option<Vec<Tag>> = (!tags.is_empty() || cleared(Clearable::Tags)).then_some(tags);
        let mut changed = Changed::default();
        let quota_cleared: Vec<_> = clear.iter().filter_map(|field| field.quota()).collect();
        let Quota { budgets, limits, session_limit } = quota.changed(&quota_cleared, &mut changed)?;
        let wanted = v1::Key {
            name: changed.field("name", name),
            display_name: changed.field("display_name", text(display_name, Clearable::DisplayName)),
            user: changed.field("user", text(user, Clearable::User)),
            // In the mask and unset means: never.
            expire_time: changed.field("expire_time", expires.map(|expires| end(expires, now)).transpose()?),
            models: changed.field("models", list(models, Clearable::Models)),
            providers: changed.field("providers", list(providers, Clearable::Providers)),
            credentials: changed.field("credentials", list(credentials, Clearable::Credentials)),
            regions: changed.field("regions", list(regions, Clearable::Regions)),
            tools: changed.field("tools", list(tools, Clearable::Tools)),
            tool_rules: changed.field("tool_rules", rules).into_iter().map(RuleArgument::into_wire).collect(),
            tags: changed.field("tags", tags).into_iter().map(|tag| (tag.name, tag.value)).collect(),
            budgets,
            limits,
            session_limit,
            audit: changed.field("audit", audit).to_wire().into(),
            ..v1::Key::default()
        };
        Ok((key, wanted, changed.mask()?))
    }
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

impl Clearable {
    const fn quota(self) -> Option<QuotaField> {
        match self {
            Self::Budgets => Some(QuotaField::Budgets),
            Self::Limits => Some(QuotaField::Limits),
            Self::SessionLimit => Some(QuotaField::SessionLimit),
            _ => None,
        }
    }
}

fn end(expires: Expiry, now: Timestamp) -> Result<Option<prost_types::Timestamp>, Failure> {
    let Expiry::At(moment) = expires else { return Ok(None) };
    let at = moment.after(now).map_err(|reason| Failure::usage(format!("--expires {reason}")))?;
    if at <= now {
        return Err(Failure::usage("--expires lies in the past").hint("to stop a key now, use `tollgate key revoke`"));
    }
    Ok(Some(to_wire(at)))
}

/// Follows the list of keys.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Key>, Failure> {
    let mut client = context.client.keys();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListKeysRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_keys(request).await?.into_inner();
        Ok((page.keys, page.next_page_token))
    })
    .await
}

async fn secret(context: &Context, created: v1::KeySecret) -> Result<Answer, Failure> {
    let v1::KeySecret { key, secret } = created;
    let mut views = views(context, key.into_iter().collect()).await;
    match views.pop() {
        Some(key) => Ok(context.format.item(&SecretView::new(secret, key))?.note(SECRET_NOTE)),
        None => Err(Failure::new("internal", "the control plane returned a secret without its key")),
    }
}

async fn views(context: &Context, keys: Vec<v1::Key>) -> Vec<KeyView> {
    let mut names = Names::default();
    names.learn(context, Noun::Team, keys.iter().map(|key| key.team.as_str())).await;
    names.learn(context, Noun::User, keys.iter().map(|key| key.user.as_str())).await;
    if keys.iter().any(|key| !key.credentials.is_empty()) {
        // A credential has no name without its provider.
        names.learn_all(context, Noun::Provider).await;
    } else {
        let covered = keys.iter().flat_map(|key| providers(&key.budgets));
        let allowed = keys.iter().flat_map(|key| &key.providers).map(String::as_str);
        names.learn(context, Noun::Provider, allowed.chain(covered)).await;
    }
    keys.into_iter().map(|key| KeyView::new(key, &names, context.now)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command, failure::Exit};

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn parsed(line: &[&str]) -> KeyCommand {
        match Cli::try_parse_from(["tollgate", "key"].iter().chain(line)).unwrap().command {
            Command::Key(command) => command,
            other => panic!("{other:?}"),
        }
    }

    fn changed(line: &[&str]) -> Result<(v1::Key, Vec<String>), Failure> {
        let KeyCommand::Update(update) = parsed(&[&["update", "k"], line].concat()) else { panic!() };
        let (_, key, mask) = update.change(now())?;
        Ok((key, mask.paths))
    }

    #[test]
    fn a_new_key_carries_what_was_typed() {
        let line =
            ["create", "--name", "n", "--team", "t", "--model", "claude-*", "--model", "!*opus*", "--provider", "p"];
        let more = ["--credential", "p/c", "--user", "u", "--expires", "30d", "--tag", "a=b", "--tag", "c=d"];
        let KeyCommand::Create(create) = parsed(&[&line[..], &more[..]].concat()) else { panic!() };
        let key = create.key(now()).unwrap();
        assert_eq!((key.name.as_str(), key.team.as_str(), key.user.as_str()), ("n", "t", "u"));
        assert_eq!(key.models, ["claude-*", "!*opus*"]);
        assert_eq!((key.providers, key.credentials), (vec!["p".to_owned()], vec!["p/c".to_owned()]));
        assert_eq!(key.tags.len(), 2);
        assert_eq!(key.expire_time, Some(to_wire("2026-03-31T12:00:00Z".parse().unwrap())));
    }

    #[test]
    fn a_new_key_carries_its_budgets_and_limits() {
        let line = ["create", "n", "--team", "t", "--budget", "500 USD/1M", "--budget", "100 USD/1d@UTC,soft"];
        let more = ["--limit", "600 requests/1m", "--limit", "10 parallel", "--session-limit", "5 USD,20 repeats"];
        let KeyCommand::Create(create) = parsed(&[&line[..], &more[..], &["--session-limit", "pause=10m"]].concat())
        else {
            panic!()
        };
        let v1::Key { budgets, limits, session_limit, .. } = create.key(now()).unwrap();
        let amounts: Vec<_> = budgets.iter().map(|budget| budget.limit_nano_usd).collect();
        assert_eq!(amounts, [500_000_000_000, 100_000_000_000]);
        assert_eq!((limits.len(), limits[1].measure()), (2, v1::RateMeasure::Parallel));
        let expect = v1::SessionLimit { dollars_nano_usd: 5_000_000_000, requests: 0, repeats: 20, pause_seconds: 600 };
        assert_eq!(session_limit, Some(expect));
    }

    #[test]
    fn what_is_no_budget_or_limit_is_told_what_to_type() {
        for (flag, text, says) in [
            ("--budget", "500", "500 USD/1M"),
            ("--limit", "600", "600 requests/1m"),
            ("--session-limit", "5", "20 repeats"),
        ] {
            let line = ["tollgate", "key", "create", "n", "--team", "t", flag, text];
            let refusal = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    #[test]
    fn an_update_masks_what_was_given_and_nothing_else() {
        for (line, paths) in [
            (&["--model", "x"][..], &["models"][..]),
            (&["--expires", "never"], &["expire_time"]),
            (&["--clear", "models", "--clear", "user"], &["user", "models"]),
            (&["--audit", "best-effort"], &["audit"]),
            (&["--region", "eu-*", "--region", "!eu-south-*"], &["regions"]),
            (&["--clear", "regions"], &["regions"]),
            (&["--tool", "github.*", "--tool", "!github.delete_*"], &["tools"]),
            (&["--clear", "tools"], &["tools"]),
            (&["--tool-rule", "a.*: arguments.x == 1", "--tool-rule", "*: true"], &["tool_rules"]),
            (&["--clear", "tool_rules"], &["tool_rules"]),
            (&["--clear", "session_limit", "--budget", "5 USD/1d"], &["budgets", "session_limit"]),
            (&["--display-name", "", "--name", "n", "--tag", "a=b"], &["name", "display_name", "tags"]),
        ] {
            assert_eq!(changed(line).unwrap().1, paths, "{line:?}");
        }
        assert_eq!(changed(&["--expires", "never"]).unwrap().0.expire_time, None);
        for (word, audit) in [
            ("required", v1::KeyAudit::Required),
            ("best-effort", v1::KeyAudit::BestEffort),
            ("best_effort", v1::KeyAudit::BestEffort),
        ] {
            assert_eq!(changed(&["--audit", word]).unwrap().0.audit(), audit, "{word}");
        }
    }

    #[test]
    fn an_update_that_says_nothing_or_both_is_refused() {
        for line in [
            &[][..],
            &["--clear", "models", "--model", "x"],
            &["--clear", "limits", "--limit", "10 parallel"],
            &["--clear", "regions", "--region", "eu-*"],
            &["--clear", "tools", "--tool", "github.*"],
            &["--clear", "tool_rules", "--tool-rule", "a.*: true"],
            &["--expires", "2020-01-01"],
        ] {
            assert_eq!(changed(line).unwrap_err().exit, Exit::Usage, "{line:?}");
        }
    }
}
