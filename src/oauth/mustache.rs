//! Mustache as Flow's OAuth templates use it (docs/oauth.md, "What Flow does", 4): variables, sections, inverted sections,
//! comments, and three lambdas; no lists, partials or other delimiters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn urlencode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[derive(Debug, PartialEq)]
enum Node<'a> {
    Text(&'a str),
    Variable { name: &'a str, raw: bool },
    Section { name: &'a str, inverted: bool, inner: Vec<Node<'a>> },
}

/// Renders a template; `now` is the moment that `now_plus` counts from. An error is a sentence without any value.
pub fn render(template: &str, variables: &Value, now: jiff::Timestamp) -> Result<String, String> {
    let mut rest = template;
    let nodes = parse(&mut rest, None)?;
    let mut out = String::new();
    Renderer { variables, now }.nodes(&nodes, &mut out)?;
    Ok(out)
}

/// The names of the variables outside of conditions.
pub fn variables(template: &str) -> Result<Vec<String>, String> {
    fn collect(nodes: &[Node], names: &mut Vec<String>) {
        for node in nodes {
            match node {
                Node::Variable { name, .. } => names.push((*name).to_owned()),
                Node::Section { name, inner, .. } if is_lambda(name) => collect(inner, names),
                _ => {}
            }
        }
    }
    let mut names = Vec::new();
    let mut rest = template;
    collect(&parse(&mut rest, None)?, &mut names);
    Ok(names)
}

fn parse<'a>(rest: &mut &'a str, within: Option<&str>) -> Result<Vec<Node<'a>>, String> {
    let mut nodes = Vec::new();
    loop {
        let Some((text, after)) = rest.split_once("{{") else {
            if let Some(section) = within {
                return Err(format!("section `{section}` is not closed"));
            }
            nodes.push(Node::Text(std::mem::take(rest)));
            return Ok(nodes);
        };
        nodes.push(Node::Text(text));
        let (close, inner) = match after.strip_prefix('{') {
            Some(inner) => ("}}}", inner),
            None => ("}}", after),
        };
        let (tag, after) = inner.split_once(close).ok_or_else(|| format!("a tag has no `{close}`"))?;
        *rest = after;
        if close == "}}}" {
            nodes.push(Node::Variable { name: tag.trim(), raw: true });
            continue;
        }
        let mark = tag.chars().next().unwrap_or(' ');
        let name = tag.strip_prefix(['#', '^', '/', '!', '&', '>', '=']).unwrap_or(tag).trim();
        match mark {
            '#' | '^' => nodes.push(Node::Section { name, inverted: mark == '^', inner: parse(rest, Some(name))? }),
            '/' if within == Some(name) => return Ok(nodes),
            '/' => return Err(format!("`{{{{/{name}}}}}` closes no section")),
            '!' => {}
            '>' | '=' => return Err(format!("`{{{{{mark}` is not supported")),
            '&' => nodes.push(Node::Variable { name, raw: true }),
            _ => nodes.push(Node::Variable { name, raw: false }),
        }
    }
}

struct Renderer<'a> {
    variables: &'a Value,
    now: jiff::Timestamp,
}

impl Renderer<'_> {
    fn nodes(&self, nodes: &[Node], out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Variable { name, raw } => {
                    let value = self.text(name);
                    if *raw { out.push_str(&value) } else { escape(&value, out) }
                }
                Node::Section { name, inverted: false, inner } if is_lambda(name) => {
                    let mut text = String::new();
                    self.nodes(inner, &mut text)?;
                    out.push_str(&self.lambda(name, &text)?);
                }
                Node::Section { name, inverted, inner } => {
                    if self.is_truthy(name) != *inverted {
                        self.nodes(inner, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn lambda(&self, name: &str, text: &str) -> Result<String, String> {
        Ok(match name {
            "urlencode" => urlencode(text),
            "basicauth" => BASE64.encode(text),
            _ => {
                let wrong = || "`now_plus` needs a number of seconds".to_owned();
                let seconds: f64 = text.trim().parse().map_err(|_| wrong())?;
                let span = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
                self.now.checked_add(span).map_err(|_| wrong())?.to_string()
            }
        })
    }

    fn find(&self, name: &str) -> Option<&Value> {
        name.split('.').try_fold(self.variables, |value, part| value.get(part))
    }

    fn text(&self, name: &str) -> String {
        match self.find(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    fn is_truthy(&self, name: &str) -> bool {
        match self.find(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(_) => true,
        }
    }
}

fn is_lambda(name: &str) -> bool {
    matches!(name, "urlencode" | "basicauth" | "now_plus")
}

fn escape(text: &str, out: &mut String) {
    for it in text.chars() {
        match it {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            it => out.push(it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(template: &str) -> Result<String, String> {
        let variables = json!({
            "a": "x & y", "config": {"is_sandbox": true, "off": false, "n": 7, "empty": ""}, "expires_in": 3600, "list": [1],
        });
        render(template, &variables, "2026-01-02T03:04:05Z".parse().unwrap())
    }

    #[test]
    fn renders_templates_like_flow() {
        let cases = [
            ("{{ a }} {{{a}}} {{& a}}", "x &amp; y x & y x & y"),
            ("{{#urlencode}}{{{ a }}}{{/urlencode}}", "x%20%26%20y"),
            ("Basic {{#basicauth}}{{{ config.n }}}:{{{a }}}{{/basicauth}}", "Basic Nzp4ICYgeQ=="),
            ("{{#now_plus}}{{ expires_in }}{{/now_plus}}", "2026-01-02T04:04:05Z"),
            (
                "{{#config.is_sandbox}}test{{/config.is_sandbox}}{{^config.is_sandbox}}login{{/config.is_sandbox}}",
                "test",
            ),
            (
                "{{#config.off}}a{{/config.off}}{{^config.none}}b{{/config.none}}{{^config.empty}}c{{/config.empty}}",
                "bc",
            ),
            ("{{! no }}{{ nothing }}{{ config.n.m }}{\"b\": {}}", "{\"b\": {}}"),
        ];
        for (template, want) in cases {
            assert_eq!(rendered(template).as_deref(), Ok(want), "{template}");
        }
    }

    #[test]
    fn wrong_templates_are_sentences() {
        for template in ["{{#a}}x", "{{/a}}", "{{ a", "{{> a}}", "{{#now_plus}}soon{{/now_plus}}", "{{#a}}{{/b}}"] {
            assert!(rendered(template).is_err(), "{template}");
        }
    }
}
