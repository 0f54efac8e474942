//! An HTTP API as tools: a description in OpenAPI 3.0 or 3.1 becomes definitions for `tools/list`, and a `tools/call` becomes one request,
//! as pure functions: nothing is fetched, nothing is sent.
//!
//! Nothing in a description chooses where a request goes: its `servers` are not looked at, and a `$ref` is followed within it only. Each
//! argument goes where the description puts it, encoded for that place, or is refused.
//!
//! Reading order: the description (`document`, and `reason` for what cannot be a tool), `schema` into JSON Schema and the `shape` that
//! arguments must have; `template` of a path, `parameter`, `body` and the whole `operation` with its `name`; the [`Api`]; and the way
//! of a call: its `argument`s, `encode`d for their places, in a [`Call`].
//!
//! Of arguments the types are checked, and what is required. The rest of a schema is the API's to judge, which does so anyway: no validator of JSON
//! Schema is brought along to say it earlier.

mod document;
mod reason;
mod schema;
mod shape;
mod name;
mod template;
mod parameter;
mod body;
mod operation;
mod definition;
mod api;
mod argument;
mod encode;
mod call;

pub use self::{
    api::{Api, OPERATIONS_MAX, TOOLS_BYTES_MAX},
    argument::InvalidArguments,
    call::{Call, TARGET_BYTES_MAX},
    definition::TOOL_BYTES_MAX,
    document::{DOCUMENT_BYTES_MAX, InvalidDocument},
    reason::{LeftOut, Unfit},
};
