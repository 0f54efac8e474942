//! An observation of a replica, within its bounds.

use tollgate_policy::{id::McpServerId, mcp::PINS_MAX};
use tollgate_proto::fleet::v1;

use crate::{
    api::{failure::Failure, violations::Violations},
    definition,
    store::mcp::tools::Definition,
};

/// The longest sentence about what is wrong, in characters; a server may have written part of it.
const PROBLEM_MAX: usize = 500;
/// The longest name of a revision, and of a software, in characters.
const NAME_MAX: usize = 200;

/// What a replica finds at a server.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(super) server: McpServerId,
    /// Where it was found, as policy has it: empty for one that runs as a process.
    pub(super) url: String,
    pub(super) problem: String,
    pub(super) protocol: String,
    pub(super) software: String,
    /// Whether the tools are all that there are.
    pub(super) complete: bool,
    /// How often the server was to be tested when it was asked.
    pub(super) tests: i64,
    /// Each once, without those that no agent is offered.
    pub(super) tools: Vec<Definition>,
}

impl Observation {
    /// Reads one.
    ///
    /// # Errors
    /// Names every field that is not as the contract has it.
    pub(crate) fn read(request: v1::ObserveRequest) -> Result<Self, Failure> {
        let v1::ObserveRequest { server, problem, protocol, software, complete, tools, url, tests } = request;
        let mut violations = Violations::default();
        let server = violations.take("server", McpServerId::parse(&server));
        if tools.len() > PINS_MAX {
            violations.add("tools", format!("must be at most {PINS_MAX}: send them in parts that are not complete"));
            return violations.finish(None);
        }
        let mut read: Vec<Definition> = Vec::with_capacity(tools.len());
        let mut names = std::collections::HashSet::new();
        for (at, v1::ObservedTool { name, definition }) in tools.into_iter().enumerate() {
            if !names.insert(name.clone()) {
                violations.add(format!("tools[{at}].name"), "is given twice");
                continue;
            }
            match definition::read(&name, &definition) {
                Ok(definition) => read.extend(definition),
                Err((field, problem)) => violations.add(format!("tools[{at}].{field}"), problem),
            }
        }
        if complete {
            definition::flag_look_alikes(&mut read);
        }
        let shown = tollgate_mcp::character::shown;
        violations.finish(server.map(|server| Self {
            server,
            url,
            problem: shown(&problem, PROBLEM_MAX),
            protocol: shown(&protocol, NAME_MAX),
            software: shown(&software, NAME_MAX),
            complete,
            tests: i64::try_from(tests).unwrap_or(i64::MAX),
            tools: read,
        }))
    }
}
