//! Errors of params, in words by which their author can correct them.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use serde::Serialize;

/// Most errors that are explained of one value. More would help nobody and let a request grow its reply.
const ERRORS_MAX: usize = 20;
/// Longest message, in characters: a schema's pattern or a client's member name may stand in it.
const MESSAGE_MAX: usize = 200;
/// Longest path, in characters.
const PATH_MAX: usize = 200;

/// One entry of `data.errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParamError {
    /// Such as `keys[0]` or `positions[1].confId`.
    pub path: String,
    /// English, for developers. Never holds the value itself, which may be a secret.
    pub message: String,
}

impl ParamError {
    pub(super) fn new(path: &str, message: &str) -> Self {
        let cut = |text: &str, max| text.chars().take(max).collect();
        Self { path: cut(path, PATH_MAX), message: cut(message, MESSAGE_MAX) }
    }

    pub(super) fn required(path: &str) -> Self {
        Self::new(path, "is required")
    }
}

/// The errors of the value that stands at `root`, the deciding branch's where a value has alternatives.
pub(super) fn explain<'a>(root: &str, errors: impl Iterator<Item = ValidationError<'a>>) -> Vec<ParamError> {
    let mut explained = Vec::new();
    for error in errors {
        collect_errors(root, &error, &mut explained);
        if explained.len() >= ERRORS_MAX {
            break;
        }
    }
    explained.truncate(ERRORS_MAX);
    explained
}

fn collect_errors(root: &str, error: &ValidationError<'_>, explained: &mut Vec<ParamError>) {
    let path = path(root, error.instance_path());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            explained.push(ParamError::required(&member(&path, property.as_str().unwrap_or_default())));
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            match meant(context) {
                Some(branch) => branch.iter().for_each(|inner| collect_errors(root, inner, explained)),
                None => explained.push(ParamError::new(&path, "fits none of the allowed forms")),
            }
        }
        _ => explained.push(ParamError::new(&path, &error.masked_with("the value").to_string())),
    }
}

/// The alternative that was meant: the only one whose fixed values are all there.
fn meant<'a>(branches: &'a [Vec<ValidationError<'static>>]) -> Option<&'a Vec<ValidationError<'static>>> {
    let decides = |e: &ValidationError<'_>| {
        matches!(e.kind(), ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. })
    };
    let mut open = branches.iter().filter(|branch| !branch.iter().any(decides));
    open.next().filter(|_| open.next().is_none())
}

fn path(root: &str, location: &Location) -> String {
    location.segments().fold(root.to_owned(), |path, segment| match segment {
        LocationSegment::Property(name) => member(&path, &name),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

fn member(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
