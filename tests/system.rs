//! The promises, each shown over real parts: one binary, so that it is linked once.

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's load ends with the test")]
#[expect(clippy::type_complexity, reason = "a table's row is read where it stands")]
#[path = "system"]
mod promises {
    //! One file a promise.
    mod passage;
    mod dialects;
    mod routing;
    mod mcp;
    mod mcp_oauth;
    mod mcp_stdio;
    mod refusals;
    mod faults;
    mod ledger;
    mod revocation;
    mod access;
    mod login;
    mod crash;
    mod audit;
    mod tampering;
    mod budgets;
    mod rates;
    mod fleet;
    mod organisation;
    mod membership;
    mod canary;
    mod programs;
}
