//! "Did you mean" for mistyped names.

/// How similar two names are (Jaro-Winkler, 0 to 1) if one may be a typo of the other.
const SIMILAR: f64 = 0.8;

/// The name that is most similar to a mistyped one.
pub fn similar<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = names.into_iter().map(|it| (strsim::jaro_winkler(word, it), it));
    rated.filter(|it| it.0 >= SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|it| it.1)
}

/// ` (did you mean X?)`, or nothing.
pub fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    similar(word, names).map_or_else(String::new, |it| format!(" (did you mean `{it}`?)"))
}
