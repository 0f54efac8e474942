//! Tools in the traffic with models: a key's patterns hold for what is offered to a model and for what it calls.

use super::*;

#[tokio::test]
async fn a_model_is_not_offered_what_the_key_may_not_use() {
    let one = Fake::modern().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let with = |names: &[&str]| {
        let tools: Vec<String> =
            names.iter().map(|name| format!(r#"{{"name":"{name}", "input_schema":{{}}}}"#)).collect();
        let messages = r#"[{"role":"user","content":"hello"}]"#;
        format!(r#"{{"model":"claude-x", "max_tokens":9,"tools":[{}],"messages":{messages}}}"#, tools.join(","))
    };
    let all = ["Bash", "Read", "mcp__gw__one__echo", "mcp__gw__one__delete_all", "mcp__other__thing"];
    for (list, left) in [
        (&[][..], &all[..]),
        (&["one.*"], &all),
        (&["one.*", "!one.delete_*", "!Bash"], &["Read", "mcp__gw__one__echo", "mcp__other__thing"]),
        (&["two.*"], &["Bash", "Read", "mcp__other__thing"]),
        (&["one.echo", "Read"], &["Read", "mcp__gw__one__echo"]),
    ] {
        tools.allow(list);
        // What the answer is, is another question.
        tools.stand.send("/v1/messages", &with(&all), &[("x-script", "echo")]).await;
        let asked = tools.stand.asked().pop().unwrap();
        assert_eq!(String::from_utf8_lossy(&asked.body), with(left), "{list:?}");
    }
}

#[tokio::test]
async fn a_call_that_the_key_may_not_make_does_not_reach_the_agent() {
    let tools = Tools::new(vec![]).await;
    for (list, passes) in
        [(&["!w"][..], false), (&["Read"], false), (&["!x"], true), (&["w"], true), (&["one.*"], true)]
    {
        tools.allow(list);
        for stream in [false, true] {
            let body = format!(
                r#"{{"model":"claude-x","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hello"}}]}}"#
            );
            let answer = tools.stand.send("/v1/messages", &body, &[("x-script", "echo")]).await;
            let called = answer.text.contains("tool_use\"") && answer.text.contains("toolu_1");
            assert_eq!(called, passes, "{list:?} {stream} {}", answer.text);
            if !passes {
                let status = if stream { 200 } else { 451 };
                assert_eq!(answer.status, status, "{}", answer.text);
                assert!(answer.text.contains("which this key may not use"), "{}", answer.text);
            }
        }
    }
}
