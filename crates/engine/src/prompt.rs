//! The text of a session's prompt: the port's prompts and failures over the chat templates of the
//! crate `text`, which does not know the port.

use text::ChatTemplate;
use thinking::thinker::{Code, Failure, Prompt};

/// Makes the prompts of one model's sessions.
#[derive(Debug)]
pub(crate) struct PromptTemplate(pub(crate) ChatTemplate);

impl PromptTemplate {
    /// The prompt's text: a raw prompt as it is, messages through the model's chat template.
    ///
    /// # Errors
    /// [`Code::Template`] when the model has no usable template or it refuses the messages.
    pub(crate) fn render(&self, prompt: &Prompt) -> Result<String, Failure> {
        match prompt {
            Prompt::Raw(text) => Ok(text.clone()),
            Prompt::Messages(messages) => self
                .0
                .render(messages.iter().map(|one| (one.role.as_str(), one.content.as_str())))
                .map_err(|error| Failure::new(Code::Template, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinking::thinker::Message;

    fn render(source: Option<&str>, prompt: &Prompt) -> Result<String, Failure> {
        PromptTemplate(ChatTemplate::new(source, "<s>", "</s>")).render(prompt)
    }

    fn user(content: &str) -> Prompt {
        Prompt::Messages(vec![Message { role: "user".into(), content: content.into() }])
    }

    #[test]
    fn messages_go_through_the_template_and_raw_prompts_do_not() {
        let source = "{{ bos_token }}{{ messages[0].role }}: {{ messages[0].content }}";
        assert_eq!(render(Some(source), &user("Hi")).unwrap(), "<s>user: Hi");
        let raw = Prompt::Raw(" as it is\n\n".into());
        for source in [Some(source), None] {
            assert_eq!(render(source, &raw).unwrap(), " as it is\n\n");
        }
    }

    #[test]
    fn a_template_that_is_missing_or_refuses_has_its_own_code() {
        let cases = [
            (None, "no chat template"),
            (Some("{{ raise_exception('roles must alternate') }}"), "roles must alternate"),
        ];
        for (source, expected) in cases {
            let failure = render(source, &user("Hi")).unwrap_err();
            assert_eq!(failure.code, Code::Template);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
