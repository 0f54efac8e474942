//! Servers of tools, as this replica knows them: what each offers, and how it is spoken to.
//!
//! Reading order: [`wire`], one message and what comes back, `sse` for servers of the oldest transport, `openapi` for HTTP APIs, `unreached` for none; [`tokens`], what servers
//! are shown that OAuth 2 is for; [`catalogue`], what a server offers; [`servers`], all of them, and `people`, those that are another one to each user;
//! [`keeper`], who asks them again and again, off the way of requests, and `observer`, who tells the control plane; [`session`], what a client's
//! session carries from replica to replica. The way of a client's message is [`gate::mcp`](crate::gate).

pub(crate) mod wire;
mod sse;
mod openapi;
mod unreached;
pub(crate) mod tokens;
pub(crate) mod catalogue;
mod people;
pub(crate) mod servers;
pub(crate) mod keeper;
mod observer;
pub(crate) mod session;

pub(crate) use self::{
    catalogue::{Line, Link},
    keeper::Keeper,
    observer::Observer,
    servers::{Server, Servers},
    session::Session,
    wire::{Address, Bounds, Events, Head, Reply, Said, Unreached},
};
