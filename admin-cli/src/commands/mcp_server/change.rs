//! A change of a server of tools.

use clap::{Args, ValueEnum};
use prost_types::FieldMask;
use tollgate_proto::admin::v1;

use super::Rest;
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
    Auth,
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
    /// Which server, its new values, and the fields that change.
    ///
    /// # Errors
    /// What can be refused without asking anybody.
    pub(super) fn change(self) -> Result<(String, v1::McpServer, FieldMask), Failure> {
        self.check()?;
        let mut changed = Changed::default();
        let (named, wanted) = self.wanted(&mut changed);
        Ok((named, wanted, changed.mask()?))
    }

    fn check(&self) -> Result<(), Failure> {
        let rest = &self.rest;
        let set = [
            (Clearable::Auth, rest.bearer.is_some() || rest.header.is_some()),
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

    fn wanted(self, changed: &mut Changed) -> (String, v1::McpServer) {
        let Self { mcp_server: named, name, url, allow_private, truncate, record_arguments, rest, clear, switch } =
            self;
        let cleared = |field| clear.contains(&field);
        let (auth, secret) = match rest.auth() {
            Some((auth, secret)) => (Some(auth), Some(secret)),
            None => (cleared(Clearable::Auth).then(|| "none".to_owned()), None),
        };
        let Rest {
            transport,
            bearer: _,
            header: _,
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
        let wanted = v1::McpServer {
            name: changed.field("name", name),
            disabled: changed.field("disabled", switch.disabled()),
            url: changed.field("url", url),
            allow_private: changed.field("allow_private", allow_private),
            transport: changed.field("transport", transport),
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
        (named, wanted)
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
        let (named, wanted, mask) = update.change()?;
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
        for bad in [&[][..], &["--clear", "keys", "--key", "k"], &["--clear", "auth", "--bearer", "env://X"]] {
            assert_eq!(update(bad).unwrap_err().code, "usage", "{bad:?}");
        }
        let both = ["tollgate", "mcp-server", "update", "s", "--bearer", "a", "--header", "x-key=b"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
