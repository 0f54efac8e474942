//! The table of methods, after `schema.ts` of each revision.

use crate::{
    method::{Direction, Names},
    revision::Revision,
};

use Direction::{Both, ToClient, ToServer};
use Names::{Nothing, Prompt, Reference, Resource, Subscriptions, Task, Tool};
use Revision::{V2024_11_05 as V1, V2025_06_18 as V3, V2025_11_25 as V4, V2026_07_28 as V5};

/// Declares [`Method`] and what is known of each.
macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $direction:ident, $names:ident, $since:ident..=$until:ident;)+) => {
        /// A method.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Method<'a> {
            $($(#[doc = $doc])+ $variant,)+
            /// One that no revision has.
            Other(&'a str),
        }

        impl<'a> Method<'a> {
            /// Every method that is known.
            pub const ALL: &'static [Method<'static>] = &[$(Method::$variant),+];

            /// The method of that name. Letter case counts.
            #[must_use]
            pub fn of_name(name: &'a str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    other => Self::Other(other),
                }
            }

            /// Its name.
            #[must_use]
            pub const fn name(&self) -> &'a str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other(name) => name,
                }
            }

            /// Who sends it.
            #[must_use]
            pub const fn direction(&self) -> Direction {
                match self {
                    $(Self::$variant => $direction,)+
                    Self::Other(_) => Both,
                }
            }

            /// What it names in its parameters.
            #[must_use]
            pub const fn names(&self) -> Names {
                match self {
                    $(Self::$variant => $names,)+
                    Self::Other(_) => Nothing,
                }
            }

            /// The first and the last revision that have it.
            #[must_use]
            pub const fn revisions(&self) -> (Revision, Revision) {
                match self {
                    $(Self::$variant => ($since, $until),)+
                    Self::Other(_) => (V1, V5),
                }
            }

            /// Whether it asks for no answer.
            #[must_use]
            pub fn is_notification(&self) -> bool {
                self.name().starts_with("notifications/")
            }
        }
    };
}

methods! {
    /// Begins a session.
    Initialize = "initialize", ToServer, Nothing, V1..=V4;
    /// What a server can, and in which revisions.
    Discover = "server/discover", ToServer, Nothing, V5..=V5;
    /// Whether the other side is there.
    Ping = "ping", Both, Nothing, V1..=V4;
    /// From which level on log messages are wanted.
    SetLevel = "logging/setLevel", ToServer, Nothing, V1..=V4;
    /// Which tools there are.
    ListTools = "tools/list", ToServer, Nothing, V1..=V5;
    /// Does something.
    CallTool = "tools/call", ToServer, Tool, V1..=V5;
    /// Which prompts there are.
    ListPrompts = "prompts/list", ToServer, Nothing, V1..=V5;
    /// The messages of a prompt.
    GetPrompt = "prompts/get", ToServer, Prompt, V1..=V5;
    /// Which resources there are.
    ListResources = "resources/list", ToServer, Nothing, V1..=V5;
    /// Which templates for URIs of resources there are.
    ListTemplates = "resources/templates/list", ToServer, Nothing, V1..=V5;
    /// What a resource has in it.
    ReadResource = "resources/read", ToServer, Resource, V1..=V5;
    /// Wants changes of a resource told.
    Subscribe = "resources/subscribe", ToServer, Resource, V1..=V4;
    /// Wants them told no longer.
    Unsubscribe = "resources/unsubscribe", ToServer, Resource, V1..=V4;
    /// Opens the stream on which changes are told.
    Listen = "subscriptions/listen", ToServer, Subscriptions, V5..=V5;
    /// Proposals for an argument.
    Complete = "completion/complete", ToServer, Reference, V1..=V5;
    /// How far a task is. Of the protocol in 2025-11-25, in both directions; of the extension `io.modelcontextprotocol/tasks` since.
    GetTask = "tasks/get", Both, Task, V4..=V5;
    /// What a task came to, waited for.
    TaskResult = "tasks/result", Both, Task, V4..=V4;
    /// Which tasks there are.
    ListTasks = "tasks/list", Both, Nothing, V4..=V4;
    /// Ends a task.
    CancelTask = "tasks/cancel", Both, Task, V4..=V5;
    /// Answers what a task has asked for (extension).
    UpdateTask = "tasks/update", ToServer, Task, V5..=V5;
    /// Wants an answer of the client's model. Since 2026-07-28 it travels in `inputRequests` of a result.
    CreateMessage = "sampling/createMessage", ToClient, Nothing, V1..=V4;
    /// Wants to know the client's roots. Since 2026-07-28 it travels in `inputRequests` of a result.
    ListRoots = "roots/list", ToClient, Nothing, V1..=V4;
    /// Wants to know something of the user. Since 2026-07-28 it travels in `inputRequests` of a result.
    Elicit = "elicitation/create", ToClient, Nothing, V3..=V4;
    /// The client has read the answer to `initialize`.
    Initialized = "notifications/initialized", ToServer, Nothing, V1..=V4;
    /// The answer to a request is not waited for any more. On streamable HTTP of 2026-07-28 the stream is closed instead.
    Cancelled = "notifications/cancelled", Both, Nothing, V1..=V5;
    /// How far a request is.
    Progress = "notifications/progress", Both, Nothing, V1..=V5;
    /// A log message.
    LogMessage = "notifications/message", ToClient, Nothing, V1..=V5;
    /// The list of tools is another.
    ToolsChanged = "notifications/tools/list_changed", ToClient, Nothing, V1..=V5;
    /// The list of prompts is another.
    PromptsChanged = "notifications/prompts/list_changed", ToClient, Nothing, V1..=V5;
    /// The list of resources is another.
    ResourcesChanged = "notifications/resources/list_changed", ToClient, Nothing, V1..=V5;
    /// A resource is another.
    ResourceUpdated = "notifications/resources/updated", ToClient, Resource, V1..=V5;
    /// What a `subscriptions/listen` will be told.
    Acknowledged = "notifications/subscriptions/acknowledged", ToClient, Subscriptions, V5..=V5;
    /// The client's roots are others.
    RootsChanged = "notifications/roots/list_changed", ToServer, Nothing, V1..=V4;
    /// How far a task is.
    TaskStatus = "notifications/tasks/status", Both, Task, V4..=V4;
    /// How far a task is (extension).
    TaskChanged = "notifications/tasks", ToClient, Task, V5..=V5;
    /// What the user was asked for by a URL is done.
    ElicitationComplete = "notifications/elicitation/complete", ToClient, Nothing, V4..=V4;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        message::Message,
        method::{Target, Unnamed},
    };

    #[test]
    fn a_method_is_known_by_exactly_its_name() {
        let names: BTreeSet<&str> = Method::ALL.iter().map(Method::name).collect();
        assert_eq!(names.len(), Method::ALL.len());
        assert!(Method::ALL.iter().all(|method| Method::of_name(method.name()) == *method));
        for name in ["Tools/call", "tools/Call", "tools/call ", "tools//call", "rpc.tools/call", ""] {
            assert_eq!(Method::of_name(name), Method::Other(name));
        }
        assert!(Method::Cancelled.is_notification() && !Method::CallTool.is_notification());
    }

    #[test]
    fn each_revision_has_the_methods_of_its_schema() {
        let count = |revision| Method::ALL.iter().filter(|method| method.is_of(revision)).count();
        // 24 in the schema of 2024-11-05; 2026-07-28: 21 there, less three that travel in results, and four of the extension for tasks.
        assert_eq!(Revision::ALL.map(count), [24, 24, 25, 31, 22]);
        assert!(!Method::Initialize.is_of(Revision::V2026_07_28) && Method::Discover.is_of(Revision::V2026_07_28));
    }

    fn target(method: &str, params: &str) -> Result<Target<'static>, Unnamed> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#).leak();
        let Ok(Message::Request(request)) = Message::parse(body.as_bytes()) else { panic!("{body}") };
        Method::of_name(method).target(&request.params)
    }

    #[test]
    fn a_message_names_what_is_authorised() {
        for (method, params, expected) in [
            ("tools/list", r#"{"name":"x"}"#, Some(Target::Nothing)),
            ("tools/call", r#"{"name":"echo"}"#, Some(Target::Tool("echo".into()))),
            ("tools/call", r#"{"name":"ec\u0068o"}"#, Some(Target::Tool("echo".into()))),
            ("tools/call", r#"{"name":7}"#, None),
            ("tools/call", r#"{"name":"ec\u200bho"}"#, None),
            ("tools/call", r#"{"name":"echo "}"#, None),
            ("tools/call", r#"{"name":"\ud800"}"#, None),
            ("tools/call", "{}", None),
            ("prompts/get", r#"{"name":"Grüße"}"#, Some(Target::Prompt("Grüße".into()))),
            ("resources/read", r#"{"uri":"file:///a"}"#, Some(Target::Resource("file:///a".into()))),
            ("resources/read", r#"{"name":"file:///a"}"#, None),
            ("resources/subscribe", r#"{"uri":"a b"}"#, None),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"file:///{p}"}}"#,
                Some(Target::Template("file:///{p}".into())),
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{}}"#,
                Some(Target::Prompt("p".into())),
            ),
            ("completion/complete", r#"{"ref":{"type":"ref/tool","name":"p"}}"#, None),
            ("tasks/cancel", r#"{"taskId":"t1"}"#, Some(Target::Task("t1".into()))),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":["a:1","b:2"]}}"#,
                Some(Target::Resources(vec!["a:1".into(), "b:2".into()])),
            ),
            ("subscriptions/listen", r#"{"notifications":{}}"#, Some(Target::Resources(vec![]))),
            ("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":[1]}}"#, None),
            ("subscriptions/listen", "{}", None),
        ] {
            assert_eq!(target(method, params).ok(), expected, "{method} {params}");
        }
    }
}
