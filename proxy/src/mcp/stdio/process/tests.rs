//! Messages of a process, without one.

use serde_json::{Value, json};

use super::*;
use crate::mcp::stdio::open::MESSAGES_MAX;

fn process() -> (Arc<Process>, mpsc::Receiver<Bytes>) {
    let (lines, written) = mpsc::channel(LINES_MAX);
    (Arc::new(Process::new("notes".into(), lines)), written)
}

fn bounds() -> Bounds {
    Bounds { until: Instant::now() + Duration::from_secs(5), bytes_max: 1_000 }
}

async fn ask(process: &Arc<Process>, message: Value) -> Heard {
    let text = message.to_string();
    let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
    process.ask(&request, bounds()).await.unwrap()
}

fn call(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a", "_meta": {"progressToken": "mine"}}})
}

fn say(process: &Process, message: &Value) -> Option<Value> {
    process.take(message.to_string().as_bytes()).map(|back| serde_json::from_slice(&back).unwrap())
}

async fn next(heard: &mut Heard) -> Value {
    serde_json::from_slice(&heard.next().await.unwrap().unwrap()).unwrap()
}

fn sent(written: &mut mpsc::Receiver<Bytes>) -> Value {
    serde_json::from_slice(&written.try_recv().unwrap()).unwrap()
}

#[tokio::test]
async fn ids_and_tokens_of_two_clients_may_be_alike() {
    let (process, mut written) = process();
    let (mut one, mut two) = (ask(&process, call("x")).await, ask(&process, call("x")).await);
    for number in [1, 2] {
        let request = sent(&mut written);
        assert_eq!((&request["id"], &request["params"]["_meta"]["progressToken"]), (&number.into(), &number.into()));
    }
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 2, "progress": 1}});
    assert_eq!(say(&process, &progress), None);
    assert_eq!(say(&process, &json!({"jsonrpc": "2.0", "id": 2, "result": {"of": "two"}})), None);
    assert_eq!(say(&process, &json!({"jsonrpc": "2.0", "id": 1, "result": {"of": "one"}})), None);
    assert_eq!(next(&mut two).await["params"]["progressToken"], "mine");
    for (heard, of) in [(&mut one, "one"), (&mut two, "two")] {
        let answer = next(heard).await;
        assert_eq!((&answer["id"], &answer["result"]["of"]), (&"x".into(), &of.into()));
        assert_eq!(heard.next().await.unwrap(), None);
    }
    drop((one, two));
    assert!(written.try_recv().is_err(), "what was answered is not cancelled");
}

#[tokio::test]
async fn what_a_server_asks_goes_to_the_only_request_that_hears_or_to_the_standing_stream_or_back() {
    let question = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {}});
    let (process, _written) = process();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let _listing = ask(&process, list).await;
    assert_eq!(say(&process, &question).unwrap()["error"]["code"], -32_601, "nobody hears it");
    let mut one = ask(&process, call("a")).await;
    assert_eq!(say(&process, &question), None);
    assert_eq!(next(&mut one).await, question);
    let _two = ask(&process, call("b")).await;
    assert!(say(&process, &question).is_some(), "it could be either's");
    let mut standing = process.stand().unwrap();
    assert_eq!(say(&process, &question), None);
    assert_eq!(next(&mut standing).await, question);
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    assert_eq!(say(&process, &changed), None);
    assert_eq!(next(&mut standing).await, changed);
    let ping = json!({"jsonrpc": "2.0", "id": "p", "method": "ping"});
    assert_eq!(say(&process, &ping).unwrap(), json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_cancelled_once() {
    let (process, mut written) = process();
    let heard = ask(&process, call("x")).await;
    sent(&mut written);
    let text =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "\u{78}"}}).to_string();
    let unknown = text.replace("\"x\"", "\"y\"");
    for text in [text, unknown] {
        process.tell(&Message::parse(text.as_bytes()).unwrap(), bounds().until).await.unwrap();
    }
    assert_eq!(sent(&mut written)["params"]["requestId"], 1);
    assert!(written.try_recv().is_err(), "what was never asked is not cancelled");
    drop(heard);
    assert!(written.try_recv().is_err(), "it is cancelled already");
    assert_eq!(say(&process, &json!({"jsonrpc": "2.0", "id": 1, "result": {}})), None, "a late answer is dropped");
    drop(ask(&process, call("x")).await);
    sent(&mut written);
    let cancelled = sent(&mut written);
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&"notifications/cancelled".into(), &2.into())
    );
}

#[tokio::test]
async fn notifications_of_a_subscription_reach_the_request_that_listens() {
    let (process, mut written) = process();
    let listen =
        json!({"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": {"notifications": {}}});
    let mut heard = ask(&process, listen).await;
    sent(&mut written);
    let told = |number: i64| {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": number});
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": meta}})
    };
    say(&process, &told(9));
    say(&process, &told(1));
    assert_eq!(next(&mut heard).await["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
}

#[tokio::test]
async fn an_end_fails_what_is_open_but_says_of_nothing_that_it_was_not_done() {
    for (why, open) in [
        (Unreached::Died("exit status 1".into()), Unreached::Died("exit status 1".into())),
        (Unreached::Ended, Unreached::Broken),
    ] {
        let (process, _written) = process();
        let mut heard = ask(&process, call("x")).await;
        process.end(why.clone());
        process.end(Unreached::Late);
        assert_eq!(heard.next().await, Err(open));
        let text = call("y").to_string();
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!() };
        assert_eq!(process.ask(&request, bounds()).await.err(), Some(why), "the first reason stays");
        assert!(process.stand().is_none());
    }
}

#[tokio::test]
async fn whoever_does_not_read_loses_what_is_told_and_gets_the_answer() {
    let (process, _written) = process();
    let mut heard = ask(&process, call("x")).await;
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    for _ in 0..2 * MESSAGES_MAX {
        say(&process, &progress);
    }
    say(&process, &json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    for _ in 1..MESSAGES_MAX {
        assert_eq!(next(&mut heard).await["method"], "notifications/progress");
    }
    assert_eq!(next(&mut heard).await["id"], "x");
}

#[tokio::test]
async fn a_message_that_is_longer_than_whoever_asked_takes_is_told_so() {
    let (process, _written) = process();
    let mut heard = ask(&process, call("x")).await;
    say(&process, &json!({"jsonrpc": "2.0", "id": 1, "result": {"text": "x".repeat(1_000)}}));
    assert_eq!(heard.next().await, Err(Unreached::Long(1_000)));
    for line in ["no json", "[]", "{}", "\u{feff}{}"] {
        assert_eq!(process.take(line.as_bytes()), None, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_to_which_nothing_is_said_for_a_while_may_end_and_one_that_works_may_not() {
    let (process, _written) = process();
    let begun = Instant::now();
    let heard = ask(&process, call("x")).await;
    assert!(timeout_at(begun + 3 * IDLE_MAX, process.idle()).await.is_err(), "a call is open");
    say(&process, &json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    drop(heard);
    let answered = Instant::now();
    process.idle().await;
    assert_eq!(answered.elapsed(), IDLE_MAX);
    process
        .tell(&Message::parse(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap(), bounds().until)
        .await
        .unwrap();
    let told = Instant::now();
    process.idle().await;
    assert_eq!(told.elapsed(), IDLE_MAX);
}
