//! Requests that ask for one feature each.

use serde_json::json;
use tollgate_dialect::{
    Dialect,
    hub::{
        Block, Cache, Citation, Effort, Feature, Format, Hosted, Json, Media, MediaKind, Request, Role, Sampling,
        Signature, Source, Thinking, ThinkingMode, Tool, ToolChoice, ToolResult, ToolUse, Turn,
    },
};

/// What it is plays no part.
const DATA: &str = "AAAA";
const URL: &str = "https://files.example/it";
const CALL: &str = "call_1";
const NAME: &str = "look";

/// As Claude Code says who asks: longer than some take it.
const USER: &str = "user_7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26_account__session_9f6a";

/// Requests of that dialect that ask for the feature, where values make a difference for each of them; none for what one dialect alone
/// has.
pub(super) fn of(feature: &Feature, client: Dialect) -> Vec<Request<'static>> {
    let made = Made(client);
    let first = match feature {
        Feature::CacheControl => made.asked(vec![text("Hello.", Some(Cache::Default))]),
        Feature::CacheHour => made.asked(vec![text("Hello.", Some(Cache::Hour))]),
        Feature::MidConversationSystem => made.instructed(),
        Feature::ImageBytes => made.asked(vec![media(MediaKind::Image, bytes("image/png"))]),
        Feature::ImageUrl => made.asked(vec![media(MediaKind::Image, url("image/png"))]),
        Feature::DocumentBytes => made.asked(vec![media(MediaKind::Document, bytes("application/pdf"))]),
        Feature::DocumentUrl => made.asked(vec![media(MediaKind::Document, url("application/pdf"))]),
        Feature::DocumentText => made.asked(vec![media(MediaKind::Document, Source::Text { text: "It is.".into() })]),
        Feature::DocumentCitations => made.asked(vec![cited_document()]),
        Feature::Audio => made.asked(vec![media(MediaKind::Audio, bytes("audio/wav"))]),
        Feature::Video => {
            let video = |source| made.asked(vec![media(MediaKind::Video, source)]);
            return vec![video(bytes("video/mp4")), video(url("video/mp4"))];
        }
        Feature::File => made.asked(vec![media(MediaKind::Document, Source::File { id: "file_1".into() })]),
        Feature::Citations => made.answered(vec![cited_text()]),
        Feature::ToolError => made.called(vec![], text("It failed.", None), true),
        Feature::ToolResultImage => made.called(vec![], media(MediaKind::Image, bytes("image/png")), false),
        Feature::ToolResultDocument => made.called(vec![], media(MediaKind::Document, bytes("application/pdf")), false),
        Feature::ToolChoiceAny => made.chosen(ToolChoice::Any),
        Feature::ToolChoiceNamed => made.chosen(ToolChoice::Tool { name: NAME.into() }),
        Feature::ToolChoiceNone => made.chosen(ToolChoice::None),
        Feature::ParallelTools => Request { parallel_tools: Some(false), ..made.chosen(ToolChoice::Auto) },
        Feature::StrictTools => Request { tools: vec![tool(Some(true))], ..made.plain() },
        // An agent has tools of its own beside it, which not everybody takes together.
        Feature::WebSearch => {
            Request { tools: vec![tool(None), hosted(Hosted::WebSearch, "web_search")], ..made.plain() }
        }
        Feature::HostedTool => Request { tools: vec![hosted(Hosted::Other, "house_tool")], ..made.plain() },
        Feature::Thinking => made.thought(None),
        Feature::ForeignThinking => made.thought(Some(Signature::new(client, DATA))),
        Feature::ThinkingBudget => made.thinking(Some(ThinkingMode::Budget(2_048)), None),
        Feature::ThinkingAdaptive => made.thinking(Some(ThinkingMode::Adaptive), None),
        Feature::ThinkingOff => made.thinking(Some(ThinkingMode::Off), None),
        Feature::Effort => {
            return [Effort::Minimal, Effort::Medium, Effort::Max]
                .map(|effort| made.thinking(None, Some(effort)))
                .into();
        }
        Feature::ThinkingShown => {
            let thinking = Thinking { mode: None, effort: Some(Effort::Medium), is_shown: Some(true) };
            Request { thinking, ..made.plain() }
        }
        Feature::HighTemperature => made.sampled(Sampling { temperature: Some(1.5), ..Sampling::default() }),
        Feature::Temperature => made.sampled(Sampling { temperature: Some(0.5), ..Sampling::default() }),
        Feature::TopP => made.sampled(Sampling { top_p: Some(0.5), ..Sampling::default() }),
        Feature::TopK => made.sampled(Sampling { top_k: Some(5), ..Sampling::default() }),
        Feature::Seed => made.sampled(Sampling { seed: Some(5), ..Sampling::default() }),
        Feature::Penalties => made.sampled(Sampling { presence_penalty: Some(0.5), ..Sampling::default() }),
        Feature::StopSequences => Request { stop_sequences: vec!["END".into(), "\n\n".into()], ..made.plain() },
        Feature::JsonFormat => Request { format: Format::Json, ..made.plain() },
        Feature::SchemaFormat => Request {
            format: Format::Schema { name: None, description: None, schema: schema(), strict: None },
            ..made.plain()
        },
        Feature::User => Request { user: Some(USER.into()), ..made.plain() },
        Feature::Block(_) | Feature::Field(_) => return Vec::new(),
    };
    vec![first]
}

// Makes requests of that dialect.
#[derive(Clone, Copy)]
struct Made(Dialect);

impl Made {
    fn asked(self, blocks: Vec<Block<'static>>) -> Request<'static> {
        Request {
            dialect: self.0,
            model: "model".into(),
            turns: vec![Turn { role: Role::User, blocks }],
            output_tokens_max: Some(4_096),
            ..Request::default()
        }
    }

    fn plain(self) -> Request<'static> {
        self.asked(vec![text("Hello.", None)])
    }

    fn talked(self, turns: Vec<Turn<'static>>) -> Request<'static> {
        let mut request = self.plain();
        request.turns.extend(turns);
        request
    }

    fn instructed(self) -> Request<'static> {
        let turns = [(Role::Assistant, "Yes?"), (Role::System, "Be brief."), (Role::User, "So.")];
        self.talked(turns.into_iter().map(|(role, said)| Turn { role, blocks: vec![text(said, None)] }).collect())
    }

    // What the model said before, and a further question.
    fn answered(self, blocks: Vec<Block<'static>>) -> Request<'static> {
        let next = Turn { role: Role::User, blocks: vec![text("Go on.", None)] };
        self.talked(vec![Turn { role: Role::Assistant, blocks }, next])
    }

    // What the model said, with a call of a tool behind it, and what that gave.
    fn called(self, mut said: Vec<Block<'static>>, given: Block<'static>, is_error: bool) -> Request<'static> {
        let input = Json::empty_object();
        let call = ToolUse { id: CALL.into(), name: NAME.into(), input, signature: None, cache: None };
        said.push(Block::ToolUse(Box::new(call)));
        let result = ToolResult { tool_use_id: CALL.into(), blocks: vec![given], is_error, cache: None };
        let result = Turn { role: Role::User, blocks: vec![Block::ToolResult(Box::new(result))] };
        let request = self.talked(vec![Turn { role: Role::Assistant, blocks: said }, result]);
        Request { tools: vec![tool(None)], ..request }
    }

    fn thought(self, signature: Option<Signature<'static>>) -> Request<'static> {
        self.called(vec![Block::Thinking { text: "Hm.".into(), signature }], text("There.", None), false)
    }

    fn chosen(self, choice: ToolChoice<'static>) -> Request<'static> {
        Request { tools: vec![tool(None)], tool_choice: Some(choice), ..self.plain() }
    }

    fn thinking(self, mode: Option<ThinkingMode>, effort: Option<Effort>) -> Request<'static> {
        Request { thinking: Thinking { mode, effort, is_shown: None }, ..self.plain() }
    }

    fn sampled(self, sampling: Sampling) -> Request<'static> {
        Request { sampling, ..self.plain() }
    }
}

fn text(text: &'static str, cache: Option<Cache>) -> Block<'static> {
    Block::Text { text: text.into(), citations: Vec::new(), cache }
}

fn cited_text() -> Block<'static> {
    let citation =
        Citation { url: Some(URL.into()), title: Some("It".into()), cited_text: Some("It is.".into()), native: None };
    Block::Text { text: "It is.".into(), citations: vec![citation], cache: None }
}

fn media(kind: MediaKind, source: Source<'static>) -> Block<'static> {
    Block::Media(Box::new(medium(kind, source)))
}

fn cited_document() -> Block<'static> {
    let document = medium(MediaKind::Document, bytes("application/pdf"));
    Block::Media(Box::new(Media { is_cited: true, ..document }))
}

fn medium(kind: MediaKind, source: Source<'static>) -> Media<'static> {
    Media { kind, source, title: None, context: None, is_cited: false, detail: None, cache: None }
}

fn bytes(media_type: &'static str) -> Source<'static> {
    Source::Base64 { media_type: media_type.into(), data: DATA.into() }
}

fn url(media_type: &'static str) -> Source<'static> {
    Source::Url { url: URL.into(), media_type: Some(media_type.into()) }
}

fn schema() -> Json<'static> {
    let properties = json!({"place": {"type": "string"}});
    Json::of(&json!({"type": "object", "properties": properties, "required": ["place"], "additionalProperties": false}))
}

fn tool(strict: Option<bool>) -> Tool<'static> {
    let (name, input_schema) = (NAME.into(), schema());
    Tool::Function { name, description: None, input_schema, strict, cache: None, rest: Vec::new() }
}

fn hosted(hosted: Hosted, kind: &'static str) -> Tool<'static> {
    Tool::Hosted { hosted, kind: kind.into(), json: Json::of(&json!({"type": kind, "name": kind})) }
}
