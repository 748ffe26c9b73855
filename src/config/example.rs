//! The commented default configuration, and what it says of each key.

/// `examples/confgate.toml`: every key with its meaning, unit, default and allowed values. A line `#key = value` is a
/// key without a default, shown with an example; a line `# text` is prose.
pub const EXAMPLE: &str = include_str!("../../examples/confgate.toml");

/// One key of the example.
pub(super) struct Documented {
    /// `section.key`, without indices.
    pub path: String,
    /// The prose above it.
    pub prose: String,
}

/// The values that the example says are allowed for a key; list indices in `path` don't matter.
pub(super) fn allowed(path: &str) -> Option<String> {
    let wanted = without_indices(path);
    let documented = documented().find(|key| key.path == wanted)?;
    let (_, allowed) = documented.prose.split_once("Allowed: ")?;
    Some(allowed.trim_end_matches('.').to_owned())
}

pub(super) fn without_indices(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// Every key and section, in order.
pub(super) fn documented() -> impl Iterator<Item = Documented> {
    let mut section = String::new();
    let mut prose = Vec::new();
    EXAMPLE.lines().filter_map(move |line| {
        if line.is_empty() || line.starts_with("# ") || line == "#" {
            if line.is_empty() {
                prose.clear();
            }
            prose.push(line.trim_start_matches(['#', ' ']));
            return None;
        }
        let line = line.trim_start_matches('#');
        let text = std::mem::take(&mut prose).join(" ").trim().to_owned();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_matches(['[', ']']).to_owned();
            return Some(Documented { path: section.clone(), prose: text });
        }
        let key = line.split([' ', '=']).next().unwrap_or(line);
        Some(Documented { path: format!("{section}.{key}"), prose: text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prose_above_a_key_says_what_is_allowed() {
        assert_eq!(allowed("http.listen").as_deref(), Some("IP:PORT; port 0 takes any free one"));
        assert_eq!(allowed("auth.keys[2].secret"), allowed("auth.keys.secret"));
        assert_eq!(allowed("http.nothing"), None);
    }
}
