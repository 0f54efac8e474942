//! Servers of tools that run as processes of a replica: only its own file names a command, and only beside a flag, so that nothing that arrives
//! over a network can start anything.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tollgate_policy::mcp::{SERVER_NAME_BYTES_MAX, is_server_name};
use tollgate_settings::{Reader, Secret, SecretSource, Setting as _};

use crate::sync::Environment;

/// So many processes of one server run, where the file does not say: the replica's own, and one for each open session.
const PROCESSES_DEFAULT: usize = 8;
/// The most and the least that the file may say. The replica's own session takes one.
const PROCESSES: std::ops::RangeInclusive<usize> = 2..=1_000;
/// Where programs are looked for by a process, where the replica itself was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LANG: &str = "C.UTF-8";

/// How a server of tools is started.
#[derive(Clone)]
pub struct McpProcess {
    /// The program: an absolute path.
    pub command: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All of its environment but HOME, which is its directory unless it is set here.
    pub environment: BTreeMap<String, Secret>,
    /// Where it runs; `None`: in a directory of its own below the replica's.
    pub directory: Option<PathBuf>,
    /// The most processes of it at the same time.
    pub processes_max: usize,
}

/// All of them, by the names that their servers have in policy.
pub type McpProcesses = Arc<BTreeMap<String, McpProcess>>;

impl fmt::Debug for McpProcess {
    /// Arguments may hold a secret as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpProcess").field("command", &self.command).finish_non_exhaustive()
    }
}

/// Reads `[mcp_stdio.<server>]`, which without `mcp_stdio_enabled` is a mistake.
pub(super) fn read(reader: &mut Reader, environment: &Environment) -> McpProcesses {
    let is_enabled = reader.or("mcp_stdio_enabled", false);
    let tables = reader.tables("mcp_stdio");
    if !is_enabled && !tables.is_empty() {
        reader.problem(
            "mcp_stdio",
            "names commands, which are only started where it says so a second time: set mcp_stdio_enabled = true, or start with --mcp-stdio; \
             or take the table away",
        );
    }
    let mut processes = BTreeMap::new();
    for (name, mut table) in tables {
        if let Some(process) = process(&name, &mut table, environment) {
            processes.insert(name.clone(), process);
        }
        reader.adopt(&format!("mcp_stdio.{name}"), table);
    }
    Arc::new(processes)
}

fn process(name: &str, table: &mut Reader, environment: &Environment) -> Option<McpProcess> {
    if !is_server_name(name) {
        let rule = format!(
            "a server's name has at most {SERVER_NAME_BYTES_MAX} characters of a-z, 0-9 and -, and begins with a letter: no policy could name this one"
        );
        table.problem("command", rule);
    }
    let is_absolute = |path: &PathBuf| path.is_absolute();
    let command: Option<PathBuf> = table.optional("command");
    if !command.as_ref().is_some_and(is_absolute) {
        table.problem("command", "must be the absolute path of a program: nothing is looked for in PATH");
    }
    let directory: Option<PathBuf> = table.optional("directory");
    if !directory.as_ref().is_none_or(is_absolute) {
        table.problem("directory", "must be an absolute path");
    }
    let arguments = table.list("args");
    if arguments.iter().any(|argument| argument.contains('\0')) {
        table.problem("args", "must have no NUL in it");
    }
    let processes_max = table.or("processes_max", PROCESSES_DEFAULT);
    if !PROCESSES.contains(&processes_max) {
        table.problem("processes_max", format!("must be from {} to {}", PROCESSES.start(), PROCESSES.end()));
    }
    let environment = variables(table, environment);
    Some(McpProcess { command: command?, arguments, environment, directory, processes_max })
}

// What a process has as its environment. Nothing of the replica's own is in it but where programs are, since its secrets may be there.
fn variables(table: &mut Reader, environment: &Environment) -> BTreeMap<String, Secret> {
    let path = environment("PATH").unwrap_or_else(|| PATH.to_owned());
    let mut variables: BTreeMap<_, _> =
        [("PATH", path), ("LANG", LANG.to_owned())].map(|(name, text)| (name.to_owned(), Secret::new(text))).into();
    let read = |path: &Path| std::fs::read_to_string(path);
    for (name, text) in table.texts("env") {
        let source = SecretSource::parse(&text).map_err(str::to_owned);
        let value = source.and_then(|source| source.resolve(&|name| environment(name), &read));
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        match value {
            Ok(value) if is_name && !value.expose().contains('\0') => _ = variables.insert(name, value),
            Ok(_) => table.problem(&format!("env.{name}"), "must be a name without =, and a value without NUL"),
            Err(problem) => table.problem(&format!("env.{name}"), problem),
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(text: &str) -> (McpProcesses, String) {
        let mut reader =
            Reader::new(Some(text), [("TOLLGATE_MCP_STDIO_EVIL_COMMAND".to_owned(), "/bin/sh".to_owned())]);
        reader.allow(["mcp_stdio_evil_command"]);
        let environment: Environment = Arc::new(|name: &str| match name {
            "TOKEN" => Some("canary".to_owned()),
            "PATH" => Some("/opt/bin".to_owned()),
            "TOLLGATE_JOIN_TOKEN" => Some("secret".to_owned()),
            _ => None,
        });
        let read = read(&mut reader, &environment);
        (read, reader.finish().err().map(|problems| problems.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_process_is_what_the_file_says_and_inherits_nothing() {
        let (processes, problems) = read_with(
            "mcp_stdio_enabled = true\n[mcp_stdio.files]\ncommand = '/bin/files'\nargs = ['/srv']\nenv = { KEY = 'env://TOKEN', LANG = 'de_DE' }\n\
             directory = '/srv'\nprocesses_max = 3\n[mcp_stdio.notes]\ncommand = '/bin/notes'\n",
        );
        assert_eq!(problems, "");
        let files = &processes["files"];
        assert_eq!((&*files.command, &*files.arguments), (Path::new("/bin/files"), &["/srv".to_owned()][..]));
        assert_eq!((files.directory.as_deref(), files.processes_max), (Some(Path::new("/srv")), 3));
        let variables: Vec<_> = files.environment.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(variables, [("KEY", "canary"), ("LANG", "de_DE"), ("PATH", "/opt/bin")]);
        assert_eq!(processes["notes"].environment["LANG"].expose(), LANG);
        assert_eq!((processes["notes"].processes_max, processes.len()), (PROCESSES_DEFAULT, 2));
        assert!(!format!("{processes:?}").contains("canary"));
    }

    // SECURITY row 2: both are needed, and a command comes from the file alone.
    #[test]
    fn a_table_without_the_flag_is_a_mistake_and_the_flag_alone_starts_nothing() {
        let table = "[mcp_stdio.files]\ncommand = '/bin/files'\n";
        for text in [table.to_owned(), format!("mcp_stdio_enabled = false\n{table}")] {
            let (_, problems) = read_with(&text);
            assert!(problems.starts_with("mcp_stdio: ") && problems.contains("--mcp-stdio"), "{problems}");
        }
        let (processes, problems) = read_with("mcp_stdio_enabled = true\n");
        assert!(processes.is_empty() && problems.is_empty(), "a command in the environment is none: {problems}");
    }

    #[test]
    fn every_mistake_of_a_table_is_told() {
        let (_, problems) = read_with(
            "mcp_stdio_enabled = true\n[mcp_stdio.Files]\ncommand = 'files'\ndirectory = 'here'\nargs = 'x'\nprocesses_max = 1\nshell = true\n\
             env = { A = 'env://NOT_SET' }\n[mcp_stdio.empty]\n",
        );
        for expect in [
            "mcp_stdio.Files.command: a server's name",
            "mcp_stdio.Files.command: must be the absolute path",
            "mcp_stdio.Files.directory: must be an absolute path",
            "mcp_stdio.Files.args: must be a list",
            "mcp_stdio.Files.processes_max: must be from 2 to 1000",
            "mcp_stdio.Files.shell: is not a known setting",
            "mcp_stdio.Files.env.A: the environment variable NOT_SET is not set",
            "mcp_stdio.empty.command: must be the absolute path",
        ] {
            assert!(problems.contains(expect), "{expect} is not in {problems}");
        }
    }
}
