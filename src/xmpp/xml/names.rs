//! Which names are names.

/// How much of XML's names is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Those that every server's parser takes. expat, which reads the shared stream in ejabberd and Prosody, follows
    /// the fourth edition of XML 1.0 and ends the stream at a name that it doesn't know: ASCII, and scripts in use.
    Portable,
    /// All of XML 1.0's fifth edition: for what a server has let through.
    Any,
}

impl Names {
    /// A qualified name: one or two names with one colon between (Namespaces in XML 1.0 section 4).
    /// Gives the prefix, empty for none, and the local name.
    pub fn split(self, name: &str) -> Option<(&str, &str)> {
        let colon = name.bytes().position(|byte| byte == b':');
        let (prefix, local) = colon.map_or(("", name), |at| (&name[..at], &name[at + 1..]));
        let has_prefix = colon.is_some();
        (self.is_ncname(local) && (!has_prefix || self.is_ncname(prefix))).then_some((prefix, local))
    }

    /// A name without colon.
    fn is_ncname(self, text: &str) -> bool {
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
        let is_usual = |byte: &u8| is_letter(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if text.as_bytes().first().is_some_and(is_letter) && text.as_bytes().iter().all(is_usual) {
            return true;
        }
        let mut chars = text.chars();
        chars.next().is_some_and(|c| self.begins(c)) && chars.all(|c| self.begins(c) || self.goes_on(c))
    }

    fn begins(self, c: char) -> bool {
        match self {
            Self::Portable => is_portable(c),
            Self::Any => is_any(c),
        }
    }

    fn goes_on(self, c: char) -> bool {
        let of_the_fifth = || matches!(c, '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}');
        matches!(c, '-' | '.' | '0'..='9' | '\u{B7}') || (self == Self::Any && of_the_fifth())
    }
}

fn is_portable(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{131}' | '\u{134}'..='\u{13E}'
        | '\u{141}'..='\u{148}' | '\u{14A}'..='\u{17E}' // Latin
        | '\u{38E}'..='\u{3A1}' | '\u{3A3}'..='\u{3CE}' // Greek
        | '\u{401}'..='\u{40C}' | '\u{40E}'..='\u{44F}' | '\u{451}'..='\u{45C}' // Cyrillic
        | '\u{5D0}'..='\u{5EA}' | '\u{621}'..='\u{63A}' | '\u{641}'..='\u{64A}' // Hebrew, Arabic
        | '\u{E01}'..='\u{E2E}' | '\u{3041}'..='\u{3094}' | '\u{30A1}'..='\u{30FA}' // Thai, Kana
        | '\u{3007}' | '\u{4E00}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7A3}') // Han, Hangul
}

/// XML 1.0 fifth edition, production 4, without the colon.
fn is_any(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}
