//! The attributes that are known of each kind of resource, and how clients discover them: RFC 7643, 4 and 7.

use serde_json::{Value, json};

mod attributes;

/// The schema of a user.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of what an enterprise knows of a user.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// The schema of a group.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// What a value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// A URI.
    Reference,
    /// An instant.
    Instant,
    /// An object.
    Complex,
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What people read of it.
    pub description: &'static str,
    /// What its value is, or each of its values.
    pub kind: Kind,
    /// Whether it has several values.
    pub multiple: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether upper and lower case differ.
    pub case_exact: bool,
    /// Whether only the server writes it.
    pub read_only: bool,
    /// Whether no two resources have the same value.
    pub unique: bool,
    /// The values that are usual.
    pub canonical: &'static [&'static str],
    /// What a reference refers to.
    pub refers: &'static [&'static str],
    /// What an object has.
    pub parts: &'static [Self],
}

/// A schema.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its URI.
    pub uri: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What people read of it.
    pub description: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
}

/// A kind of resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceKind {
    /// Its name: `User`.
    pub name: &'static str,
    /// The last segment of its address: `Users`.
    pub endpoint: &'static str,
    /// What people read of it.
    pub description: &'static str,
    /// Its schema.
    pub schema: &'static Schema,
    /// The schemas that may extend it.
    pub extensions: &'static [&'static Schema],
}

/// Users.
pub static USERS: ResourceKind = ResourceKind {
    name: "User",
    endpoint: "Users",
    description: "Somebody who uses coding agents",
    schema: &attributes::USER,
    extensions: &[&attributes::ENTERPRISE_USER],
};

/// Groups.
pub static GROUPS: ResourceKind = ResourceKind {
    name: "Group",
    endpoint: "Groups",
    description: "Users whom roles are bound to together",
    schema: &attributes::GROUP,
    extensions: &[],
};

/// Every kind of resource.
pub static KINDS: [&ResourceKind; 2] = [&USERS, &GROUPS];

/// Every schema.
pub static SCHEMAS: [&Schema; 3] = [&attributes::USER, &attributes::ENTERPRISE_USER, &attributes::GROUP];

/// The attribute of this name, whatever its case.
#[must_use]
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

// === impl ResourceKind ===

impl ResourceKind {
    /// The attribute of the core schema of this name, those that every resource has included.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        find(self.schema.attributes, name).or_else(|| find(attributes::COMMON, name))
    }

    /// The extension with this URI, whatever its case.
    #[must_use]
    pub fn extension(&self, uri: &str) -> Option<&'static Schema> {
        self.extensions.iter().copied().find(|schema| schema.uri.eq_ignore_ascii_case(uri))
    }

    /// The resource type, under the address of the service.
    #[must_use]
    pub fn body(&self, base: &str) -> Value {
        let extensions: Vec<_> =
            self.extensions.iter().map(|schema| json!({"schema": schema.uri, "required": false})).collect();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": self.name,
            "name": self.name,
            "endpoint": format!("/{}", self.endpoint),
            "description": self.description,
            "schema": self.schema.uri,
            "schemaExtensions": extensions,
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", self.name)},
        })
    }
}

// === impl Schema ===

impl Schema {
    /// The schema as a resource, under the address of the service.
    #[must_use]
    pub fn body(&self, base: &str) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": self.uri,
            "name": self.name,
            "description": self.description,
            "attributes": self.attributes.iter().map(Attribute::body).collect::<Vec<_>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.uri)},
        })
    }
}

// === impl Attribute ===

impl Attribute {
    fn body(&self) -> Value {
        let Self {
            name,
            description,
            kind,
            multiple,
            required,
            case_exact,
            read_only,
            unique,
            canonical,
            refers,
            parts,
        } = self;
        let mut body = json!({
            "name": name,
            "type": kind.word(),
            "multiValued": multiple,
            "description": description,
            "required": required,
            "caseExact": case_exact,
            "mutability": if *read_only { "readOnly" } else { "readWrite" },
            "returned": "default",
            "uniqueness": if *unique { "server" } else { "none" },
        });
        let Some(fields) = body.as_object_mut() else { return body };
        if !canonical.is_empty() {
            fields.insert("canonicalValues".into(), json!(canonical));
        }
        if *kind == Kind::Reference {
            fields.insert("referenceTypes".into(), json!(refers));
        }
        if *kind == Kind::Complex {
            fields.insert("subAttributes".into(), parts.iter().map(Self::body).collect());
        }
        body
    }
}

impl Kind {
    /// The word for it in a schema.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Reference => "reference",
            Self::Instant => "dateTime",
            Self::Complex => "complex",
        }
    }
}

/// What this service provider can do: RFC 7643, 5.
#[must_use]
pub fn service_provider(base: &str, page_max: usize) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": page_max},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of a service account that holds scim.provision",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_tells_all_of_each_attribute() {
        let body = SCHEMAS[2].body("https://tollgate.example/scim/v2");
        assert_eq!(body["id"], GROUP);
        assert_eq!(body["meta"]["location"], format!("https://tollgate.example/scim/v2/Schemas/{GROUP}"));
        let members = body["attributes"].as_array().unwrap().iter().find(|one| one["name"] == "members").unwrap();
        assert_eq!(members["multiValued"], true);
        let reference = members["subAttributes"].as_array().unwrap().iter().find(|one| one["name"] == "$ref").unwrap();
        let expect = json!({
            "name": "$ref", "type": "reference", "multiValued": false, "description": "The address of the member",
            "required": false, "caseExact": true, "mutability": "readWrite", "returned": "default", "uniqueness": "none",
            "referenceTypes": ["User"],
        });
        assert_eq!(*reference, expect);
    }

    #[test]
    fn attributes_are_found_in_any_case() {
        for (name, found) in [("username", Some("userName")), ("META", Some("meta")), ("nothing", None)] {
            assert_eq!(USERS.attribute(name).map(|attribute| attribute.name), found);
        }
        assert!(USERS.extension(&ENTERPRISE_USER.to_uppercase()).is_some());
    }
}
