//! Chat templates render as in Hugging Face transformers. tests/fixtures/make_template_fixtures.py makes the fixtures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::fixture;
use text::ChatTemplate;

#[derive(serde::Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(serde::Deserialize)]
struct Case {
    template: String,
    bos: String,
    eos: String,
    messages: Vec<Message>,
    expected: String,
}

#[test]
fn published_templates_render_as_transformers_renders_them() {
    let read = |name: &str| std::fs::read_to_string(fixture("templates").join(name)).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&read("expected.json")).unwrap();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let source = read(&format!("{}.jinja", case.template));
        let template = ChatTemplate::new(Some(&source), &case.bos, &case.eos);
        let messages = case.messages.iter().map(|one| (&*one.role, &*one.content));
        let rendered = template.render(messages).unwrap();
        assert_eq!(rendered, case.expected, "{}", case.template);
    }
}
