//! `tollgate apply`, `diff` and `export`: the declarative file.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use tollgate_proto::admin::v1;
use tonic::Code;

use super::Context;
use crate::{
    declare::{
        carry::{self, Progress},
        document::{Document, Kind, Model, mcp::ApiDocument},
        plan::{self, Plan},
        read, show,
        state::{Lists, State},
        tree::Mistake,
    },
    failure::{Exit, Failure, Violation, written},
    literals::openapi,
    output::{Answer, Format, bare_table, yaml},
    surroundings::{Surroundings, read_bounded},
};

/// What is said under `tollgate apply --help`.
pub(crate) const APPLY_HELP: &str = "Example: tollgate apply -f tollgate.yaml --dry-run

A field that the file does not name is left as it is, and so is an object, unless --prune is given. What was switched off is
switched on again only by `disabled: false` or `revoked: false`. The secret `stored://` keeps the one that is there.";

/// What is said under `tollgate export --help`.
pub(crate) const EXPORT_HELP: &str = "Example: tollgate export > tollgate.yaml

References such as env://NAME are kept. A secret that the control plane stores is written as stored://FINGERPRINT, which apply
reads as: keep it, if it is still this one; that of a server of tools as stored:// alone.";

/// What an export writes.
const EVERYTHING: [Kind; 12] = [
    Kind::Customer,
    Kind::Team,
    Kind::User,
    Kind::Provider,
    Kind::Model,
    Kind::Key,
    Kind::Route,
    Kind::Guardrail,
    Kind::McpServer,
    Kind::Role,
    Kind::ServiceAccount,
    Kind::Binding,
];

/// The file.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// The file, in YAML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Delete what the file does not name, in the sections that it has
    #[arg(long)]
    prune: bool,
}

/// Apply.
#[derive(Args, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    source: Source,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Diff.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    source: Source,
}

/// A file without mistakes.
#[derive(Debug)]
pub(crate) struct Declared {
    file: String,
    document: Document,
    prune: bool,
}

/// Apply, its file read.
#[derive(Debug)]
pub(crate) struct ApplyReady {
    declared: Declared,
    dry_run: bool,
}

/// Diff, its file read.
#[derive(Debug)]
pub(crate) struct DiffReady {
    declared: Declared,
}

impl Apply {
    pub(crate) fn read(self, surroundings: &mut Surroundings<'_>) -> Result<ApplyReady, Failure> {
        Ok(ApplyReady { declared: self.source.read(surroundings)?, dry_run: self.dry_run })
    }
}

impl Diff {
    pub(crate) fn read(self, surroundings: &mut Surroundings<'_>) -> Result<DiffReady, Failure> {
        // Diff's exit code 1 means differences, so a file that cannot be compared is 2, as with diff(1).
        let declared = self.source.read(surroundings).map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
        Ok(DiffReady { declared })
    }
}

impl Source {
    fn read(self, surroundings: &mut Surroundings<'_>) -> Result<Declared, Failure> {
        let standard = self.file.as_os_str() == "-";
        let file = if standard { "standard input".to_owned() } else { self.file.display().to_string() };
        let text = if standard {
            read_bounded(surroundings.stdin)
        } else {
            File::open(&self.file).and_then(|mut file| read_bounded(&mut file))
        };
        let text = text.map_err(|error| Failure::unreadable(&file, &error))?;
        let mut document = read::read(&text).map_err(|mistakes| mistaken(&file, mistakes))?;
        let directory = if standard { None } else { self.file.parent() };
        let directory = directory.unwrap_or(Path::new(""));
        rule_files(&mut document, directory)?;
        api_documents(&mut document, directory)?;
        Ok(Declared { file, document, prune: self.prune })
    }
}

// Reads the rule files that a document names, relative to the directory in which it lies.
fn rule_files(document: &mut Document, directory: &Path) -> Result<(), Failure> {
    for guardrail in &mut document.guardrails {
        let Some(path) = guardrail.rule_file.as_ref().map(|path| directory.join(path)) else { continue };
        let read = File::open(&path).and_then(|mut file| read_bounded(&mut file));
        guardrail.rules_toml = Some(read.map_err(|error| Failure::unreadable(&path.display().to_string(), &error))?);
    }
    Ok(())
}

// Reads the OpenAPI documents that a document names, likewise.
fn api_documents(document: &mut Document, directory: &Path) -> Result<(), Failure> {
    for server in &mut document.mcp_servers {
        let Some(ApiDocument::File(path)) = &server.document else { continue };
        let path = directory.join(path);
        let name = path.display().to_string();
        let read = File::open(&path).and_then(|mut file| read_bounded(&mut file));
        let text = read.map_err(|error| Failure::unreadable(&name, &error))?;
        let content = openapi::read(&text).map_err(|reason| Failure::usage(format!("{name} {reason}")))?;
        server.document = Some(ApiDocument::Content(content));
    }
    Ok(())
}

impl Declared {
    async fn plan(&self, context: &Context) -> Result<Plan, Failure> {
        let lists = lists(context, &needs(&self.document), &self.document.models).await?;
        plan::plan(&State::new(lists), &self.document, self.prune).map_err(|mistakes| mistaken(&self.file, mistakes))
    }
}

impl ApplyReady {
    /// Plans, prints the plan, and carries it out.
    pub(crate) async fn run(self, context: &Context, stdout: &mut (dyn Write + Send)) -> Result<Answer, Failure> {
        let plan = self.declared.plan(context).await?;
        if self.dry_run {
            return shown(context.format, &show::Report::new(&plan), show::text(&plan));
        }
        if context.format == Format::Table && !plan.is_empty() {
            // People see the plan before anything is done.
            written(stdout.write_all(show::text(&plan).as_bytes()).and_then(|()| stdout.flush()))?;
        }
        let mut progress = Progress::default();
        let outcome = Box::pin(carry::carry(&context.client, &plan, &mut progress)).await;
        let text = show::outcome(&progress);
        let report =
            show::Report { applied: Some(progress.applied), secrets: progress.secrets, ..show::Report::new(&plan) };
        let answer = shown(context.format, &report, text)?;
        let answer = progress.remarks.into_iter().fold(answer, Answer::note);
        match outcome {
            Ok(()) if report.secrets.is_empty() => Ok(answer),
            Ok(()) => Ok(answer.note("secrets are shown this once; keep them now")),
            Err(failure) => Err(Failure { partial: Some(answer.result), ..failure }),
        }
    }
}

impl DiffReady {
    /// Shows the plan; the exit code says whether there is one.
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let plan = self.declared.plan(context).await.map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
        let answer = shown(context.format, &show::Report::new(&plan), show::text(&plan))?;
        Ok(Answer { exit: if plan.is_empty() { Exit::Done } else { Exit::Failed }, ..answer })
    }
}

/// Prints the declarative file of everything.
pub(crate) async fn export(context: &Context) -> Result<Answer, Failure> {
    let lists = lists(context, &EVERYTHING, &[]).await?;
    let document = State::new(lists).export();
    match context.format {
        Format::Json => context.format.document(&document, bare_table),
        // A file for people and a file for programs are the same.
        Format::Table | Format::Yaml => Ok(Answer::raw(yaml(&document)?)),
    }
}

fn shown(format: Format, report: &show::Report<'_>, text: String) -> Result<Answer, Failure> {
    if format == Format::Table { Ok(Answer::raw(text)) } else { format.document(report, bare_table) }
}

fn mistaken(file: &str, mistakes: Vec<Mistake>) -> Failure {
    let count = mistakes.len();
    let message = if count == 1 { format!("{file} has a mistake") } else { format!("{file} has {count} mistakes") };
    let violations = mistakes.into_iter().map(|Mistake { place, text }| Violation {
        field: format!("{file}:{}:{}", place.line, place.column),
        description: text,
    });
    Failure { violations: violations.collect(), ..Failure::new("mistakes", message) }
}

/// What must be listed to plan a document: what it names, and what that refers to.
fn needs(document: &Document) -> Vec<Kind> {
    let mut needs = document.sections.clone();
    for kind in &document.sections {
        needs.extend(match kind {
            Kind::Customer | Kind::Provider | Kind::Model | Kind::Role | Kind::ServiceAccount => &[][..],
            Kind::Binding => &[Kind::Role, Kind::ServiceAccount, Kind::User, Kind::Team, Kind::Customer],
            Kind::Team => &[Kind::Customer],
            Kind::User => &[Kind::Team],
            Kind::Guardrail | Kind::McpServer => &[Kind::Customer, Kind::Team],
            Kind::Key => &[Kind::Team, Kind::User, Kind::Provider],
            Kind::Route => &[Kind::Provider, Kind::Customer, Kind::Team, Kind::Key],
        });
    }
    // Names stand behind the ids that teams and users refer to.
    if needs.contains(&Kind::Team) {
        needs.push(Kind::Customer);
    }
    // A budget may cover one provider alone, here or there already.
    if document.quotas().any(|quota| quota.budgets.is_some()) {
        needs.push(Kind::Provider);
    }
    needs
}

async fn lists(context: &Context, needs: &[Kind], declared: &[Model]) -> Result<Lists, Failure> {
    let mut lists = Lists::default();
    if needs.contains(&Kind::Customer) {
        lists.customers = super::customer::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Team) {
        lists.teams = super::team::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::User) {
        lists.users = super::user::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Provider) {
        lists.providers = super::provider::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Key) {
        lists.keys = super::key::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Route) {
        lists.routes = super::route::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Guardrail) {
        lists.guardrails = super::guardrail::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::McpServer) {
        lists.mcp_servers = super::mcp_server::whole(context).await?;
    }
    if needs.contains(&Kind::Role) {
        lists.roles = super::role::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::ServiceAccount) {
        lists.service_accounts = super::service_account::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Binding) {
        lists.bindings = super::binding::all(context, None, String::new()).await?;
    }
    if needs.contains(&Kind::Model) {
        lists.models = models(context, declared).await?;
    }
    Ok(lists)
}

// The catalogue has thousands of models: those that were set here are listed, and those of the file are asked for.
async fn models(context: &Context, declared: &[Model]) -> Result<Vec<v1::Model>, Failure> {
    let mut found = super::model::all(context, None, "origin=override".to_owned()).await?;
    let mut client = context.client.models();
    for model in declared {
        if found.iter().any(|row| row.id == model.name) {
            continue;
        }
        match client.get_model(v1::GetModelRequest { model: model.name.clone() }).await {
            Ok(row) => found.push(row.into_inner()),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_refers_to_is_listed_too() {
        let check = |sections: &[Kind], expect: &[Kind]| {
            let mut needs = needs(&Document { sections: sections.to_vec(), ..Document::default() });
            needs.sort();
            needs.dedup();
            assert_eq!(needs, expect, "{sections:?}");
        };
        check(&[], &[]);
        check(&[Kind::Provider], &[Kind::Provider]);
        check(&[Kind::Team], &[Kind::Customer, Kind::Team]);
        check(&[Kind::User], &[Kind::Customer, Kind::Team, Kind::User]);
        check(&[Kind::Route], &[Kind::Provider, Kind::Customer, Kind::Team, Kind::Key, Kind::Route]);
        check(&[Kind::Guardrail], &[Kind::Customer, Kind::Team, Kind::Guardrail]);
        check(&[Kind::McpServer], &[Kind::Customer, Kind::Team, Kind::McpServer]);
        check(&[Kind::Key], &[Kind::Provider, Kind::Customer, Kind::Team, Kind::User, Kind::Key]);
    }

    #[test]
    fn the_providers_that_budgets_may_cover_are_listed_too() {
        let customer = |text: &str| read::read(&format!("customers: [{{ name: acme, {text} }}]")).unwrap();
        assert_eq!(needs(&customer("limits: []")), [Kind::Customer]);
        assert_eq!(needs(&customer("budgets: []")), [Kind::Customer, Kind::Provider]);
    }

    #[test]
    fn mistakes_stand_one_a_line_with_their_place() {
        let mistake = |line, text: &str| Mistake {
            place: crate::declare::tree::Place { line, column: 3 },
            text: text.to_owned(),
        };
        let text = mistaken("f.yaml", vec![mistake(1, "a"), mistake(2, "b")]).render(Format::Table);
        assert_eq!(text, "error: f.yaml has 2 mistakes\n  f.yaml:1:3: a\n  f.yaml:2:3: b\n");
    }
}
