//! The tables of attributes.

use super::{Attribute, Kind, Schema};

const fn attribute(name: &'static str, kind: Kind, description: &'static str) -> Attribute {
    Attribute {
        name,
        description,
        kind,
        multiple: false,
        required: false,
        case_exact: false,
        read_only: false,
        unique: false,
        canonical: &[],
        refers: &[],
        parts: &[],
    }
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Kind::Text, description)
}

const fn exact(name: &'static str, description: &'static str) -> Attribute {
    Attribute { case_exact: true, ..text(name, description) }
}

const fn server(name: &'static str, description: &'static str) -> Attribute {
    Attribute { read_only: true, ..exact(name, description) }
}

const fn flag(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Kind::Boolean, description)
}

const fn instant(name: &'static str, description: &'static str) -> Attribute {
    Attribute { read_only: true, ..attribute(name, Kind::Instant, description) }
}

const fn reference(name: &'static str, refers: &'static [&'static str], description: &'static str) -> Attribute {
    Attribute { refers, case_exact: true, ..attribute(name, Kind::Reference, description) }
}

const fn complex(name: &'static str, parts: &'static [Attribute], description: &'static str) -> Attribute {
    Attribute { parts, ..attribute(name, Kind::Complex, description) }
}

const fn several(name: &'static str, parts: &'static [Attribute], description: &'static str) -> Attribute {
    Attribute { multiple: true, ..complex(name, parts, description) }
}

/// What every resource has beside its schema: RFC 7643, 3.1.
pub(super) const COMMON: &[Attribute] = &[
    server("id", "The id that the server gave"),
    exact("externalId", "The id that the client gave"),
    Attribute {
        read_only: true,
        ..complex(
            "meta",
            &[
                server("resourceType", "The kind of resource"),
                instant("created", "When it was created"),
                instant("lastModified", "When it last changed"),
                server("location", "Its address"),
                server("version", "Its entity tag"),
            ],
            "What the server knows of the resource",
        )
    },
];

const CONTACT: &[Attribute] = &[
    text("value", "The value"),
    text("display", "What people read"),
    text("type", "What it is used for, such as work or home"),
    flag("primary", "Whether it is the preferred one; at most one is"),
];

/// RFC 7643, 4.1.
pub(super) const USER: Schema = Schema {
    uri: super::USER,
    name: "User",
    description: "A user",
    attributes: &[
        Attribute { required: true, unique: true, ..text("userName", "The name with which the user signs in") },
        complex(
            "name",
            &[
                text("formatted", "The whole name"),
                text("familyName", "The family name"),
                text("givenName", "The given name"),
                text("middleName", "The middle names"),
                text("honorificPrefix", "What stands in front"),
                text("honorificSuffix", "What stands behind"),
            ],
            "The parts of the name",
        ),
        text("displayName", "What people read"),
        text("nickName", "What the user is called"),
        reference("profileUrl", &["external"], "A page about the user"),
        text("title", "The title"),
        text("userType", "How the user relates to the organisation"),
        text("preferredLanguage", "The preferred language"),
        text("locale", "Where the user is, for formats"),
        text("timezone", "The time zone, as the IANA database names it"),
        flag("active", "Whether the keys and sessions of the user work"),
        several("emails", CONTACT, "E-mail addresses"),
        several("phoneNumbers", CONTACT, "Telephone numbers"),
        several(
            "addresses",
            &[
                text("formatted", "The whole address"),
                text("streetAddress", "The street"),
                text("locality", "The town"),
                text("region", "The region"),
                text("postalCode", "The postal code"),
                text("country", "The country, as ISO 3166-1 alpha-2 names it"),
                text("type", "What it is used for"),
                flag("primary", "Whether it is the preferred one"),
            ],
            "Postal addresses",
        ),
        Attribute {
            read_only: true,
            ..several(
                "groups",
                &[
                    server("value", "The id of the group"),
                    Attribute { read_only: true, ..reference("$ref", &["Group"], "The address of the group") },
                    server("display", "The name of the group"),
                ],
                "The groups of the user; change them at the group",
            )
        },
        several("entitlements", CONTACT, "What the user is entitled to; it is kept, and has no effect"),
        several("roles", CONTACT, "The roles of the user elsewhere; they are kept, and have no effect"),
    ],
};

/// RFC 7643, 4.3.
pub(super) const ENTERPRISE_USER: Schema = Schema {
    uri: super::ENTERPRISE_USER,
    name: "EnterpriseUser",
    description: "What an enterprise knows of a user",
    attributes: &[
        text("employeeNumber", "The number of the employee"),
        text("costCenter", "The cost centre"),
        text("organization", "The organisation"),
        text("division", "The division"),
        text("department", "The department"),
        complex(
            "manager",
            &[
                exact("value", "The id of the manager"),
                reference("$ref", &["User"], "The address of the manager"),
                text("displayName", "What people read of the manager"),
            ],
            "The manager",
        ),
    ],
};

/// RFC 7643, 4.2.
pub(super) const GROUP: Schema = Schema {
    uri: super::GROUP,
    name: "Group",
    description: "A group",
    attributes: &[
        Attribute { required: true, unique: true, ..exact("displayName", "The name, by which roles are bound to it") },
        several(
            "members",
            &[
                exact("value", "The id of the user"),
                reference("$ref", &["User"], "The address of the member"),
                Attribute { canonical: &["User"], ..text("type", "The kind of member") },
            ],
            "The users in the group",
        ),
    ],
};
