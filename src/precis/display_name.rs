//! Names to be shown: of people, conferences, departments. They come from strangers, so what can't be seen is taken out of
//! them, and a name of which nothing can be seen is none.

use serde::{Deserialize, Deserializer};
use unicode_general_category::{GeneralCategory as Category, get_general_category};

/// Longest name of anything, in characters.
pub const MAX: usize = 128;

/// The names that may be configured, in words.
pub const ALLOWED: &str = "1 to 128 characters, of which one at least can be seen";

/// The replacement for a name without a visible character, where the name is reported and can't be refused.
pub const UNSEEN: &str = "?";

/// A name that somebody gives: refused where it is longer than `max` characters, has control characters, or where
/// nothing of it can be seen.
pub fn checked(text: &str, max: usize) -> Option<String> {
    let plain = text.chars().count() <= max && !text.chars().any(char::is_control);
    plain.then(|| without_invisible(text)).flatten()
}

/// A name that is told, as it is shown.
pub fn cleaned(text: &str) -> String {
    without_invisible(text).unwrap_or_else(|| UNSEEN.to_owned())
}

/// [`cleaned`], for serde.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| cleaned(&text))
}

/// Without blanks around it and without what is invisible or turns the direction of what stands beside it; `None` where
/// no visible character is left. Joiners and selectors (emoji of several parts, Persian, Indic) stay where there is
/// something to join or select.
fn without_invisible(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let (mut last, mut joiner, mut is_visible) = (Kind::Blank, None, false);
    for c in text.chars() {
        let kind = kind(c);
        let stays = match kind {
            Kind::Hidden => continue,
            Kind::Joiner => {
                joiner = (last != Kind::Blank).then_some(c);
                continue;
            }
            Kind::Visible | Kind::Unknown | Kind::Blank => true,
            Kind::Mark => last != Kind::Blank,
            Kind::Selector => !matches!(last, Kind::Blank | Kind::Selector),
        };
        let joined = joiner.take().filter(|_| matches!(kind, Kind::Visible | Kind::Unknown));
        if stays {
            name.extend(joined);
            name.push(c);
            last = kind;
        }
        is_visible |= kind == Kind::Visible;
    }
    let trimmed = name.trim_matches(|c| kind(c) == Kind::Blank);
    is_visible.then(|| trimmed.to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Visible,
    /// Private or not yet assigned: a font may have it, or not.
    Unknown,
    Blank,
    /// Drawn on what stands before it.
    Mark,
    /// Chooses a form of what stands before it.
    Selector,
    /// Joins, or keeps from joining, what stands around it.
    Joiner,
    /// Never drawn by itself, and not needed: controls of direction and layout, fillers, tags, line ends.
    Hidden,
}

fn kind(c: char) -> Kind {
    match c {
        '\u{200C}' | '\u{200D}' => Kind::Joiner,
        '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' | '\u{180B}'..='\u{180D}' | '\u{180F}' => Kind::Selector,
        // The braille pattern without dots, the musical symbol without a head.
        '\u{2800}' | '\u{1D159}' | '\t' | '\n' | '\r' => Kind::Blank,
        _ if is_ignorable(c) => Kind::Hidden,
        _ => match get_general_category(c) {
            Category::SpaceSeparator => Kind::Blank,
            Category::NonspacingMark | Category::SpacingMark | Category::EnclosingMark => Kind::Mark,
            Category::PrivateUse | Category::Unassigned => Kind::Unknown,
            Category::Control
            | Category::Format
            | Category::Surrogate
            | Category::LineSeparator
            | Category::ParagraphSeparator => Kind::Hidden,
            _ => Kind::Visible,
        },
    }
}

/// Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt): nothing is drawn for them.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_of_which_nothing_can_be_seen_is_none() {
        let unseen = [
            "",
            " ",
            "\u{A0}\u{3000}",
            "\u{200B}",
            "\u{3164}",
            "\u{2800}",
            "\u{202E}",
            "\u{FEFF}",
            "\u{2060}",
            "\u{115F}",
            "\u{1160}",
            "\u{FFA0}",
            "\u{200D}\u{200D}",
            "\u{FE0F}",
            "\u{E0041}\u{E007F}",
            "\u{301}",
            "\u{20E3}",
            "\u{61C}",
            "\u{2066}\u{2069}",
            "\u{AD}",
            "\u{34F}",
            "\u{180E}",
            "\u{1D159}",
            "\u{E000}",
            "\u{2028}",
            "\u{FFF9}",
            " \u{301} ",
            "\u{17B4}",
            "\u{E0100}",
        ];
        for text in unseen {
            assert_eq!(checked(text, 64), None, "{text:?}");
            assert_eq!(cleaned(text), UNSEEN, "{text:?}");
        }
    }

    #[test]
    fn bidi_and_invisible_characters_are_removed_from_a_name() {
        let table = [
            ("  张三 ", "张三"),
            ("Anna\u{202E}nimda", "Annanimda"),
            ("\u{2067}Anna\u{2069}", "Anna"),
            ("An\u{200B}na\u{FEFF}", "Anna"),
            ("\u{301}Anna", "Anna"),
            ("Anna\u{200D}", "Anna"),
            ("Anna \u{200D}Berg", "Anna Berg"),
            ("Anna\u{2800}", "Anna"),
            ("🏴\u{E0067}\u{E0062}\u{E007F}", "🏴"),
            ("A\u{FE0F}\u{FE0F}", "A\u{FE0F}"),
        ];
        for (text, name) in table {
            assert_eq!(checked(text, 64).as_deref(), Some(name), "{text:?}");
        }
    }

    #[test]
    fn a_name_of_any_script_stays_as_it_is() {
        let names = [
            "Anna Berg",
            "O’Brien-Smith",
            "李娜",
            "สมชาย",
            "Nguyễn Văn A",
            "Nguye\u{302}\u{303}n",
            "می\u{200C}خواهم",
            "ක\u{DCA}\u{200D}ර",
            "देवनागरी",
            "👩\u{200D}💻",
            "👨\u{200D}👩\u{200D}👧\u{200D}👦",
            "❤\u{FE0F}\u{200D}🔥",
            "1\u{FE0F}\u{20E3}",
            "🇩🇪",
            "👍🏽",
            "葛\u{E0100}",
            "<b>&amp;</b>",
            "שלום",
            "مرحبا",
            "★",
        ];
        for name in names {
            assert_eq!(checked(name, 64).as_deref(), Some(name));
        }
        for refused in ["a\nb", "\u{0}", &"x".repeat(65)] {
            assert_eq!(checked(refused, 64), None);
        }
        assert_eq!(checked(&"会".repeat(64), 64).map(|name| name.chars().count()), Some(64));
    }

    proptest! {
        #[test]
        fn cleaned_name_is_visible_and_stable(text in "\\PC{0,12}|[\\x{200B}-\\x{2069}\\x{FE00}-\\x{FEFF}a\\x{301}]{0,12}") {
            if let Some(name) = without_invisible(&text) {
                prop_assert!(name.chars().any(|c| kind(c) == Kind::Visible));
                prop_assert!(name.chars().all(|c| kind(c) != Kind::Hidden));
                prop_assert_eq!(without_invisible(&name), Some(name.clone()));
            }
        }
    }
}
