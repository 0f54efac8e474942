//! What went wrong, as a sentence that says what to do: for people as text, for programs as one JSON document.

use std::{fmt::Write as _, io};

use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::output::Format;

/// How a run ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
}

/// A run that did not do what was asked.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// A word for programs: `not_found`.
    pub(crate) code: &'static str,
    /// What happened.
    pub(crate) message: String,
    /// What is wrong with single fields or lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) violations: Vec<Violation>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// What was done before it failed, for standard output: a secret that was already made must not be lost.
    #[serde(skip)]
    pub(crate) partial: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Violation {
    /// The field or the place: `key.models[0]`, `fleet.yaml:12:5`.
    pub(crate) field: String,
    /// What it must be.
    pub(crate) description: String,
}

/// The document in which programs receive a failure.
#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Failure,
}

// === impl Exit ===

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Something failed or was refused.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit: Exit::Failed, code, message, violations: Vec::new(), hint: None, partial: None }
    }

    /// The command was not given as it must be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new("usage", message) }
    }

    /// A file or a stream that could not be read.
    pub(crate) fn unreadable(what: &str, error: &io::Error) -> Self {
        Self::new("unreadable", format!("cannot read {what}: {error}"))
    }

    /// No connection to the control plane.
    pub(crate) fn unreachable(address: &str, reason: &str) -> Self {
        Self::new("unavailable", format!("no control plane answers at {address}: {reason}")).hint(UNAVAILABLE_HINT)
    }

    /// Adds what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds the address, where it matters and is not yet said.
    pub(crate) fn at(mut self, address: &str) -> Self {
        if self.code == "unavailable" && !self.message.contains(address) {
            self.message = format!("the control plane at {address} does not answer: {}", self.message);
        }
        self
    }

    /// Prints the failure in the manner of the chosen format.
    pub(crate) fn render(&self, format: Format) -> String {
        if format == Format::Json
            && let Ok(text) = serde_json::to_string_pretty(&Envelope { error: self })
        {
            return text + "\n";
        }
        let mut text = format!("error: {}\n", self.message);
        for Violation { field, description } in &self.violations {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {field}: {description}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

const UNAVAILABLE_HINT: &str = "check the address (--server or TOLLGATE_SERVER), or start a control plane: tollgate-standalone on one \
     machine, tollgate-control-plane otherwise";
const TOKEN_HINT: &str = "sign in with `tollgate login`, or give a token with --token-file or TOLLGATE_TOKEN_FILE (or --token, TOLLGATE_TOKEN); the \
     first administrator's lies in <data-dir>/admin-token of the control plane";

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let message = sentence(status.message());
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                let given = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
                let violations = given.iter().map(|violation| Violation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                });
                let violations: Vec<_> = violations.collect();
                // The message repeats the violations in one line; apart they are easier to read.
                let message = if violations.is_empty() { message } else { "the request is not valid".to_owned() };
                Self { violations, ..Self::new("invalid_argument", message) }
            }
            Code::NotFound => match details.resource_info() {
                Some(info) => not_found(&info.resource_type, &info.resource_name),
                None => Self::new("not_found", message),
            },
            Code::AlreadyExists => Self::new("already_exists", message).hint("choose another name, or update the one that is there"),
            Code::FailedPrecondition => Self::new("failed_precondition", message),
            Code::Aborted => Self::new("aborted", message).hint("it changed meanwhile: read it again, then repeat the change"),
            Code::Unauthenticated => Self::new("unauthenticated", message).hint(TOKEN_HINT),
            Code::PermissionDenied => {
                Self::new("permission_denied", message).hint("`tollgate whoami` shows what this token may do")
            }
            Code::ResourceExhausted => Self::new("resource_exhausted", message).hint("try again later"),
            Code::Unimplemented => Self::new("unimplemented", message)
                .hint("the control plane is older than this command, or the address is another program's: see `tollgate check`"),
            Code::Unavailable => Self::new("unavailable", message).hint(UNAVAILABLE_HINT),
            // A deadline of this side arrives as `cancelled`.
            Code::DeadlineExceeded | Code::Cancelled => {
                Self::new("deadline_exceeded", message).hint("whether it was done is unknown: look before you repeat it")
            }
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Ok => {
                Self::new("internal", message).hint("the control plane's log says more")
            }
        }
    }
}

fn not_found(resource_type: &str, name: &str) -> Failure {
    let noun = noun(resource_type);
    let message = format!("there is no {noun} {name:?}");
    let listed = [
        "customer",
        "team",
        "user",
        "key",
        "provider",
        "model",
        "route",
        "mcp-server",
        "mcp-tool",
        "replica",
        "budget",
        "role",
        "binding",
        "service-account",
        "session",
    ];
    let listed = listed.contains(&noun.as_str());
    let failure = Failure::new("not_found", message);
    if listed { failure.hint(format!("`tollgate {noun} list` shows what there is")) } else { failure }
}

// `tollgate.admin.v1.Key`, `Key` and `key` all mean the noun `key`.
fn noun(resource_type: &str) -> String {
    resource_type.rsplit(['.', '/']).next().unwrap_or(resource_type).to_ascii_lowercase()
}

fn sentence(message: &str) -> String {
    if message.is_empty() { "the control plane gave no reason".to_owned() } else { message.to_owned() }
}

/// A result that could not be written. A reader that closed the pipe has seen enough.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("unwritable", format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn text(status: Status) -> String {
        Failure::from(status).render(Format::Table)
    }

    #[test]
    fn field_violations_stand_one_a_line() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("key.name", "must be a name");
        details.add_bad_request_violation("key.models[0]", "must be a pattern");
        let status = Status::with_error_details(Code::InvalidArgument, "the key is not valid", details);
        assert_eq!(
            text(status),
            "error: the request is not valid\n  key.name: must be a name\n  key.models[0]: must be a pattern\n"
        );
    }

    #[test]
    fn what_was_not_found_is_named() {
        for (resource_type, noun) in [("key", "key"), ("tollgate.admin.v1.Team", "team"), ("Provider", "provider")] {
            let details = ErrorDetails::with_resource_info(resource_type, "x", "", "");
            let text = text(Status::with_error_details(Code::NotFound, "not found", details));
            assert!(text.starts_with(&format!("error: there is no {noun} \"x\"\n")), "{text}");
            assert!(text.contains(&format!("tollgate {noun} list")), "{text}");
        }
        assert_eq!(text(Status::not_found("nothing here")), "error: nothing here\n");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (code, word, says) in [
            (Code::Unauthenticated, "unauthenticated", "--token-file"),
            (Code::PermissionDenied, "permission_denied", "whoami"),
            (Code::Aborted, "aborted", "read it again"),
            (Code::AlreadyExists, "already_exists", "another name"),
            (Code::Unavailable, "unavailable", "tollgate-standalone"),
            (Code::DeadlineExceeded, "deadline_exceeded", "unknown"),
            (Code::Unimplemented, "unimplemented", "older"),
            (Code::Internal, "internal", "log"),
        ] {
            let failure = Failure::from(Status::new(code, "because"));
            assert_eq!((failure.code, failure.exit), (word, Exit::Failed));
            assert!(failure.message.contains("because"), "{code:?}");
            assert!(failure.hint.as_deref().unwrap().contains(says), "{code:?}: {:?}", failure.hint);
        }
    }

    #[test]
    fn an_address_is_said_once() {
        let failure = Failure::from(Status::unavailable("connection refused")).at("http://127.0.0.1:7070");
        assert!(failure.message.contains("http://127.0.0.1:7070"));
        let message = failure.message.clone();
        assert_eq!(failure.at("http://127.0.0.1:7070").message, message);
    }

    #[test]
    fn programs_receive_one_document() {
        let mut failure = Failure::new("not_found", "there is no key \"x\"").hint("look");
        failure.violations.push(Violation { field: "f".to_owned(), description: "d".to_owned() });
        let document: serde_json::Value = serde_json::from_str(&failure.render(Format::Json)).unwrap();
        assert_eq!(
            document,
            serde_json::json!({"error": {"code": "not_found", "message": "there is no key \"x\"",
                "violations": [{"field": "f", "description": "d"}], "hint": "look"}})
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert_eq!(written(Err(io::ErrorKind::StorageFull.into())).unwrap_err().code, "unwritable");
    }
}
