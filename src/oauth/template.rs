//! Parses the template language of Airbyte's `oauth_connector_input_specification`.
//!
//! It is Jinja mixed with a legacy notation: `{{ client_id_value }}`, `{{ scope_value | urlEncoder }}`,
//! `{{ {{client_id_value}}:{{client_secret_value}} | base64Encoder }}`, `{{ 'test' if is_sandbox else 'login' }}`,
//! `{% if is_sandbox %}test{% else %}login{% endif %}`. Anything else is an [`Error`] that names it.

/// A template, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Text(String),
    Name(String),
    /// The parts in sequence.
    Join(Vec<Expr>),
    Filter {
        of: Box<Expr>,
        name: String,
        arguments: Vec<String>,
    },
    If {
        condition: String,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
}

impl Expr {
    fn join(mut parts: Vec<Expr>) -> Self {
        if parts.len() == 1 { parts.remove(0) } else { Self::Join(parts) }
    }

    fn nothing() -> Self {
        Self::Text(String::new())
    }
}

/// An unsupported construct, worded as the end of "the template has ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

type Parsed<T> = Result<T, Error>;

fn error<T>(what: impl Into<String>) -> Parsed<T> {
    Err(Error(what.into()))
}

/// Limits recursion.
const DEEPEST: usize = 32;

pub fn parse(text: &str) -> Parsed<Expr> {
    let mut parser = Parser { rest: text, depth: 0 };
    match parser.template()? {
        (expr, None) => Ok(expr),
        (_, Some(tag)) => error(format!("a `{{% {tag} %}}` where none can be")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Text, values and conditions, up to the end or to a tag that belongs to a condition around it.
    fn template(&mut self) -> Parsed<(Expr, Option<&'a str>)> {
        self.deeper()?;
        let mut parts = Vec::new();
        loop {
            let next = ["{{", "{%", "{#"].iter().filter_map(|it| self.rest.find(it)).min();
            let Some(at) = next else {
                if !self.rest.is_empty() {
                    parts.push(Expr::Text(std::mem::take(&mut self.rest).to_owned()));
                }
                self.depth -= 1;
                return Ok((Expr::join(parts), None));
            };
            let (text, rest) = self.rest.split_at(at);
            // `{{-` and `{%-` remove the white space before them.
            let text = if rest[2..].starts_with('-') { text.trim_end() } else { text };
            if !text.is_empty() {
                parts.push(Expr::Text(text.to_owned()));
            }
            self.rest = rest;
            if self.eat("{{") {
                self.eat("-");
                parts.push(self.value()?);
            } else if self.eat("{#") {
                let Some((_, rest)) = self.rest.split_once("#}") else { return error("a comment without an end") };
                self.rest = rest;
            } else {
                let tag = self.tag()?;
                match tag.split_whitespace().next().unwrap_or_default() {
                    "if" => parts.push(self.condition(tag["if".len()..].trim())?),
                    "elif" | "else" | "endif" => {
                        self.depth -= 1;
                        return Ok((Expr::join(parts), Some(tag)));
                    }
                    other => return error(format!("a `{{% {other} %}}`")),
                }
            }
        }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEEPEST { error("too many nested parts") } else { Ok(()) }
    }

    /// The text in `{% %}`.
    fn tag(&mut self) -> Parsed<&'a str> {
        let Some((inner, rest)) = self.rest.split_once("%}") else { return error("a `{%` without `%}`") };
        let (inner, rest) = match inner.strip_suffix('-') {
            Some(inner) => (inner, rest.trim_start()),
            None => (inner, rest),
        };
        self.rest = rest;
        let inner = inner.strip_prefix("{%").unwrap_or(inner);
        Ok(inner.strip_prefix('-').unwrap_or(inner).trim())
    }

    /// The rest of `{% if condition %}`, up to its `{% endif %}`.
    fn condition(&mut self, condition: &str) -> Parsed<Expr> {
        let (name, negated) = plain_condition(condition)?;
        let (then, end) = self.template()?;
        let otherwise = match end {
            None => return error("an `{% if %}` without `{% endif %}`"),
            Some("endif") => Expr::nothing(),
            Some("else") => match self.template()? {
                (otherwise, Some("endif")) => otherwise,
                _ => return error("an `{% else %}` without `{% endif %}`"),
            },
            Some(elif) => {
                self.deeper()?;
                let otherwise = self.condition(elif["elif".len()..].trim())?;
                self.depth -= 1;
                otherwise
            }
        };
        Ok(choice(name, negated, then, otherwise))
    }

    /// The expression in `{{ }}`, including the end.
    fn value(&mut self) -> Parsed<Expr> {
        self.deeper()?;
        let expr = if self.is_legacy() { self.legacy_value()? } else { self.choice()? };
        self.blanks();
        if self.eat("-}}") {
            self.rest = self.rest.trim_start();
        } else if !self.eat("}}") {
            return error(self.what_is_next());
        }
        self.depth -= 1;
        Ok(expr)
    }

    /// Whether this is the legacy notation: placeholders inside placeholders, or plain text before a filter.
    fn is_legacy(&self) -> bool {
        let end = self.rest.find("}}").unwrap_or(self.rest.len());
        let inner = &self.rest[..end];
        let before_filter = inner.split('|').next().unwrap_or_default().trim();
        // A URL without quotes.
        inner.contains("{{") || (before_filter.contains("://") && !before_filter.contains(['\'', '"']))
    }

    /// `{{a}}:{{b}} | filter`: text with placeholders, and filters for the whole of it.
    fn legacy_value(&mut self) -> Parsed<Expr> {
        let mut parts = Vec::new();
        loop {
            let Some(at) = ["{{", "}}", "|"].iter().filter_map(|it| self.rest.find(it)).min() else {
                return error("a `{{` without `}}`");
            };
            let (text, rest) = self.rest.split_at(at);
            if !text.is_empty() {
                parts.push(Expr::Text(text.to_owned()));
            }
            self.rest = rest;
            if !self.eat("{{") {
                break;
            }
            parts.push(self.value()?);
        }
        if let Some(Expr::Text(first)) = parts.first_mut() {
            *first = first.trim_start().to_owned();
        }
        if let Some(Expr::Text(last)) = parts.last_mut() {
            *last = last.trim_end().to_owned();
        }
        parts.retain(|it| !matches!(it, Expr::Text(text) if text.is_empty()));
        self.filters(Expr::join(parts))
    }

    /// `a`, or `a if x else b`.
    fn choice(&mut self) -> Parsed<Expr> {
        self.deeper()?;
        let then = self.joined()?;
        self.blanks();
        let expr = if self.word("if") {
            self.blanks();
            let negated = self.word("not");
            self.blanks();
            let name = self.name();
            self.blanks();
            if name.is_empty() {
                return error(self.what_is_next());
            }
            if self.word("else") {
                let otherwise = self.choice()?;
                choice(name, negated, then, otherwise)
            } else if self.rest.starts_with("}}") || self.rest.starts_with(')') {
                choice(name, negated, then, Expr::nothing())
            } else {
                return error(self.what_is_next());
            }
        } else {
            then
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// `a ~ b + c`
    fn joined(&mut self) -> Parsed<Expr> {
        let mut parts = vec![self.filtered()?];
        loop {
            self.blanks();
            if !self.eat("~") && !self.eat("+") {
                return Ok(Expr::join(parts));
            }
            parts.push(self.filtered()?);
        }
    }

    fn filtered(&mut self) -> Parsed<Expr> {
        let of = self.primary()?;
        self.filters(of)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        self.blanks();
        if self.eat("(") {
            let inner = self.choice()?;
            self.blanks();
            return if self.eat(")") { Ok(inner) } else { error(self.what_is_next()) };
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.string().map(Expr::Text);
        }
        if self.rest.starts_with(|it: char| it.is_ascii_digit()) {
            let digits = self.rest.len() - self.rest.trim_start_matches(|it: char| it.is_ascii_digit()).len();
            let (number, rest) = self.rest.split_at(digits);
            self.rest = rest;
            return Ok(Expr::Text(number.to_owned()));
        }
        let name = self.name();
        if name.is_empty() { error(self.what_is_next()) } else { Ok(Expr::Name(name)) }
    }

    fn filters(&mut self, mut of: Expr) -> Parsed<Expr> {
        loop {
            self.blanks();
            if !self.eat("|") {
                return Ok(of);
            }
            self.blanks();
            let name = self.name();
            if name.is_empty() {
                return error(self.what_is_next());
            }
            let mut arguments = Vec::new();
            if self.eat("(") {
                self.blanks();
                while !self.eat(")") {
                    if !self.rest.starts_with(['\'', '"']) {
                        return error(format!("an argument of filter `{name}` that is not text"));
                    }
                    arguments.push(self.string()?);
                    self.blanks();
                    self.eat(",");
                    self.blanks();
                }
            }
            of = Expr::Filter { of: Box::new(of), name, arguments };
        }
    }

    fn string(&mut self) -> Parsed<String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, it)| it);
        let mut text = String::new();
        while let Some((at, it)) = chars.next() {
            match it {
                '\\' => text.extend(chars.next().map(|(_, it)| it)),
                it if Some(it) == quote => {
                    self.rest = &self.rest[at + it.len_utf8()..];
                    return Ok(text);
                }
                it => text.push(it),
            }
        }
        error("a text without its closing quote")
    }

    /// `a` or `a.b`
    fn name(&mut self) -> String {
        let is_of_name = |it: char| it.is_alphanumeric() || it == '_' || it == '.';
        let end = self.rest.find(|it| !is_of_name(it)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.starts_with(|it: char| it.is_ascii_digit() || it == '.') {
            return String::new();
        }
        self.rest = rest;
        name.to_owned()
    }

    fn word(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        let ends = !rest.starts_with(|it: char| it.is_alphanumeric() || it == '_');
        if ends {
            self.rest = rest;
        }
        ends
    }

    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Describes the next token, which is not expected.
    fn what_is_next(&self) -> String {
        let rest = self.rest;
        let named = [
            ("[", "a look-up `[...]`"),
            ("{", "a dictionary"),
            ("(", "a call"),
            ("==", "a comparison"),
            ("!=", "a comparison"),
            ("<", "a comparison"),
            (">", "a comparison"),
        ];
        if let Some((_, what)) = named.iter().find(|(token, _)| rest.starts_with(token)) {
            return (*what).to_owned();
        }
        match rest.split_whitespace().next() {
            Some("is" | "in" | "and" | "or" | "not") => "a condition that is more than a name".to_owned(),
            Some(next) => format!("`{}` in an unexpected position", next.chars().take(20).collect::<String>()),
            None => "no end".to_owned(),
        }
    }
}

fn choice(condition: String, negated: bool, then: Expr, otherwise: Expr) -> Expr {
    let (then, otherwise) = if negated { (otherwise, then) } else { (then, otherwise) };
    Expr::If { condition, then: Box::new(then), otherwise: Box::new(otherwise) }
}

/// Parses `x` or `not x`, the only conditions of Mustache.
fn plain_condition(condition: &str) -> Parsed<(String, bool)> {
    let mut parser = Parser { rest: condition, depth: 0 };
    let negated = parser.word("not");
    parser.blanks();
    let name = parser.name();
    parser.blanks();
    if name.is_empty() || !parser.rest.is_empty() {
        return error(format!("the condition `{condition}`"));
    }
    Ok((name, negated))
}
