//! Chat templates in any form of Jinja render as in transformers. tests/fixtures/make_template_forms.py makes the
//! fixture.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::fixture;
use text::ChatTemplate;

#[derive(serde::Deserialize)]
struct Forms {
    messages: Vec<Message>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    template: String,
    expected: String,
}

#[test]
fn forms_render_as_jinja_renders_them() {
    let forms = std::fs::read_to_string(fixture("template_forms.json")).unwrap();
    let forms: Forms = serde_json::from_str(&forms).unwrap();
    assert!(forms.cases.len() > 60);
    let differs = |case: &Case| {
        let template = ChatTemplate::new(Some(&case.template), "<s>", "</s>");
        let messages = forms.messages.iter().map(|one| (&*one.role, &*one.content));
        match template.render(messages) {
            Ok(rendered) if rendered == case.expected => None,
            Ok(rendered) => Some(format!("{}:\n  {rendered:?}\n  {:?}", case.name, case.expected)),
            Err(why) => Some(format!("{}: {why}", case.name)),
        }
    };
    let differences: Vec<String> = forms.cases.iter().filter_map(differs).collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn functions_can_be_called_and_messages_cannot() {
    let source = "{{ raise_exception is callable }} {{ messages is callable }}";
    let template = ChatTemplate::new(Some(source), "<s>", "</s>");
    assert_eq!(template.render([("user", "Hi")]).unwrap(), "True False");
}
