use serde_json::{Map, Value};

/// What a turn ends with, where that is a call.
#[derive(Debug, PartialEq)]
pub(super) enum Ends {
    /// With an answer, or anything else that is none.
    Otherwise,
    /// With a call that can be read.
    Call { name: String, arguments: Map<String, Value> },
    /// With one that cannot, and why.
    Broken(String),
}

const BEGIN: &str = "<tool_call>";
const END: &str = "</tool_call>";

impl Ends {
    /// Reads the end of a turn as Qwen's and Hermes' chat templates write calls: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.
    pub(super) fn of(turn: &str) -> Self {
        let Some(turn) = turn.trim_end().strip_suffix(END) else { return Self::Otherwise };
        let Some(start) = turn.rfind(BEGIN) else { return Self::Otherwise };
        let broken = |reason: String| Self::Broken(format!("the call cannot be read: {reason}"));
        let mut call: Map<String, Value> = match serde_json::from_str(&turn[start + BEGIN.len()..]) {
            Ok(call) => call,
            Err(error) => return broken(error.to_string()),
        };
        match (call.remove("name"), call.remove("arguments")) {
            (Some(Value::String(name)), Some(Value::Object(arguments))) => Self::Call { name, arguments },
            (Some(Value::String(_)), _) => broken("`arguments` is no object".into()),
            _ => broken("it has no `name`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_turn_that_ends_with_a_call_is_one() {
        let zoom = r#"<think>There.</think> <tool_call> {"name": "zoom", "arguments": {"label": "</tool_call>"}} </tool_call>"#;
        let Some(arguments) = json!({"label": "</tool_call>"}).as_object().cloned() else { return };
        assert_eq!(Ends::of(zoom), Ends::Call { name: "zoom".into(), arguments });
        for otherwise in
            ["", "<answer>7</answer>", "zoom </tool_call>", "<tool_call>{}</tool_call> and <answer>7</answer>"]
        {
            assert_eq!(Ends::of(otherwise), Ends::Otherwise, "{otherwise}");
        }
        for (broken, reason) in [
            (r#"<tool_call>{"name": "zoom"</tool_call>"#, "EOF"),
            (r#"<tool_call>{"name": "zoom"}</tool_call>"#, "`arguments` is no object"),
            (r#"<tool_call>[1]</tool_call>"#, "expected a map"),
            (r#"<tool_call>{"arguments": {}}</tool_call>"#, "no `name`"),
        ] {
            let found = Ends::of(broken);
            assert!(matches!(&found, Ends::Broken(why) if why.contains(reason)), "{found:?}");
        }
    }
}
