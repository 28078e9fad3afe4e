//! The template language, in both notations.

use crate::oauth::template::{Error, Expr, parse};

fn text(it: &str) -> Expr {
    Expr::Text(it.to_owned())
}

fn name(it: &str) -> Expr {
    Expr::Name(it.to_owned())
}

fn filter(of: Expr, name: &str) -> Expr {
    Expr::Filter { of: Box::new(of), name: name.to_owned(), arguments: Vec::new() }
}

fn either(condition: &str, then: Expr, otherwise: Expr) -> Expr {
    Expr::If { condition: condition.to_owned(), then: Box::new(then), otherwise: Box::new(otherwise) }
}

#[test]
fn reads_both_notations() {
    let basic = filter(Expr::Join(vec![name("a"), text(":"), name("b")]), "base64Encoder");
    let cases = [
        ("https://x/?{{a}}&{{ b }}", Expr::Join(vec![text("https://x/?"), name("a"), text("&"), name("b")])),
        ("{{ a | urlEncoder }}", filter(name("a"), "urlEncoder")),
        ("{{ {{a}} | urlEncoder }}", filter(name("a"), "urlEncoder")),
        ("{{{{a}} | urlEncoder}}", filter(name("a"), "urlEncoder")),
        ("{{ {{ a }}:{{b}} | base64Encoder }}", basic.clone()),
        ("{{ (a ~ ':' ~ b) | base64Encoder }}", basic),
        ("{{ https://x.y/z | urlEncoder}}", filter(text("https://x.y/z"), "urlEncoder")),
        ("{% if a %}x{% else %}{{b}}{% endif %}", either("a", text("x"), name("b"))),
        ("{%- if not a -%} x {%- endif %}", either("a", Expr::Join(vec![]), text("x"))),
        ("{{ 'x' if a else \"y\" }}", either("a", text("x"), text("y"))),
        ("{{ 'http://x' if a else 'y' }}", either("a", text("http://x"), text("y"))),
        ("{% if a %}x{% elif b %}y{% else %}z{% endif %}", either("a", text("x"), either("b", text("y"), text("z")))),
        ("a{# not here #}b", Expr::Join(vec![text("a"), text("b")])),
    ];
    for (template, want) in cases {
        let got = parse(template).unwrap_or_else(|it| panic!("{template}: {}", it.0));
        let same = |a: &Expr| if *a == Expr::Join(vec![]) { text("") } else { a.clone() };
        let flat = match got {
            Expr::If { condition, then, otherwise } => {
                Expr::If { condition, then: Box::new(same(&then)), otherwise: Box::new(same(&otherwise)) }
            }
            other => other,
        };
        let want = match want {
            Expr::If { condition, then, otherwise } => {
                Expr::If { condition, then: Box::new(same(&then)), otherwise: Box::new(same(&otherwise)) }
            }
            other => other,
        };
        assert_eq!(flat, want, "{template}");
    }
    let replace = parse("{{ a | replace('+', '-') }}").unwrap();
    assert!(matches!(replace, Expr::Filter { arguments, .. } if arguments == ["+", "-"]));
}

#[test]
fn errors_name_the_unsupported_construct() {
    let cases = [
        ("{{ {'EU': 'x'}[region] }}", "a dictionary"),
        ("{{ hosts[region] }}", "a look-up `[...]`"),
        ("{{ f(x) }}", "a call"),
        ("{{ x.get('a') }}", "a call"),
        ("{% set a = 1 %}", "a `{% set %}`"),
        ("{% for a in b %}{% endfor %}", "a `{% for %}`"),
        ("{% if region == 'EU' %}a{% endif %}", "the condition `region == 'EU'`"),
        ("{{ 'a' if region == 'EU' else 'b' }}", "a comparison"),
        ("{{ a if b and c else d }}", "a condition that is more than a name"),
        ("{% if a %}b", "an `{% if %}` without `{% endif %}`"),
        ("{% endif %}", "a `{% endif %}` where none can be"),
        ("{{ a", "no end"),
        ("{{ 'a }}", "a text without its closing quote"),
        ("{{ a | default(1) }}", "an argument of filter `default` that is not text"),
    ];
    for (template, want) in cases {
        assert_eq!(parse(template), Err(Error(want.to_owned())), "{template}");
    }
    assert!(parse(&"{{ (".repeat(100)).is_err());
    assert!(parse(&"{% if a %}".repeat(100)).is_err());
}

proptest::proptest! {
    #[test]
    fn survives_anything(template in r"([{}%|'() a-c.\-#]|\{\{|\}\}|\{%|%\}|if |else|endif|é){0,40}") {
        let _ = parse(&template);
    }
}
