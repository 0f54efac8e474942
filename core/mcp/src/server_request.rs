//! Ids of requests that an upstream sends to the client (`sampling/createMessage`, `elicitation/create`, `roots/list`, `ping`): wrapped so
//! that the client's answer says to which server it goes, on whichever replica it arrives.
//!
//! A client can write any such id. That the server is one of its session, and has asked, is for whoever passes the answer on to know.

use crate::{
    id::{ID_BYTES_MAX, Id},
    name::ServerName,
};

/// With the name of its server before it, the id is longer than an id may be, so that no answer to it could be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of the server's request is too long to be passed on")]
pub struct LongId;

/// The id under which a client gets a server's request: `github:7` or `github:"x"`, with what the server wrote behind the colon.
///
/// # Errors
/// When it would be longer than [`ID_BYTES_MAX`].
pub fn wrap(server: &ServerName, id: &Id<'_>) -> Result<Id<'static>, LongId> {
    let wrapped = Id::of_text(&format!("{server}:{}", id.raw()));
    if wrapped.raw().len() <= ID_BYTES_MAX { Ok(wrapped) } else { Err(LongId) }
}

/// The server to which a client's answer goes, and the id that it knows; none of what was not wrapped.
#[must_use]
pub fn unwrap<'a>(id: &'a Id<'_>) -> Option<(ServerName, Id<'a>)> {
    let (server, raw) = id.as_text()?.split_once(':')?;
    Some((ServerName::parse(server).ok()?, Id::read(raw)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_finds_its_server() {
        let github = ServerName::parse("github").unwrap();
        for (raw, wrapped) in
            [("7", r#""github:7""#), (r#""x""#, r#""github:\"x\"""#), (r#""\u00e9:""#, r#""github:\"\\u00e9:\"""#)]
        {
            let id = Id::read(raw).unwrap();
            let out = wrap(&github, &id).unwrap();
            assert_eq!(out.raw(), wrapped);
            let (server, back) = unwrap(&out).unwrap();
            assert_eq!((server.as_str(), back.raw()), ("github", raw));
        }
        for other in ["7", r#""7""#, r#""github:""#, r#""github:null""#, r#""GitHub:7""#, r#"":7""#, r#""github:x""#] {
            assert!(unwrap(&Id::read(other).unwrap()).is_none(), "{other}");
        }
        let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX - 2));
        assert_eq!(wrap(&github, &Id::read(&long).unwrap()), Err(LongId));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_wrapped_is_unwrapped(text in ".{0,60}", number in any::<i64>(), name in "[a-z][a-z0-9-]{0,31}") {
            let server = ServerName::parse(&name).unwrap();
            for id in [Id::of_text(&text), Id::of_number(number)] {
                let wrapped = wrap(&server, &id).unwrap();
                let (back, inner) = unwrap(&wrapped).unwrap();
                prop_assert_eq!(back.as_str(), name.as_str());
                prop_assert_eq!(inner.raw(), id.raw());
            }
        }
    }
}
