//! Which fields an update changes.

use prost_types::FieldMask;

use super::violations::Violations;

/// The fields that an update names. Only fields that may be changed are ever in it, so that nothing else can be assigned.
#[derive(Debug)]
pub struct Mask(Vec<&'static str>);

impl Mask {
    /// Reads the mask of a request against the fields that may be changed.
    pub fn read(mask: Option<&FieldMask>, changeable: &[&'static str], violations: &mut Violations) -> Self {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            violations.add("update_mask", format!("must name the fields to change: {}", changeable.join(", ")));
        }
        let mut fields = Vec::new();
        for path in paths {
            match changeable.iter().find(|field| *field == path) {
                Some(field) => fields.push(*field),
                None => violations.add(
                    "update_mask",
                    format!("names '{}', which cannot be changed; these can: {}", shown(path), changeable.join(", ")),
                ),
            }
        }
        Self(fields)
    }

    /// The new value of a field, if the mask names it.
    pub fn of<T>(&self, field: &'static str, new: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.has(field) { new() } else { None }
    }

    /// Whether the field is to be changed.
    #[must_use]
    pub fn has(&self, field: &'static str) -> bool {
        self.0.contains(&field)
    }
}

fn shown(path: &str) -> String {
    path.chars().filter(|character| !character.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changeable_fields_enter_a_mask() {
        let read = |paths: Option<&[&str]>| {
            let mut violations = Violations::default();
            let mask = paths.map(|paths| FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
            let mask = Mask::read(mask.as_ref(), &["name", "disabled"], &mut violations);
            (mask.0, violations.iter().count())
        };
        assert_eq!(read(Some(&["disabled"])), (vec!["disabled"], 0));
        assert_eq!(read(Some(&["name", "disabled"])), (vec!["name", "disabled"], 0));
        for (paths, kept, violations) in [
            (None, vec![], 1),
            (Some::<&[&str]>(&[]), vec![], 1),
            (Some(&["*"]), vec![], 1),
            (Some(&["etag", "name", "id", "a\nb"]), vec!["name"], 3),
        ] {
            assert_eq!(read(paths), (kept, violations), "{paths:?}");
        }
    }
}
