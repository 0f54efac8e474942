//! Why a server of tools gave no answer, in words for whoever waits for one.

/// Why a server gave no answer. The texts name nothing that it said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unreached {
    /// It is another one to each user, and the caller's key has none.
    #[error("it is another one to each user, and this key has no user")]
    Nobody,
    /// The user has to sign in there first.
    #[error("you have to sign in there first: {reason} Open {url}")]
    Consent {
        /// Why, in a sentence.
        reason: String,
        /// Where.
        url: String,
    },
    /// There is no token for it.
    #[error("{0}")]
    Ungranted(String),
    /// What says how it is spoken to cannot be used.
    #[error("its OpenAPI document cannot be used: {0}")]
    Document(String),
    /// The arguments of a call have no place in a request.
    #[error("{0}")]
    Arguments(String),
    /// Its address is not called.
    #[error("its address cannot be called: {0}")]
    Address(String),
    /// There is nothing to show it.
    #[error("its credential is not on this replica")]
    NoCredential,
    /// No connection stands.
    #[error("no connection could be made to it")]
    Connect,
    /// It took too long.
    #[error("it did not answer in time")]
    Late,
    /// It wants another credential.
    #[error("it turned its credential away (HTTP {0})")]
    Credential(u16),
    /// It knows the session no longer.
    #[error("it has ended the session")]
    Ended,
    /// It answered with a status that says no more.
    #[error("it answered with HTTP {0}")]
    Status(u16),
    /// A message was longer than it may be.
    #[error("its answer is longer than {0} bytes")]
    Long(usize),
    /// Its answer ended before its end.
    #[error("its answer broke off")]
    Broken,
    /// What it said is no message of the protocol.
    #[error("its answer is no message of the protocol")]
    Garbage,
    /// It refused, with words of its own.
    #[error("it refused the request (error {0})")]
    Refused(i64),
    /// It speaks no revision that is spoken here.
    #[error("{0}")]
    Revision(String),
    /// Nothing says how it is started.
    #[error("it runs as a process, and the configuration of this replica names none for it")]
    NoProgram,
    /// The system does not start it.
    #[error("its process could not be started ({0})")]
    Start(String),
    /// Its process has ended by itself.
    #[error("its process has ended ({0})")]
    Died(String),
    /// Its processes end right after they began.
    #[error("its process has ended several times right after it was started, and is started again in a while")]
    Resting,
    /// Every process that it may have is in use.
    #[error("all of the {0} processes that it may have are in use")]
    Busy(usize),
}

impl Unreached {
    /// Whether the server said nothing of the protocol, so that another question would end the same.
    #[must_use]
    pub(super) const fn is_no_answer(&self) -> bool {
        let is_away = matches!(self, Self::Connect | Self::Late | Self::Credential(_) | Self::Ungranted(_));
        // One that died may have ended over the question.
        let is_not_started = matches!(self, Self::NoProgram | Self::Start(_) | Self::Resting | Self::Busy(_));
        self.is_of_user() || is_away || is_not_started
    }

    /// Whether it is about the caller's user, and not about the server.
    #[must_use]
    pub(super) const fn is_of_user(&self) -> bool {
        matches!(self, Self::Nobody | Self::Consent { .. })
    }

    /// In a sentence about the server of that name, for whoever waits.
    #[must_use]
    pub(crate) fn sentence(&self, server: &str) -> String {
        match self {
            Self::Nobody => format!(
                "The MCP server \"{server}\" cannot be used: {self}. Your platform team can give the key its user."
            ),
            Self::Document(_) => {
                format!("The MCP server \"{server}\" cannot be used: {self}. Your platform team can correct it.")
            }
            Self::Arguments(_) => format!("The MCP server \"{server}\" was not called: {self}."),
            Self::Consent { .. } => format!("The MCP server \"{server}\" cannot be used yet: {self}"),
            _ => format!("The MCP server \"{server}\" gave no answer: {self}. Try again, or go on without it."),
        }
    }
}
