//! The commands: one file a noun.

pub(crate) mod filter;
pub(crate) mod names;
pub(crate) mod quota;
pub(crate) mod text;
pub(crate) mod customer;
pub(crate) mod team;
pub(crate) mod user;
pub(crate) mod key;
pub(crate) mod provider;
pub(crate) mod route;
pub(crate) mod guardrail;
pub(crate) mod mcp_server;
pub(crate) mod mcp_tool;
pub(crate) mod model;
pub(crate) mod budget;
pub(crate) mod role;
pub(crate) mod binding;
pub(crate) mod service_account;
pub(crate) mod session;
pub(crate) mod replica;
pub(crate) mod audit;
pub(crate) mod usage;
pub(crate) mod identity;
pub(crate) mod login;
pub(crate) mod token;
pub(crate) mod declarative;
pub(crate) mod completions;

use clap::Subcommand;
use jiff::Timestamp;
use prost_types::FieldMask;
use serde::Serialize;
use tonic::Status;

use crate::{
    arguments::Cli,
    client::Client,
    failure::Failure,
    output::{Answer, Format, View, bare_table},
    settings::Settings,
    surroundings::Surroundings,
};

/// How many objects are asked for at once: the most that the control plane gives.
const PAGE_SIZE: i32 = 1_000;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Customers: the tenants to which teams belong
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Teams: the groups that own keys
    #[command(subcommand)]
    Team(team::TeamCommand),
    /// Users: the people to whom keys are attributed
    #[command(subcommand)]
    User(user::UserCommand),
    /// Virtual keys: what developers and automation present to a proxy
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Providers of models, and their credentials
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Routes: to which providers and models the requests for a model go
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Guardrails: what is looked for in prompts and answers, what is done, and what was found
    #[command(subcommand)]
    Guardrail(guardrail::GuardrailCommand),
    /// Servers of tools that agents reach by the Model Context Protocol (MCP)
    #[command(subcommand)]
    McpServer(mcp_server::McpServerCommand),
    /// Tools of those servers, and the approval of their definitions
    #[command(subcommand)]
    McpTool(mcp_tool::McpToolCommand),
    /// Models and their prices
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Budgets: how they stand, what replicas have borrowed of them, and corrections
    #[command(subcommand)]
    Budget(budget::BudgetCommand),
    /// Roles: named sets of permissions
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Bindings: who holds which role, where, and until when
    #[command(subcommand)]
    Binding(binding::BindingCommand),
    /// Service accounts: programs that call the admin API, and their tokens
    #[command(subcommand)]
    ServiceAccount(service_account::ServiceAccountCommand),
    /// Sessions: the people who are signed in
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Proxy replicas
    #[command(subcommand)]
    Replica(replica::ReplicaCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Usage and cost
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// Make the control plane as a file says: a plan first, then the changes
    #[command(after_help = declarative::APPLY_HELP)]
    Apply(declarative::Apply),
    /// Show what apply would change; exit code 1 when there is something, 0 when there is nothing
    #[command(after_help = "Example: tollgate diff -f tollgate.yaml")]
    Diff(declarative::Diff),
    /// Print the declarative file of everything, without secrets
    #[command(after_help = declarative::EXPORT_HELP)]
    Export,
    /// Sign in, so that the other commands need no token
    #[command(after_help = login::LOGIN_HELP)]
    Login(login::Login),
    /// End your session and forget it
    #[command(after_help = "Example: tollgate logout")]
    Logout,
    /// Print a short-lived credential for one of your own keys
    #[command(after_help = token::TOKEN_HELP)]
    Token(token::Token),
    /// Show whose token this is and what it may do
    #[command(after_help = "Example: tollgate whoami")]
    Whoami,
    /// Show whether the control plane is sound, and what an operator should look at
    #[command(after_help = "Example: tollgate check -o json")]
    Check,
    /// Print a completion script for a shell
    #[command(after_help = "Example: tollgate completions bash > /etc/bash_completion.d/tollgate")]
    Completions(completions::Completions),
    /// Print the version of this command
    #[command(after_help = "Example: tollgate version")]
    Version,
}

/// What every command that calls the control plane needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) format: Format,
    pub(crate) now: Timestamp,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

/// An answer to a command after which nothing is left to show but that it was done.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    done: std::collections::BTreeMap<&'a str, &'a str>,
}

/// Runs a command.
pub(crate) async fn run(cli: Cli, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
    let Cli { global, command } = cli;
    // These need no control plane; and a file with mistakes is refused before anybody is called.
    let command = match command {
        Command::Version => return version(global.format),
        Command::Completions(completions) => return Ok(completions.run()),
        Command::Apply(apply) => Declarative::Apply(apply.read(surroundings)?),
        Command::Diff(diff) => Declarative::Diff(diff.read(surroundings)?),
        Command::Provider(provider::ProviderCommand::Presets) => return provider::presets::list(global.format),
        Command::Audit(audit) if audit.is_offline() => return audit.run_offline(global.format, surroundings),
        other => Declarative::None(other),
    };
    let mut settings = Settings::read(&global, surroundings)?;
    let command = match command {
        Declarative::None(Command::Login(login)) => return login.run(&settings, global.format, surroundings).await,
        Declarative::None(Command::Logout) => return login::logout(&settings, global.format, surroundings).await,
        Declarative::None(Command::Token(token)) => return token.run(settings, global.format, surroundings).await,
        other => other,
    };
    settings.signed_in(surroundings).await?;
    let called = async {
        let client = Client::connect(&settings).await?;
        let context = Context { client, format: global.format, now: surroundings.now };
        match command {
            Declarative::Apply(apply) => apply.run(&context, surroundings.stdout).await,
            Declarative::Diff(diff) => diff.run(&context).await,
            // An export and a live tail are written while they come.
            Declarative::None(Command::Audit(audit)) => Box::pin(audit.run(&context, surroundings)).await,
            // A text that is tried may come from standard input.
            Declarative::None(Command::Guardrail(command)) => Box::pin(command.run(&context, surroundings)).await,
            // What is approved is shown before.
            Declarative::None(Command::McpTool(command)) => Box::pin(command.run(&context, surroundings)).await,
            Declarative::None(command) => Box::pin(call(command, &context)).await,
        }
    };
    let mut answer = Box::pin(called).await.map_err(|failure| failure.at(&settings.server))?;
    answer.notes.splice(0..0, settings.notes.iter().cloned());
    Ok(answer)
}

/// A command whose file has been read, or another one.
enum Declarative {
    Apply(declarative::ApplyReady),
    Diff(declarative::DiffReady),
    None(Command),
}

async fn call(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Customer(command) => command.run(context).await,
        Command::Team(command) => command.run(context).await,
        Command::User(command) => command.run(context).await,
        Command::Key(command) => command.run(context).await,
        Command::Provider(command) => command.run(context).await,
        Command::Route(command) => command.run(context).await,
        Command::McpServer(command) => command.run(context).await,
        Command::Model(command) => command.run(context).await,
        Command::Budget(command) => command.run(context).await,
        Command::Role(command) => command.run(context).await,
        Command::Binding(command) => command.run(context).await,
        Command::ServiceAccount(command) => command.run(context).await,
        Command::Session(command) => command.run(context).await,
        Command::Replica(command) => command.run(context).await,
        Command::Usage(command) => command.run(context).await,
        Command::Export => declarative::export(context).await,
        Command::Whoami => identity::whoami(context).await,
        Command::Check => identity::check(context).await,
        Command::Apply(_)
        | Command::Diff(_)
        | Command::Audit(_)
        | Command::Guardrail(_)
        | Command::McpTool(_)
        | Command::Completions(_)
        | Command::Version
        | Command::Login(_)
        | Command::Logout
        | Command::Token(_) => Err(Failure::new("internal", "this command runs without a connection")),
    }
}

fn version(format: Format) -> Result<Answer, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        Format::Table => Ok(Answer::raw(format!("tollgate {version}\n"))),
        Format::Json | Format::Yaml => format.document(&Version { version }, bare_table),
    }
}

/// Follows page tokens to the end, or until `limit` objects are there. `fetch` is given a page size and a token, and returns
/// a page and the token of the next one.
pub(crate) async fn pages<T, F>(limit: Option<u32>, mut fetch: F) -> Result<Vec<T>, Failure>
where
    F: AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
{
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let left = limit.saturating_sub(found.len());
        let size = i32::try_from(left).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        let (page, next) = fetch(size, token.clone()).await?;
        let empty = page.is_empty();
        found.extend(page.into_iter().take(left));
        if next.is_empty() || found.len() >= limit {
            return Ok(found);
        }
        // Never ask for ever: a page must bring something or lead on.
        if empty && next == token {
            return Err(Failure::new("internal", "the control plane repeats a page of its list"));
        }
        token = next;
    }
}

/// The fields that an update changes: each value that was given puts its field into the mask.
#[derive(Debug, Default)]
pub(crate) struct Changed(Vec<String>);

impl Changed {
    /// The value for the wire; the field is masked when a value was given.
    pub(crate) fn field<T: Default>(&mut self, field: &str, value: Option<T>) -> T {
        if value.is_some() {
            self.0.push(field.to_owned());
        }
        value.unwrap_or_default()
    }

    /// The mask, which must name something.
    pub(crate) fn mask(self) -> Result<FieldMask, Failure> {
        if self.0.is_empty() {
            return Err(Failure::usage("nothing to change was given").hint("--help shows what can be changed"));
        }
        Ok(FieldMask { paths: self.0 })
    }
}

/// Answers a command that leaves nothing to show: a line for people, `{"deleted": "acme"}` for programs.
pub(crate) fn done(format: Format, verb: &str, noun: &str, name: &str) -> Result<Answer, Failure> {
    match format {
        Format::Table => Ok(Answer::raw("").note(format!("{noun} {name} {verb}"))),
        Format::Json | Format::Yaml => format.document(&Done { done: [(verb, name)].into() }, bare_table),
    }
}

/// Shows the one object that a call returned.
pub(crate) fn one<V: View>(context: &Context, views: Vec<V>) -> Result<Answer, Failure> {
    match views.first() {
        Some(view) => context.format.item(view),
        None => Err(Failure::new("internal", "the control plane returned nothing")),
    }
}

/// How people read a list that admits everything where it is empty, which an empty cell would hide.
pub(crate) fn some_or_all(list: &[String]) -> String {
    if list.is_empty() { "(all)".to_owned() } else { list.join(" ") }
}

/// How people read `disabled`.
pub(crate) fn switched(disabled: bool) -> String {
    if disabled { "disabled" } else { "enabled" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn follow(limit: Option<u32>, total: usize) -> (usize, Vec<i32>) {
        let mut sizes = Vec::new();
        let found = pages(limit, async |size: i32, token: String| {
            sizes.push(size);
            let from: usize = token.parse().unwrap_or(0);
            let to = (from + size as usize).min(total);
            Ok(((from..to).collect(), if to < total { to.to_string() } else { String::new() }))
        })
        .await
        .unwrap();
        assert_eq!(found, (0..found.len()).collect::<Vec<_>>());
        (found.len(), sizes)
    }

    #[tokio::test]
    async fn pages_are_followed_to_the_end_or_the_limit() {
        assert_eq!(follow(None, 2_500).await, (2_500, vec![1_000, 1_000, 1_000]));
        assert_eq!(follow(None, 0).await, (0, vec![1_000]));
        assert_eq!(follow(Some(1_200), 2_500).await, (1_200, vec![1_000, 200]));
        assert_eq!(follow(Some(5), 2_500).await, (5, vec![5]));
        assert_eq!(follow(Some(5), 3).await, (3, vec![5]));
    }

    #[tokio::test]
    async fn a_list_that_repeats_itself_ends() {
        let endless = pages(None, async |_: i32, _: String| Ok((Vec::<u8>::new(), "again".to_owned()))).await;
        assert_eq!(endless.unwrap_err().code, "internal");
    }
}
