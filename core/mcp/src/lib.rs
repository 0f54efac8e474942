//! The Model Context Protocol between agents and upstream servers, as pure functions over bytes: no clock, no I/O, no session.
//!
//! Everything that is passed on stays as it was written: what was checked is what the other side reads.
//!
//! Reading order: JSON that is known to be JSON ([`json`], [`members`]); one message, read strictly ([`message`], [`fault`], [`id`], `strict`)
//! and written ([`write`]); its parameters ([`params`]), what its method names ([`method`]), and in which revision it is ([`revision`],
//! [`route`], [`header`], [`parameter`]); names of several servers ([`name`], [`character`]) and their lists ([`list`]); what of a
//! definition was approved ([`pin`]), is unusual ([`flag`]) or different ([`difference`]); what the sides can ([`capability`]), requests of
//! servers ([`server_request`]), and failures ([`failure`]).

pub mod json;
pub mod members;
pub mod fault;
pub mod id;
mod strict;
pub mod message;
pub mod write;
pub mod params;
pub mod method;
pub mod revision;
pub mod route;
pub mod header;
pub mod parameter;
pub mod character;
pub mod name;
pub mod list;
pub mod pin;
mod path;
pub mod flag;
pub mod difference;
pub mod capability;
pub mod server_request;
pub mod failure;

pub use self::{
    fault::{Fault, Invalid},
    id::Id,
    json::Json,
    list::{Definition, Kind, List},
    members::{Edit, Members},
    message::{Message, Notification, Request, Response},
    method::{Method, Target},
    name::{ServerName, ToolName},
    params::Params,
    pin::Pin,
    revision::Revision,
};
