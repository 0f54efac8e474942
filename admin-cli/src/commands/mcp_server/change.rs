//! A change of a server of tools.

use clap::{Args, ValueEnum};
use prost_types::FieldMask;
use tollgate_proto::admin::v1;

use super::{Rest, client::ClientArguments, document_text};
use crate::{
    arguments::Switch,
    commands::Changed,
    failure::Failure,
    literals::{
        mcp::{PriceArgument, server_name, url},
        reference,
    },
};

/// A changed server.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The id or the name
    #[arg(value_parser = reference)]
    mcp_server: String,
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    name: Option<String>,
    /// Where it is: https://host[:port][/path][?query]; another host takes with it what was approved by first use
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Option<String>,
    /// Whether a loopback or private address, and plain http, are permitted
    #[arg(long, value_name = "BOOLEAN")]
    allow_private: Option<bool>,
    /// Whether a result that is too long is shortened, and not refused
    #[arg(long, value_name = "BOOLEAN")]
    truncate: Option<bool>,
    /// Whether the audit log has the arguments of calls, and not only their hash
    #[arg(long, value_name = "BOOLEAN")]
    record_arguments: Option<bool>,
    #[command(flatten)]
    rest: Rest,
    /// Empty a field, or put it back to what is usual [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
    #[command(flatten)]
    switch: Switch,
}

/// A field that can be emptied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Clearable {
    Url,
    Document,
    Auth,
    #[value(alias = "client-id")]
    ClientId,
    Scopes,
    #[value(alias = "authorization-server")]
    AuthorizationServer,
    #[value(alias = "resource-indicator")]
    ResourceIndicator,
    Customers,
    Teams,
    Keys,
    Tools,
    Prompts,
    Resources,
    Prices,
    Timeout,
    #[value(alias = "arguments-max")]
    ArgumentsMax,
    #[value(alias = "result-max")]
    ResultMax,
}

impl Update {
    /// Which server, its new values, what changes of its client, and the fields that change.
    ///
    /// # Errors
    /// What can be refused without asking anybody, and a document that cannot be read.
    pub(super) fn change(mut self) -> Result<(String, v1::McpServer, Option<ClientArguments>, FieldMask), Failure> {
        self.check()?;
        let mut changed = Changed::default();
        let client = self.client();
        let (named, wanted) = self.wanted(&mut changed)?;
        changed.field("oauth", client.is_some().then_some(()));
        Ok((named, wanted, client, changed.mask()?))
    }

    // What is cleared of a client is said to be empty.
    fn client(&mut self) -> Option<ClientArguments> {
        let mut client = std::mem::take(&mut self.rest.client);
        self.rest.client.oauth.clone_from(&client.oauth);
        self.rest.client.client_secret.clone_from(&client.client_secret);
        let fields = [
            (Clearable::ClientId, &mut client.client_id),
            (Clearable::AuthorizationServer, &mut client.authorization_server),
            (Clearable::ResourceIndicator, &mut client.resource_indicator),
        ];
        for (field, value) in fields {
            if self.clear.contains(&field) {
                *value = Some(String::new());
            }
        }
        client.is_scopeless = self.clear.contains(&Clearable::Scopes);
        client.is_said().then_some(client)
    }

    fn check(&self) -> Result<(), Failure> {
        let rest = &self.rest;
        let set = [
            (Clearable::Url, self.url.is_some()),
            (Clearable::Document, rest.document.is_some()),
            (Clearable::Auth, rest.auth().is_some()),
            (Clearable::ClientId, rest.client.client_id.is_some()),
            (Clearable::Scopes, !rest.client.scopes.is_empty()),
            (Clearable::AuthorizationServer, rest.client.authorization_server.is_some()),
            (Clearable::ResourceIndicator, rest.client.resource_indicator.is_some()),
            (Clearable::Customers, !rest.customers.is_empty()),
            (Clearable::Teams, !rest.teams.is_empty()),
            (Clearable::Keys, !rest.keys.is_empty()),
            (Clearable::Tools, !rest.tools.is_empty()),
            (Clearable::Prompts, !rest.prompts.is_empty()),
            (Clearable::Resources, !rest.resources.is_empty()),
            (Clearable::Prices, !rest.prices.is_empty()),
            (Clearable::Timeout, rest.timeout.is_some()),
            (Clearable::ArgumentsMax, rest.arguments_max.is_some()),
            (Clearable::ResultMax, rest.result_max.is_some()),
        ];
        if set.into_iter().any(|(field, set)| set && self.clear.contains(&field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        Ok(())
    }

    fn wanted(self, changed: &mut Changed) -> Result<(String, v1::McpServer), Failure> {
        let Self { mcp_server: named, name, url, allow_private, truncate, record_arguments, rest, clear, switch } =
            self;
        let cleared = |field| clear.contains(&field);
        let (auth, secret) = match rest.auth() {
            // A client may go on with the secret that it has.
            Some((auth, secret)) => (Some(auth), Some(secret).filter(|secret| !secret.is_empty())),
            None => (cleared(Clearable::Auth).then(|| "none".to_owned()), None),
        };
        let Rest {
            transport,
            bearer: _,
            header: _,
            document,
            client: _,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout,
            parallel,
            arguments_max,
            result_max,
            pinning,
        } = rest;
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let prices: Vec<_> = prices.into_iter().map(PriceArgument::into_wire).collect();
        // In the mask and unset, or nothing, means: as is usual.
        let size = |value: Option<i64>, field| value.or(cleared(field).then_some(0));
        let timeout = (timeout.is_some() || cleared(Clearable::Timeout)).then_some(timeout);
        let empty = |field| cleared(field).then(String::new);
        let document = document.as_deref().map(document_text).transpose()?;
        let wanted = v1::McpServer {
            name: changed.field("name", name),
            disabled: changed.field("disabled", switch.disabled()),
            url: changed.field("url", url.or_else(|| empty(Clearable::Url))),
            allow_private: changed.field("allow_private", allow_private),
            transport: changed.field("transport", transport),
            document: changed.field("document", document.or_else(|| empty(Clearable::Document))),
            auth: changed.field("auth", auth),
            secret: changed.field("secret", secret),
            customers: changed.field("customers", list(customers, Clearable::Customers)),
            teams: changed.field("teams", list(teams, Clearable::Teams)),
            keys: changed.field("keys", list(keys, Clearable::Keys)),
            tools: changed.field("tools", list(tools, Clearable::Tools)),
            prompts: changed.field("prompts", list(prompts, Clearable::Prompts)),
            resources: changed.field("resources", list(resources, Clearable::Resources)),
            prices: changed.field("prices", (!prices.is_empty() || cleared(Clearable::Prices)).then_some(prices)),
            timeout: changed.field("timeout", timeout),
            parallel: changed.field("parallel", parallel),
            arguments_bytes: changed.field("arguments_bytes", size(arguments_max, Clearable::ArgumentsMax)),
            result_bytes: changed.field("result_bytes", size(result_max, Clearable::ResultMax)),
            truncate: changed.field("truncate", truncate),
            record_arguments: changed.field("record_arguments", record_arguments),
            pinning: changed.field("pinning", pinning),
            ..v1::McpServer::default()
        };
        Ok((named, wanted))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        arguments::Cli,
        commands::{Command, mcp_server::McpServerCommand},
    };

    fn update(line: &[&str]) -> Result<(v1::McpServer, Vec<String>), Failure> {
        let line = [&["tollgate", "mcp-server", "update", "s"], line].concat();
        let Command::McpServer(McpServerCommand::Update(update)) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        let (named, wanted, _, mask) = update.change()?;
        assert_eq!(named, "s");
        Ok((wanted, mask.paths))
    }

    #[test]
    fn an_update_names_what_it_says_and_keeps_the_rest() {
        for (line, paths) in [
            (&["--disable"][..], &["disabled"][..]),
            (&["--bearer", "env://X"], &["auth", "secret"]),
            (&["--header", "X-Key=canary"], &["auth", "secret"]),
            (&["--clear", "auth"], &["auth"]),
            (&["--oauth", "per_user"], &["auth"]),
            (
                &["--oauth", "client_credentials", "--client-id", "x", "--client-secret", "env://X"],
                &["auth", "secret", "oauth"],
            ),
            (&["--scope", "a", "--clear", "authorization_server"], &["oauth"]),
            (&["--transport", "stdio", "--clear", "url", "--clear", "document"], &["url", "transport", "document"]),
            (&["--tool", "*", "--tool", "!delete_*", "--clear", "keys"], &["keys", "tools"]),
            (&["--price", "a*=1 USD", "--timeout", "30s", "--parallel", "0"], &["prices", "timeout", "parallel"]),
            (&["--clear", "prices", "--clear", "timeout"], &["prices", "timeout"]),
            (&["--clear", "result-max", "--arguments-max", "1KiB"], &["arguments_bytes", "result_bytes"]),
            (
                &["--truncate", "false", "--record-arguments", "true", "--pinning", "off"],
                &["truncate", "record_arguments", "pinning"],
            ),
        ] {
            assert_eq!(update(line).unwrap().1, paths, "{line:?}");
        }
        let header = update(&["--header", "X-Key=canary"]).unwrap().0;
        assert_eq!((header.auth.as_str(), header.secret.as_str()), ("header:x-key", "canary"));
        assert_eq!(update(&["--clear", "auth"]).unwrap().0.auth, "none");
        let sizes = update(&["--clear", "result_max", "--arguments-max", "1KiB"]).unwrap().0;
        assert_eq!((sizes.arguments_bytes, sizes.result_bytes), (1_024, 0));
        for bad in [
            &[][..],
            &["--clear", "keys", "--key", "k"],
            &["--clear", "auth", "--bearer", "env://X"],
            &["--clear", "scopes", "--scope", "a"],
        ] {
            assert_eq!(update(bad).unwrap_err().code, "usage", "{bad:?}");
        }
        let begin = ["tollgate", "mcp-server", "update", "s"];
        for both in [
            &["--bearer", "a", "--header", "x-key=b"][..],
            &["--bearer", "a", "--oauth", "per_user"],
            &["--client-secret", "a"],
        ] {
            assert!(Cli::try_parse_from([&begin, both].concat()).is_err(), "{both:?}");
        }
    }

    #[test]
    fn what_is_not_said_of_a_client_stays() {
        let line = [
            "tollgate",
            "mcp-server",
            "update",
            "s",
            "--client-id",
            "new",
            "--clear",
            "scopes",
            "--clear",
            "resource-indicator",
        ];
        let Command::McpServer(McpServerCommand::Update(update)) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        let (_, _, client, _) = update.change().unwrap();
        let held = v1::McpOAuth {
            client_id: "old".into(),
            scopes: vec!["a".into()],
            authorization_server: "https://login.example".into(),
            resource: "api://x".into(),
        };
        let expect = v1::McpOAuth { client_id: "new".into(), scopes: vec![], resource: String::new(), ..held.clone() };
        assert_eq!(client.unwrap().over(held), expect);
    }
}
