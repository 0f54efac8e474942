//! Servers of tools, as this replica knows them: what each offers, and how it is spoken to.
//!
//! Reading order: [`wire`], one message and what comes back, [`events`], as a stream, `sse` for servers of the oldest transport, `openapi` for HTTP APIs, [`stdio`], servers that
//! run as processes, and [`address`], which of these ways a message goes; `unreached`, why there is no answer; [`tokens`], what servers are shown that
//! OAuth 2 is for; [`catalogue`], what a server offers; [`servers`], all of them, and `people`, those that are another one to each user; [`keeper`], who
//! asks them again and again, off the way of requests, and `observer`, who tells the control plane; [`session`], what a client's session carries from
//! replica to replica. The way of a client's message is [`gate::mcp`](crate::gate).

pub(crate) mod wire;
pub(crate) mod events;
mod sse;
mod openapi;
mod unreached;
pub(crate) mod stdio;
pub(crate) mod address;
pub(crate) mod tokens;
pub(crate) mod catalogue;
mod people;
pub(crate) mod servers;
pub(crate) mod keeper;
mod observer;
pub(crate) mod session;

pub(crate) use self::{
    address::Address,
    catalogue::{Line, Link},
    events::Events,
    keeper::Keeper,
    observer::Observer,
    servers::{Server, Servers},
    session::Session,
    stdio::Processes,
    wire::{Bounds, Head, Reply, Said, Unreached},
};
