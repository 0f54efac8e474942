//! Names of tools and of their arguments, as models' APIs take them.

/// The longest name of a tool, in bytes: there is room beside it for the name of a server (32), and for what agents put before both.
const TOOL_BYTES_MAX: usize = 64;
/// The longest name of an argument, in bytes. Anthropic refuses a whole request over one property that is not `[a-zA-Z0-9_.-]{1,64}`.
const ARGUMENT_BYTES_MAX: usize = 64;

/// The name that an operation gives itself, made to fit; `None`: nothing of it is left.
pub(crate) fn of_operation_id(id: &str) -> Option<String> {
    fitted(id, TOOL_BYTES_MAX)
}

/// The name of an operation that has none: `get_pets_petId` for `GET /pets/{petId}`.
pub(crate) fn of_path(method: &str, path: &str) -> String {
    let whole = format!("{}{path}", method.to_ascii_lowercase());
    fitted(&whole, TOOL_BYTES_MAX).unwrap_or_else(|| method.to_ascii_lowercase())
}

/// The name of an argument for a parameter; `None`: nothing of it is left.
pub(crate) fn of_parameter(name: &str) -> Option<String> {
    fitted(name, ARGUMENT_BYTES_MAX)
}

/// The name of an argument that is not alone with its name: with the place of the parameter before it.
pub(crate) fn of_place(place: &str, name: &str) -> Option<String> {
    fitted(&format!("{place}_{name}"), ARGUMENT_BYTES_MAX)
}

// Whatever a name may not have becomes one underscore, and none at its ends that it did not have.
fn fitted(text: &str, bytes_max: usize) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let mut name = String::with_capacity(text.len().min(bytes_max));
    let mut is_gap = false;
    for letter in text.chars() {
        if !is_plain(letter) {
            is_gap = true;
            continue;
        }
        if is_gap && !name.is_empty() && !name.ends_with('_') && letter != '_' {
            name.push('_');
        }
        is_gap = false;
        name.push(letter);
    }
    // Only ASCII is in it.
    name.truncate(bytes_max);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_what_models_take() {
        for (id, name) in [
            ("listPets", Some("listPets")),
            ("repos/create-issue", Some("repos_create-issue")),
            ("Get the pet!", Some("Get_the_pet")),
            ("_private", Some("_private")),
            ("a__b", Some("a__b")),
            ("größe.lesen", Some("gr_e.lesen")),
            ("$filter", Some("filter")),
            ("filter[status]", Some("filter_status")),
            ("X-Request-Id", Some("X-Request-Id")),
            ("日本", None),
            ("", None),
        ] {
            assert_eq!(of_operation_id(id).as_deref(), name, "{id}");
        }
        assert_eq!(of_path("GET", "/pets/{petId}/{x}.json"), "get_pets_petId_x_.json");
        assert_eq!(of_path("GET", "/"), "get");
        assert_eq!(of_parameter(&"x".repeat(70)).unwrap().len(), 64);
    }
}
