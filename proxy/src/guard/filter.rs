//! A streamed answer on its way to the client.
//!
//! Text is held back only while it may belong to a secret, and for no more than a few KiB; a tool's call is held until it is whole, since a
//! client runs it as soon as it has all of it. What is put back in the place of placeholders is the client's own, and is not looked at.
//! Thinking is sealed: it passes as it is, or the answer ends.

use std::{mem, sync::Arc};

use tollgate_dialect::hub::{Begin, Delta, Event, Json, Signature, Text};
use tollgate_policy::guardrail::Action;
use tollgate_scan::{Form, Piece, Restorer, Stream, Vault, json::Place};

use super::{
    report::Report,
    screen::{screen, stand_in},
    tools::ToolRule,
    watch::{Blocked, Watch},
};

/// A tool's call is held up to this size; a longer one does not go on.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Looks at a streamed answer, event by event.
pub(crate) struct Filter {
    watch: Option<Watch>,
    vault: Arc<Vault>,
    tools: Option<ToolRule>,
    block: Block,
    index: usize,
    report: Report,
}

/// Whether an event went on.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Passed {
    /// It did, or is held.
    On,
    /// The answer must end here; whether a block is open.
    Blocked(Blocked, bool),
}

// A text on its way through one source of rules.
struct Stage {
    stream: Stream,
    // The last secret was replaced: more of it, which may arrive later, is a part of it.
    is_replaced: bool,
}

// The block that is open.
enum Block {
    None,
    /// Text.
    Text {
        stages: Vec<Stage>,
        restorer: Restorer,
        tail: Vec<u8>,
    },
    /// Thinking: it is looked at, and not changed.
    Thinking {
        stages: Vec<Stage>,
        tail: Vec<u8>,
    },
    /// A tool's call that is held.
    Held {
        begin: Begin<'static>,
        input: Vec<u8>,
    },
    /// A tool's call in which placeholders are taken back as it passes.
    Call {
        restorer: Restorer,
    },
    /// Anything else.
    Other,
}

impl Filter {
    /// A filter for one answer; `None` where nothing is to be done.
    pub(crate) fn new(watch: Option<Watch>, vault: Arc<Vault>, tools: Option<ToolRule>) -> Option<Self> {
        let is_needed = watch.is_some() || !vault.is_empty() || tools.is_some();
        is_needed.then(|| Self { watch, vault, tools, block: Block::None, index: 0, report: Report::default() })
    }

    /// What was found so far.
    pub(crate) fn take_report(&mut self) -> Report {
        mem::take(&mut self.report)
    }

    /// Why something does not go on that cannot be read; `None`: it may.
    pub(crate) fn unread(&self) -> Option<Blocked> {
        // It could be a call.
        let calls = || self.tools.as_ref().map(|_| Blocked::call(ToolRule::unreadable()));
        self.watch.as_ref().and_then(Watch::too_long).or_else(calls)
    }

    /// Takes an event, and hands out what goes on.
    pub(crate) fn push(&mut self, event: &Event<'_>, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        match event {
            Event::Begin(begin) => self.begin(begin, sink),
            Event::Delta(delta) => self.delta(delta, sink),
            Event::End => self.end(sink),
            // A block that is open ends there too.
            Event::Stop { .. } | Event::Done | Event::Failed { .. } => {
                let passed = if matches!(self.block, Block::None) { Passed::On } else { self.flush(sink) };
                if passed == Passed::On {
                    sink(event);
                }
                passed
            }
            Event::Start { .. } | Event::Ping => {
                sink(event);
                Passed::On
            }
        }
    }

    fn begin(&mut self, begin: &Begin<'_>, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        // Of a call that is not admitted not even the beginning goes on.
        if let Some(tools) = &self.tools {
            let name = match begin {
                Begin::ToolUse { name, .. } => Some(name.to_string()),
                Begin::Other { kind, json } if kind.contains("tool_use") => Some(name_of(json)),
                _ => None,
            };
            if let Some(name) = name.filter(|name| !tools.admits(name)) {
                return Passed::Blocked(Blocked::call(ToolRule::refusal(&name)), false);
            }
        }
        self.block = match begin {
            Begin::Text => Block::Text { stages: self.stages(), restorer: Restorer::new(Form::Text), tail: Vec::new() },
            Begin::Thinking => Block::Thinking { stages: self.stages(), tail: Vec::new() },
            Begin::ToolUse { id, name, signature } if self.watch.is_some() => {
                let signature = signature.clone().map(|seal| Signature::new(seal.dialect, seal.seal.into_owned()));
                let begin = Begin::ToolUse { id: id.clone().into_owned(), name: name.clone().into_owned(), signature };
                self.block = Block::Held { begin, input: Vec::new() };
                return Passed::On;
            }
            Begin::ToolUse { .. } => Block::Call { restorer: Restorer::new(Form::JsonString) },
            Begin::Other { kind, json } => {
                let (changed, blocked) = self.look(json.get().as_bytes());
                if let Some(blocked) = blocked {
                    return Passed::Blocked(blocked, false);
                }
                self.block = Block::Other;
                let changed = changed.and_then(|json| String::from_utf8(json).ok());
                let json = match changed.map(|json| Json::from_text(Text::from(json))) {
                    Some(Ok(changed)) => changed,
                    _ => json.clone(),
                };
                sink(&Event::Begin(Begin::Other { kind: kind.clone(), json }));
                return Passed::On;
            }
            Begin::RedactedThinking { .. } => Block::Other,
        };
        sink(&Event::Begin(begin.clone()));
        Passed::On
    }

    fn stages(&self) -> Vec<Stage> {
        let groups = self.watch.iter().flat_map(|watch| watch.groups.iter());
        let stage = |stream| Stage { stream, is_replaced: false };
        groups.map(|watching| stage(Stream::new(watching.engine().set()))).collect()
    }

    fn delta(&mut self, delta: &Delta<'_>, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        match (&mut self.block, delta) {
            (Block::Text { .. }, Delta::Text(text)) => self.text(text.as_bytes(), false, sink),
            (Block::Thinking { .. }, Delta::Thinking(text)) => self.thinking(text.as_bytes(), false, sink),
            // The seal is over all of it: what is held goes before.
            (Block::Thinking { .. }, Delta::Signature(_)) => {
                let passed = self.thinking(b"", true, sink);
                if passed == Passed::On {
                    self.block = Block::Other;
                    sink(&Event::Delta(delta.clone()));
                }
                passed
            }
            (Block::Held { input, .. }, Delta::Input(text)) => {
                input.extend_from_slice(text.as_bytes());
                if input.len() > CALL_BYTES_MAX { self.release(sink) } else { Passed::On }
            }
            (Block::Call { restorer }, Delta::Input(text)) => {
                let mut out = Vec::new();
                restorer.push(&self.vault, text.as_bytes(), &mut out);
                say(out, Delta::Input, sink);
                Passed::On
            }
            (Block::Held { .. }, _) => Passed::On,
            _ => {
                sink(&Event::Delta(delta.clone()));
                Passed::On
            }
        }
    }

    // A call is too long to be held: the answer ends, or where nothing would be done about it, the call goes on unseen.
    fn release(&mut self, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        if let Some(blocked) = self.watch.as_ref().and_then(Watch::too_long) {
            return Passed::Blocked(blocked, false);
        }
        let mut restorer = Restorer::new(Form::JsonString);
        if let Block::Held { begin, input } = mem::replace(&mut self.block, Block::None) {
            let mut out = Vec::new();
            restorer.push(&self.vault, &input, &mut out);
            sink(&Event::Begin(begin));
            say(out, Delta::Input, sink);
        }
        self.block = Block::Call { restorer };
        Passed::On
    }

    // The open block ends: what is held of it goes on, or nothing does.
    fn end(&mut self, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        let passed = self.flush(sink);
        if passed == Passed::On {
            sink(&Event::End);
        }
        passed
    }

    fn flush(&mut self, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        let passed = match &mut self.block {
            Block::Text { .. } => self.text(b"", true, sink),
            Block::Thinking { .. } => self.thinking(b"", true, sink),
            Block::Call { restorer } => {
                let mut out = Vec::new();
                restorer.finish(&mut out);
                say(out, Delta::Input, sink);
                Passed::On
            }
            Block::Held { .. } => self.call(sink),
            Block::None | Block::Other => Passed::On,
        };
        self.block = Block::None;
        self.index = self.index.saturating_add(1);
        passed
    }

    // A tool's call that is whole.
    fn call(&mut self, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        let Block::Held { begin, input } = mem::replace(&mut self.block, Block::None) else { return Passed::On };
        let (changed, blocked) = self.look(&input);
        if let Some(blocked) = blocked {
            return Passed::Blocked(blocked, false);
        }
        let input = self.vault.restore(Form::JsonString, &changed.unwrap_or(input));
        sink(&Event::Begin(begin));
        say(input, Delta::Input, sink);
        Passed::On
    }

    // Looks at what is whole.
    fn look(&mut self, json: &[u8]) -> (Option<Vec<u8>>, Option<Blocked>) {
        let Some(watch) = &self.watch else { return (None, None) };
        // In an answer nothing is put in that shall be taken back.
        let screened = screen(watch, json, None);
        self.report.append(screened.report);
        (screened.changed, screened.blocked)
    }

    fn text(&mut self, bytes: &[u8], is_last: bool, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        let Block::Text { stages, restorer, tail } = &mut self.block else { return Passed::On };
        let mut scan =
            Scanning { watch: self.watch.as_ref(), report: &mut self.report, index: self.index, changes: true };
        let (passed, blocked) = scan.through(stages, bytes, is_last);
        let mut out = mem::take(tail);
        restorer.push(&self.vault, &passed, &mut out);
        if is_last && blocked.is_none() {
            restorer.finish(&mut out);
        } else {
            // A letter that is not whole yet.
            *tail = out.split_off(whole(&out));
        }
        say(out, Delta::Text, sink);
        blocked.map_or(Passed::On, |blocked| Passed::Blocked(blocked, true))
    }

    fn thinking(&mut self, bytes: &[u8], is_last: bool, sink: &mut dyn FnMut(&Event<'_>)) -> Passed {
        let Block::Thinking { stages, tail } = &mut self.block else { return Passed::On };
        let mut scan =
            Scanning { watch: self.watch.as_ref(), report: &mut self.report, index: self.index, changes: false };
        let (passed, blocked) = scan.through(stages, bytes, is_last);
        let mut out = mem::take(tail);
        out.extend_from_slice(&passed);
        if !is_last || blocked.is_some() {
            *tail = out.split_off(whole(&out));
        }
        say(out, Delta::Thinking, sink);
        blocked.map_or(Passed::On, |blocked| Passed::Blocked(blocked, true))
    }
}

// Text on its way through each source of rules.
struct Scanning<'a> {
    watch: Option<&'a Watch>,
    report: &'a mut Report,
    index: usize,
    changes: bool,
}

impl Scanning<'_> {
    // What goes on by now, and why nothing more may.
    fn through(&mut self, stages: &mut [Stage], bytes: &[u8], is_last: bool) -> (Vec<u8>, Option<Blocked>) {
        let (mut passing, mut ended) = (bytes.to_vec(), None);
        let Some(watch) = self.watch else { return (passing, None) };
        for (watching, stage) in watch.groups.iter().zip(stages) {
            let (mut out, mut blocked) = (Vec::new(), None);
            let Stage { stream, is_replaced } = stage;
            watching.engine().with(|set, scratch| {
                let mut take = |piece: Piece<'_>| match piece {
                    _ if blocked.is_some() => {}
                    Piece::Text(text) => {
                        *is_replaced = false;
                        out.extend_from_slice(text);
                    }
                    Piece::More(text) => {
                        if !*is_replaced {
                            out.extend_from_slice(text);
                        }
                    }
                    Piece::Secret { findings, text } => {
                        let mut strictest: Option<super::watch::Decided> = None;
                        for finding in findings {
                            let place =
                                || Place { path: format!("content[{}]", self.index), offset: finding.range.start };
                            let decided = watch.decide(watching, finding, self.report, place);
                            if let Some(decided) = decided {
                                if decided.action == Action::Block && blocked.is_none() {
                                    blocked = Some(Blocked::by(&decided, finding, watch.direction, place()));
                                }
                                if strictest.as_ref().is_none_or(|strictest| strictest.action < decided.action) {
                                    strictest = Some(decided);
                                }
                            }
                        }
                        match strictest {
                            _ if blocked.is_some() => {}
                            Some(decided) if decided.action > Action::Detect && self.changes => {
                                *is_replaced = true;
                                out.extend_from_slice(stand_in(Action::Redact, &decided.rule, text, None).as_bytes());
                            }
                            _ => {
                                *is_replaced = false;
                                out.extend_from_slice(text);
                            }
                        }
                    }
                    Piece::Overflow(rule) => blocked = watch.unseen(watching, Some(rule)),
                    Piece::Exhausted => blocked = watch.unseen(watching, None),
                };
                stream.push(set, scratch, watch.fingerprints(), &passing, &mut take);
                // What a stage before has stopped does not end here.
                if is_last && ended.is_none() {
                    stream.finish(set, scratch, watch.fingerprints(), &mut take);
                }
            });
            passing = out;
            ended = ended.or(blocked);
        }
        (passing, ended)
    }
}

// Where the last whole letter ends.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn say<'a>(bytes: Vec<u8>, delta: fn(Text<'a>) -> Delta<'a>, sink: &mut dyn FnMut(&Event<'_>)) {
    if !bytes.is_empty() {
        sink(&Event::Delta(delta(Text::from(String::from_utf8_lossy(&bytes).into_owned()))));
    }
}

// The name of a call that came as something else: within the event or the block that it is.
fn name_of(json: &Json<'_>) -> String {
    let value: serde_json::Value = serde_json::from_str(json.get()).unwrap_or_default();
    let block = value.get("content_block").unwrap_or(&value);
    block.get("name").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
