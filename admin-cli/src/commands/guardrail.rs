//! `tollgate guardrail`: what is looked for in prompts and answers, what is done where it is found, and what was found.

mod change;
mod findings;
mod trial;
mod view;

use clap::{Args, Subcommand};
use tollgate_proto::admin::v1;

use super::{
    Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
};
use crate::{
    arguments::{Deletion, Listing, Named, NewName},
    failure::Failure,
    literals::{
        guardrail::{AllowedArgument, ExpressionArgument, action, direction, kind},
        pattern, reference,
    },
    output::Answer,
    surroundings::Surroundings,
};
use change::{Update, rule_file};
use findings::Findings;
use trial::Trial;
use view::GuardrailView;

/// What to do with guardrails.
#[derive(Debug, Subcommand)]
pub(crate) enum GuardrailCommand {
    /// Create a guardrail
    #[command(after_help = "Example: tollgate guardrail create secrets --action block\n\
                      Example: tollgate guardrail create leaks --action redact --rule-file gitleaks.toml --rule 'aws-*' --rule tag:internal --key '*' --shadow\n\
                      Example: tollgate guardrail create projects --kind words --word 'Project Blue' --action block --on request --team platform\n\
                      Example: tollgate guardrail create staff --kind expressions --expression 'employee=emp-[0-9]{6}' --action tokenize\n\n\
                      Actions, from the mildest: detect tells it; tokenize sends a placeholder that is taken back in the answer; redact sends one that is not; \
                      block refuses. With --shadow what is found is told, and nothing is done.")]
    Create(Box<Create>),
    /// Show one guardrail
    #[command(after_help = "Example: tollgate guardrail get secrets -o yaml")]
    Get(Named),
    /// List guardrails
    #[command(after_help = "Example: tollgate guardrail list --filter kind=secrets")]
    List(Listing),
    /// Change a guardrail; an option that is given more than once replaces the whole list, --allow and --disallow change it
    #[command(after_help = "Example: tollgate guardrail update secrets --shadow false\n\
                      Example: tollgate guardrail update secrets --allow '0123456789abcdef0123456789abcdef@2027-01-31=a sample of the documentation'")]
    Update(Box<Update>),
    /// Delete a guardrail
    #[command(after_help = "Example: tollgate guardrail delete secrets")]
    Delete(Deletion),
    /// Show what guardrails found, newest first; never the value
    #[command(after_help = "Example: tollgate guardrail findings --since 24h --key payments-dev\n\
                      Example: tollgate guardrail findings --since 7d --by rule -o json")]
    Findings(Box<Findings>),
    /// Show what a guardrail would find in a text; never the value
    #[command(after_help = "Example: tollgate guardrail test secrets --file prompt.txt")]
    Test(Trial),
}

/// A new guardrail.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    name: NewName,
    /// Where its rules come from: secrets, expressions, words
    #[arg(long, default_value = "secrets", value_parser = kind)]
    kind: String,
    /// Leave the rules out that come with Tollgate, and take those of --rule-file alone
    #[arg(long, requires = "rule_file")]
    no_builtin: bool,
    /// What is done where something is found: detect, tokenize, redact, block
    #[arg(long, value_parser = action)]
    action: String,
    /// Tell what is found, and do nothing
    #[arg(long)]
    shadow: bool,
    /// Create it switched off
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    rest: Rest,
}

/// What a new guardrail and a changed one take.
#[derive(Args, Debug)]
pub(crate) struct Rest {
    /// A rule file in the form of Gitleaks (TOML)
    #[arg(long, value_name = "FILE")]
    rule_file: Option<std::path::PathBuf>,
    /// An expression in the syntax of RE2, and what findings call it [may be repeated]
    #[arg(long = "expression", value_name = "ID=REGEX")]
    expressions: Vec<ExpressionArgument>,
    /// A word that must not pass, in any case of letters [may be repeated]
    #[arg(long = "word", value_name = "WORD")]
    words: Vec<String>,
    /// Only these rules: a pattern of ids or, behind tag:, of tags; a leading '!' leaves out [may be repeated; none: all]
    #[arg(long = "rule", value_name = "PATTERN", value_parser = pattern)]
    rules: Vec<String>,
    /// Where it looks: request, response [may be repeated; none: both]
    #[arg(long = "on", value_name = "DIRECTION", value_parser = direction)]
    on: Vec<String>,
    /// Only for the keys of this customer, by id or name [may be repeated; no customer and no team: for everybody]
    #[arg(long = "customer", value_name = "CUSTOMER", value_parser = reference)]
    customers: Vec<String>,
    /// Only for the keys of this team, by id or name [may be repeated]
    #[arg(long = "team", value_name = "TEAM", value_parser = reference)]
    teams: Vec<String>,
    /// Only for keys of such names [may be repeated; none: all]
    #[arg(long = "key", value_name = "PATTERN", value_parser = pattern)]
    keys: Vec<String>,
    /// Only for such models, as clients name them [may be repeated; none: all]
    #[arg(long = "model", value_name = "PATTERN", value_parser = pattern)]
    models: Vec<String>,
    /// Let this pass, by the fingerprint that findings tell, perhaps until a day, and say why [may be repeated]
    #[arg(long = "allow", value_name = "FINGERPRINT[@UNTIL]=REASON")]
    allowed: Vec<AllowedArgument>,
}

impl GuardrailCommand {
    pub(crate) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let mut client = context.client.guardrails();
        let (guardrail, remarks) = match self {
            Self::Create(create) => {
                let request = v1::CreateGuardrailRequest { guardrail: Some(create.guardrail()?) };
                let v1::CreateGuardrailResponse { guardrail, remarks } =
                    client.create_guardrail(request).await?.into_inner();
                (guardrail.unwrap_or_default(), remarks)
            }
            Self::Get(Named { name }) => {
                (client.get_guardrail(v1::GetGuardrailRequest { guardrail: name }).await?.into_inner(), Vec::new())
            }
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update(update) => {
                update.check()?;
                let request = v1::GetGuardrailRequest { guardrail: update.named().to_owned() };
                let found = client.get_guardrail(request).await?.into_inner();
                let v1::UpdateGuardrailResponse { guardrail, remarks } =
                    client.update_guardrail(update.request(found)?).await?.into_inner();
                (guardrail.unwrap_or_default(), remarks)
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteGuardrailRequest { guardrail: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_guardrail(request).await?;
                return done(context.format, "deleted", "guardrail", &name);
            }
            Self::Findings(findings) => return findings.run(context).await,
            Self::Test(trial) => return trial.run(context, surroundings).await,
        };
        let answer = one(context, views(context, vec![guardrail]).await)?;
        Ok(remarks.into_iter().fold(answer, Answer::note))
    }
}

impl Create {
    fn guardrail(self) -> Result<v1::Guardrail, Failure> {
        let Self { name, kind, no_builtin, action, shadow, disabled, rest } = self;
        let Rest { rule_file: path, expressions, words, rules, on, customers, teams, keys, models, allowed } = rest;
        Ok(v1::Guardrail {
            name: name.into_name(),
            disabled,
            kind,
            builtin: no_builtin.then_some(false),
            rule_file: path.as_deref().map(rule_file).transpose()?.unwrap_or_default(),
            expressions: expressions.into_iter().map(ExpressionArgument::into_wire).collect(),
            words,
            rules,
            on,
            action,
            shadow,
            customers,
            teams,
            keys,
            models,
            allowed: allowed.into_iter().map(AllowedArgument::into_wire).collect(),
            ..v1::Guardrail::default()
        })
    }
}

/// Follows the list of guardrails.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Guardrail>, Failure> {
    let mut client = context.client.guardrails();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListGuardrailsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_guardrails(request).await?.into_inner();
        Ok((page.guardrails, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, guardrails: Vec<v1::Guardrail>) -> Vec<GuardrailView> {
    let mut names = Names::default();
    for (noun, ids) in [
        (Noun::Customer, guardrails.iter().flat_map(|each| &each.customers).collect::<Vec<_>>()),
        (Noun::Team, guardrails.iter().flat_map(|each| &each.teams).collect()),
    ] {
        names.learn(context, noun, ids.into_iter().map(String::as_str)).await;
    }
    guardrails.into_iter().map(|guardrail| GuardrailView::new(guardrail, &names)).collect()
}
