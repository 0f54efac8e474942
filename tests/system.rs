//! The promises, each shown over real parts: one binary, so that it is linked once.

#[cfg(test)]
#[path = "system"]
mod promises {
    //! One file a promise.
    mod passage;
    mod refusals;
    mod faults;
    mod ledger;
    mod revocation;
    mod crash;
    mod fleet;
    mod canary;
    mod programs;
}
