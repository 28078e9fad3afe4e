//! Repairs invalid JSON and leaves every other byte unchanged: NaN and the infinities become null, lone surrogates and
//! invalid UTF-8 become U+FFFD, raw control characters are escaped.

use super::lexical::{hex4, is_infinite, low_surrogate};

/// A kind of repair and the pointer of the field. Array indexes are left out, so that a column is one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repair {
    pub field: String,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// NaN, Infinity, -Infinity or a number beyond a double's range became null.
    NotANumber,
    /// A lone surrogate or invalid UTF-8 became U+FFFD.
    Text,
    /// A raw control character was escaped; nothing is lost.
    Control,
}

/// Repairs a text that the scanner accepted with flaws.
pub fn repair(text: &[u8]) -> (Vec<u8>, Vec<Repair>) {
    let mut repairer =
        Repairer { text, at: 0, out: Vec::with_capacity(text.len() + 16), path: Vec::new(), found: Vec::new() };
    repairer.run();
    (repairer.out, repairer.found)
}

/// Repairs and unescapes the text between the quotes of a string.
pub(super) fn string(raw: &[u8]) -> String {
    let (repaired, _) = repair(&[b"\"", raw, b"\""].concat());
    serde_json::from_slice(&repaired).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())
}

/// An open container: the latest member name of an object, none for an array.
type Level = Option<String>;

struct Repairer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    path: Vec<Level>,
    found: Vec<Repair>,
}

impl Repairer<'_> {
    fn run(&mut self) {
        let mut name_next = false;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    let start = self.out.len();
                    self.string();
                    if name_next {
                        let name = serde_json::from_slice(&self.out[start..]).ok();
                        if let Some(level) = self.path.last_mut() {
                            *level = name;
                        }
                        name_next = false;
                    }
                    continue;
                }
                b'N' => {
                    self.not_a_number("NaN");
                    continue;
                }
                b'I' => {
                    self.not_a_number("Infinity");
                    continue;
                }
                b'-' if self.text.get(self.at + 1) == Some(&b'I') => {
                    self.not_a_number("-Infinity");
                    continue;
                }
                b'-' | b'0'..=b'9' => {
                    self.number();
                    continue;
                }
                b'{' => {
                    self.path.push(Some(String::new()));
                    name_next = true;
                }
                b'[' => self.path.push(None),
                b'}' | b']' => {
                    self.path.pop();
                    name_next = false;
                }
                b',' => name_next = matches!(self.path.last(), Some(Some(_))),
                _ => {}
            }
            self.out.push(byte);
            self.at += 1;
        }
    }

    fn number(&mut self) {
        let is_part = |it: &&u8| matches!(it, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let length = self.text[self.at..].iter().take_while(is_part).count();
        let number = &self.text[self.at..self.at + length];
        if is_infinite(number) {
            self.out.extend_from_slice(b"null");
            self.note(What::NotANumber);
        } else {
            self.out.extend_from_slice(number);
        }
        self.at += length;
    }

    fn not_a_number(&mut self, word: &str) {
        self.out.extend_from_slice(b"null");
        self.at += word.len();
        self.note(What::NotANumber);
    }

    fn string(&mut self) {
        self.out.push(b'"');
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.out.push(byte);
                    self.at += 1;
                    return;
                }
                b'\\' => self.escape(),
                0..0x20 => {
                    self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    self.at += 1;
                    self.note(What::Control);
                }
                0x20..0x80 => {
                    self.out.push(byte);
                    self.at += 1;
                }
                _ => self.beyond_ascii(),
            }
        }
    }

    fn escape(&mut self) {
        let length = match hex4(self.text, self.at + 2) {
            _ if self.text.get(self.at + 1) != Some(&b'u') => 2,
            Some(0xD800..=0xDBFF) if low_surrogate(self.text, self.at + 6) => 12,
            Some(0xD800..=0xDFFF) => {
                self.out.extend_from_slice(b"\\ufffd");
                self.at += 6;
                return self.note(What::Text);
            }
            _ => 6,
        };
        let end = self.text.len().min(self.at + length);
        self.out.extend_from_slice(&self.text[self.at..end]);
        self.at = end;
    }

    /// Copies a run of non-ASCII bytes and replaces what is not UTF-8.
    fn beyond_ascii(&mut self) {
        let rest = &self.text[self.at..];
        let run = rest.iter().take_while(|byte| !byte.is_ascii()).count();
        let mut broken = false;
        for chunk in rest[..run].utf8_chunks() {
            self.out.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                broken = true;
                self.out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        self.at += run;
        if broken {
            self.note(What::Text);
        }
    }

    fn note(&mut self, what: What) {
        let field =
            self.path.iter().flatten().fold(String::new(), |path, name| path + "/" + &super::pointer::escape(name));
        let repaired = Repair { field, what };
        if self.found.last() != Some(&repaired) {
            self.found.push(repaired);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::hints::Hints;
    use crate::json::scan::Scanner;
    use proptest::prelude::*;

    fn repaired(text: &[u8]) -> (String, Vec<(String, What)>) {
        let (out, found) = repair(text);
        let found = found.into_iter().map(|it| (it.field, it.what)).collect();
        (String::from_utf8(out).unwrap(), found)
    }

    #[test]
    fn repairs_values_and_names_their_fields() {
        type Case = (&'static [u8], &'static str, &'static [(&'static str, What)]);
        let cases: [Case; 7] = [
            (
                br#"{"a":1e400,"b":[-1E+999,1e-999,0e999]}"#,
                r#"{"a":null,"b":[null,1e-999,0e999]}"#,
                &[("/a", What::NotANumber), ("/b", What::NotANumber)],
            ),
            (br#"{"a":NaN}"#, r#"{"a":null}"#, &[("/a", What::NotANumber)]),
            (
                br#"{"a":{"b":[1,-Infinity,{"c/d":Infinity}]},"e":"NaN"}"#,
                r#"{"a":{"b":[1,null,{"c/d":null}]},"e":"NaN"}"#,
                &[("/a/b", What::NotANumber), ("/a/b/c~1d", What::NotANumber)],
            ),
            (br#"{"a":"x\ud800y"}"#, r#"{"a":"x\ufffdy"}"#, &[("/a", What::Text)]),
            (br#"{"a":"\ud83d\ude00\\u"}"#, r#"{"a":"\ud83d\ude00\\u"}"#, &[]),
            (b"{\"a\":\"\xc3\xa9\xff\"}", "{\"a\":\"\u{e9}\u{fffd}\"}", &[("/a", What::Text)]),
            (b"{\"a\":\"1\t2\"}", r#"{"a":"1\u00092"}"#, &[("/a", What::Control)]),
        ];
        for (text, want, fields) in cases {
            let (got, found) = repaired(text);
            assert_eq!(got, want);
            let found: Vec<_> = found.iter().map(|(f, w)| (f.as_str(), *w)).collect();
            assert_eq!(found, fields, "{want}");
        }
    }

    proptest! {
        /// Every text that the scanner accepts is JSON after the repair, and JSON is not changed.
        #[test]
        fn repaired_texts_are_json(
            parts in proptest::collection::vec(prop_oneof![
                Just("NaN".as_bytes().to_vec()), Just(b"1e400".to_vec()), Just(b"-1.5e-400".to_vec()), Just([b'9'; 400].to_vec()), Just(b"-Infinity".to_vec()), Just(b"\"\\udfff\"".to_vec()), Just(b"{\"k\\ud800\":1}".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..6).prop_map(|it| [b"\"", &it[..], b"\""].concat()),
                Just(b"{\"a\":[1.50,null]}".to_vec()),
            ], 0..8)
        ) {
            let text = [&b"["[..], &parts.join(&b','), b"]"].concat();
            let mut hints = Hints::default();
            let mut scanner = Scanner::new(&text, &mut hints);
            if scanner.value().is_ok() && scanner.end().is_ok() {
                let (out, found) = repair(&text);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{}", out.escape_ascii());
                prop_assert_eq!(scanner.flawed(), !found.is_empty());
                if found.is_empty() {
                    prop_assert_eq!(out, text);
                }
            }
        }
    }
}
