//! Which class of event an action is, and which activity of that class.

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Class {
    Authentication,
    ApiActivity,
}

pub(super) struct Activity {
    pub(super) class: Class,
    pub(super) id: u32,
    pub(super) name: String,
}

// === impl Class ===

impl Class {
    pub(super) const fn uid(self) -> u32 {
        match self {
            Self::Authentication => 3002,
            Self::ApiActivity => 6003,
        }
    }

    pub(super) const fn category(self) -> u32 {
        self.uid() / 1_000
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::ApiActivity => "API Activity",
        }
    }
}

// === impl Activity ===

impl Activity {
    // A call without a good credential counts as a try to log on, so that rules which count those see a token being guessed.
    pub(super) fn of(action: &str) -> Self {
        let verb = action.rsplit('.').next().unwrap_or_default();
        let (class, id, name) = match (action, verb) {
            ("session.create" | "session.issue" | "session.refuse" | "call.authenticate", _) => {
                (Class::Authentication, 1, "Logon")
            }
            ("session.end" | "session.revoke", _) => (Class::Authentication, 2, "Logoff"),
            (_, "create" | "import" | "join" | "provision") => (Class::ApiActivity, 1, "Create"),
            (_, "read") => (Class::ApiActivity, 2, "Read"),
            (_, "update" | "rotate" | "revoke" | "enable" | "reset" | "adjust" | "release" | "drain" | "groups") => {
                (Class::ApiActivity, 3, "Update")
            }
            (_, "delete") => (Class::ApiActivity, 4, "Delete"),
            (_, other) => (Class::ApiActivity, 99, other),
        };
        Self { class, id, name: name.to_owned() }
    }
}
