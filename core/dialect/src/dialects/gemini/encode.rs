//! Writes a `generateContent` request from the hub.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    generation::{self, PREFIX, WireGeneration},
    media,
    model::Model,
    result, seal,
    wire::{Piece, Rest, Said, WireCall, WireCalling, WirePart, WireResult, WireToolConfig},
};
use crate::{
    dialects::{Dialect, Quirks},
    hub::{
        Block, Cache, Feature, Hosted, Json, Losses, Media, MediaKind, Request, Role, Signature, Source, Text, Tool,
        ToolChoice, ToolResult, ToolUse,
        order::{OPENING, Ordered, ordered},
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireRequest<'a> {
    /// Only where a request is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    contents: Vec<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<WireGeneration<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<WireToolConfig<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireTool<'a> {
    #[serde(rename_all = "camelCase")]
    Functions {
        function_declarations: Vec<Function<'a>>,
    },
    Own(&'a Json<'a>),
    Hosted(HashMap<&'static str, Empty>),
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    parameters_json_schema: &'a Json<'a>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// Writes a request.
#[must_use]
pub fn encode_request(request: &Request<'_>, _: &Quirks, losses: &mut Losses) -> Vec<u8> {
    // Texts, numbers and JSON have a JSON form.
    let ordered = in_order(request);
    serde_json::to_vec(&wire(request, ordered.as_ref(), losses)).unwrap_or_default()
}

/// The conversation in the order that the API demands; its own clients know it.
pub(super) fn in_order<'a>(request: &'a Request<'a>) -> Option<Ordered<'a>> {
    (request.dialect != Dialect::Gemini).then(|| ordered(&request.turns))
}

pub(super) fn wire<'a>(
    request: &'a Request<'a>,
    ordered: Option<&'a Ordered<'a>>,
    losses: &mut Losses,
) -> WireRequest<'a> {
    let mut writing = Writing {
        is_own: request.dialect == Dialect::Gemini,
        model: Model::named(&request.model),
        names: HashMap::new(),
        losses,
    };
    let ahead = ordered.into_iter().flat_map(|ordered| &ordered.system).map(|block| &**block);
    let system: Vec<Piece<'a>> = request.system.iter().chain(ahead).filter_map(|block| writing.plain(block)).collect();
    let contents = match ordered {
        Some(ordered) => writing.contents(ordered.turns.iter().map(|turn| (turn.role, turn.given()))),
        None => writing.contents(request.turns.iter().map(|turn| (turn.role, turn.blocks.iter().collect()))),
    };
    let tools = writing.tools(&request.tools);
    let (generation_rest, rest) = writing.rest(&request.rest);
    let tool_config = writing.tool_config(request, &rest);
    WireRequest {
        model: None,
        contents,
        system_instruction: (!system.is_empty()).then_some(Said { role: None, parts: system }),
        tools,
        tool_config,
        generation_config: generation::write(request, generation_rest, losses),
        rest,
    }
    .noting(request, losses)
}

impl WireRequest<'_> {
    fn noting(self, request: &Request<'_>, losses: &mut Losses) -> Self {
        if request.user.is_some() {
            losses.meet(Feature::User);
        }
        if request.parallel_tools == Some(false) {
            losses.meet(Feature::ParallelTools);
        }
        self
    }
}

/// What is written, and what is lost of it.
struct Writing<'a, 'l> {
    // The request came in this dialect: what only it has is written as it was.
    is_own: bool,
    model: Model,
    // The functions that were called, by the ids of the calls.
    names: HashMap<&'a str, &'a str>,
    losses: &'l mut Losses,
}

impl<'a> Writing<'a, '_> {
    // Turns of one role that follow each other are one content; a content without parts is refused by the API.
    fn contents(&mut self, turns: impl Iterator<Item = (Role, Vec<&'a Block<'a>>)>) -> Vec<Said<'a>> {
        let mut contents: Vec<Said<'a>> = Vec::new();
        for (role, blocks) in turns {
            let (mut results, others) = self.turn(role, blocks);
            let role = if role == Role::Assistant { "model" } else { "user" };
            match contents.last_mut() {
                _ if results.is_empty() && others.is_empty() => {}
                Some(last) if last.role == Some(role) => {
                    let behind = last.parts.iter().take_while(|piece| is_result(piece)).count();
                    last.parts.splice(behind..behind, results);
                    last.parts.extend(others);
                }
                _ => {
                    results.extend(others);
                    contents.push(Said { role: Some(role), parts: results });
                }
            }
        }
        if !self.is_own && contents.first().is_none_or(|first| first.role != Some("user")) {
            let opening = WirePart { text: Some(OPENING.into()), ..WirePart::default() };
            contents.insert(0, Said { role: Some("user"), parts: vec![piece(opening)] });
        }
        if !self.is_own && !self.model.is_before_3() {
            contents.iter_mut().filter(|content| content.role == Some("model")).for_each(|step| self.seal(step));
        }
        contents
    }

    // The first call of a step has a seal, or Gemini 3 refuses it. Those of earlier turns are not looked at, but written the same
    // from request to request, so that the prompt stays cached.
    fn seal(&mut self, step: &mut Said<'a>) {
        let call = step.parts.iter_mut().find_map(|piece| match piece {
            Piece::Part(part) if part.function_call.is_some() => Some(part),
            _ => None,
        });
        if let Some(call) = call.filter(|call| call.thought_signature.is_none()) {
            call.thought_signature = Some(seal::NONE.into());
            self.losses.drop(Feature::Field("thoughtSignature".to_owned()));
        }
    }

    // The answers of functions, which follow the calls without anything between, and everything else.
    fn turn(&mut self, role: Role, blocks: Vec<&'a Block<'a>>) -> (Vec<Piece<'a>>, Vec<Piece<'a>>) {
        if role == Role::System {
            self.losses.meet(Feature::MidConversationSystem);
        }
        let (mut results, mut behind, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut blocks = blocks.into_iter().peekable();
        while let Some(block) = blocks.next() {
            match block {
                Block::ToolResult(answered) => {
                    let written = if self.is_own { &mut others } else { &mut results };
                    written.push(piece(self.tool_result(answered, &mut behind)));
                }
                Block::Thinking { text, signature } => {
                    match blocks.next_if(|next| bears(text, signature.as_ref(), next)) {
                        Some(Block::ToolUse(call)) => others.push(piece(self.call(call, signature.as_ref()))),
                        _ => others.extend(self.thinking(text, signature.as_ref()).map(piece)),
                    }
                }
                Block::RedactedThinking { data } => {
                    others.extend(self.thinking("", Some(data)).map(piece));
                }
                Block::ToolUse(call) => others.push(piece(self.call(call, call.signature.as_ref()))),
                Block::Media(media) => self.media(media, &mut others),
                Block::Other { kind, json } => {
                    if self.is_own {
                        others.push(Piece::Own(json));
                        // Its seal is in it.
                        blocks.next_if(|next| seal::is_within(json, next));
                    } else {
                        self.losses.drop(Feature::Block(kind.to_string()));
                    }
                }
                Block::Text { .. } => others.extend(self.plain(block)),
            }
        }
        behind.append(&mut others);
        (results, behind)
    }

    // A text; none where it is empty, which the API refuses.
    fn plain(&mut self, block: &'a Block<'a>) -> Option<Piece<'a>> {
        let Block::Text { text, citations, cache } = block else { return None };
        self.cached(*cache);
        if !citations.is_empty() {
            self.losses.meet(Feature::Citations);
        }
        (!text.is_empty()).then(|| piece(WirePart { text: Some(text.lend()), ..WirePart::default() }))
    }

    fn thinking(&mut self, text: &'a str, signature: Option<&'a Signature<'a>>) -> Option<WirePart<'a>> {
        let own = seal::own(signature);
        if signature.is_some() && own.is_none() {
            self.losses.meet(Feature::ForeignThinking);
            return None;
        }
        (!text.is_empty() || own.is_some()).then(|| thought(text, own))
    }

    fn call(&mut self, call: &'a ToolUse<'a>, signature: Option<&'a Signature<'a>>) -> WirePart<'a> {
        self.cached(call.cache);
        self.names.insert(&call.id, &call.name);
        WirePart { thought_signature: seal::own(signature).map(Text::from), ..function_call(call) }
    }

    fn tool_result(&mut self, answered: &'a ToolResult<'a>, behind: &mut Vec<Piece<'a>>) -> WirePart<'a> {
        self.cached(answered.cache);
        let (mut texts, mut media) = (Vec::new(), Vec::new());
        for block in &answered.blocks {
            match block {
                Block::Text { text, cache, .. } => {
                    self.cached(*cache);
                    texts.extend(Some(&**text).filter(|text| !text.is_empty()));
                }
                Block::Media(medium) => self.medium(medium, &mut media),
                Block::Other { kind, .. } => self.losses.drop(Feature::Block(kind.to_string())),
                _ => {}
            }
        }
        let name = self.names.get(&*answered.tool_use_id).copied().unwrap_or(&answered.tool_use_id);
        let (beside, within): (Vec<_>, Vec<_>) =
            media.into_iter().partition(|part| self.model.is_before_3() || part.text.is_some());
        behind.extend(beside.into_iter().map(piece));
        let response = Some(result::write(&texts, answered.is_error));
        let function_response = Some(WireResult {
            id: Some(answered.tool_use_id.lend()),
            name: name.into(),
            response,
            parts: result::parts(within),
        });
        WirePart { function_response, ..WirePart::default() }
    }

    fn media(&mut self, media: &'a Media<'a>, pieces: &mut Vec<Piece<'a>>) {
        let mut parts = Vec::new();
        self.medium(media, &mut parts);
        pieces.extend(parts.into_iter().map(piece));
    }

    fn medium(&mut self, media: &'a Media<'a>, parts: &mut Vec<WirePart<'a>>) {
        let text = |text: Text<'a>| WirePart { text: Some(text), ..WirePart::default() };
        self.cached(media.cache);
        if media.is_cited {
            self.losses.meet(Feature::DocumentCitations);
        }
        if matches!(media.source, Source::File { .. }) {
            self.losses.meet(Feature::File);
            return parts.push(text(media.kind.left_out().into()));
        }
        parts.extend(media::about(media, self.is_own).map(|about| text(about.into())));
        for block in media::pieces(media).unwrap_or_default() {
            match block {
                Block::Text { text: said, .. } if !said.is_empty() => parts.push(text(said.lend())),
                Block::Media(inner) if inner.kind == MediaKind::Image => parts.extend(media::write(inner, self.is_own)),
                _ => {}
            }
        }
        parts.extend(media::write(media, self.is_own));
    }

    fn cached(&mut self, cache: Option<Cache>) {
        match cache {
            Some(Cache::Default) => self.losses.meet(Feature::CacheControl),
            Some(Cache::Hour) => self.losses.meet(Feature::CacheHour),
            None => {}
        }
    }

    fn tools(&mut self, tools: &'a [Tool<'a>]) -> Vec<WireTool<'a>> {
        let (mut functions, mut hosted_tools) = (Vec::new(), Vec::new());
        let has_functions = tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
        for tool in tools {
            match tool {
                Tool::Function { name, description, input_schema, strict: _, cache, rest } => {
                    self.cached(*cache);
                    let (_, rest) = self.rest(rest);
                    let description = description.as_ref();
                    functions.push(Function { name, description, parameters_json_schema: input_schema, rest });
                }
                Tool::Hosted { json, .. } if self.is_own => hosted_tools.push(WireTool::Own(json)),
                Tool::Hosted { hosted, .. } => hosted_tools.extend(self.hosted(*hosted, has_functions)),
            }
        }
        let functions = (!functions.is_empty()).then_some(WireTool::Functions { function_declarations: functions });
        functions.into_iter().chain(hosted_tools).collect()
    }

    // Tools of the provider do not go together with functions, or only with settings and answers that no other dialect has.
    fn hosted(&mut self, hosted: Hosted, has_functions: bool) -> Option<WireTool<'a>> {
        let (feature, kind) = match hosted {
            Hosted::WebSearch => (Feature::WebSearch, Some("googleSearch")),
            Hosted::CodeExecution => (Feature::HostedTool, Some("codeExecution")),
            Hosted::WebFetch => (Feature::HostedTool, Some("urlContext")),
            Hosted::Other => (Feature::HostedTool, None),
        };
        let kind = kind.filter(|_| !has_functions);
        if kind.is_none() {
            self.losses.drop(feature);
        }
        kind.map(|kind| WireTool::Hosted(HashMap::from([(kind, Empty {})])))
    }

    fn tool_config(&mut self, request: &'a Request<'a>, rest: &Rest<'a>) -> Option<WireToolConfig<'a>> {
        let functions = |tool: &Tool<'_>| matches!(tool, Tool::Function { .. });
        let is_strict = |tool: &Tool<'_>| matches!(tool, Tool::Function { strict: Some(true), .. });
        if rest.0.iter().any(|(name, _)| *name == "toolConfig") || !request.tools.iter().any(functions) {
            return None;
        }
        let is_strict = request.tools.iter().any(is_strict);
        if is_strict {
            self.losses.meet(Feature::StrictTools);
        }
        let (mode, names) = match &request.tool_choice {
            None | Some(ToolChoice::Auto) if is_strict => ("VALIDATED", Vec::new()),
            None => return None,
            Some(ToolChoice::Auto) => ("AUTO", Vec::new()),
            Some(ToolChoice::Any) => ("ANY", Vec::new()),
            Some(ToolChoice::None) => ("NONE", Vec::new()),
            Some(ToolChoice::Tool { name }) => ("ANY", vec![name.lend()]),
        };
        let calling = WireCalling { mode: mode.into(), allowed_function_names: names };
        Some(WireToolConfig { function_calling_config: Some(calling) })
    }

    // Those of `generationConfig`, and the others.
    fn rest(&mut self, rest: &'a [(Text<'a>, Json<'a>)]) -> (Rest<'a>, Rest<'a>) {
        if !self.is_own {
            rest.iter().for_each(|(name, _)| self.losses.drop(Feature::Field(name.to_string())));
            return (Rest::default(), Rest::default());
        }
        let (mut generation, mut others) = (Rest::default(), Rest::default());
        for (name, json) in rest {
            match name.strip_prefix(PREFIX) {
                Some(name) => generation.0.push((name, json)),
                None => others.0.push((&**name, json)),
            }
        }
        (generation, others)
    }
}

// Thinking without text, with Gemini's seal, directly ahead of a call that has none: the seal is the call's.
fn bears(text: &Text<'_>, signature: Option<&Signature<'_>>, next: &Block<'_>) -> bool {
    let is_bare = |call: &ToolUse<'_>| seal::own(call.signature.as_ref()).is_none();
    text.is_empty() && seal::own(signature).is_some() && matches!(next, Block::ToolUse(call) if is_bare(call))
}

fn is_result(piece: &Piece<'_>) -> bool {
    matches!(piece, Piece::Part(part) if part.function_response.is_some())
}

fn piece(part: WirePart<'_>) -> Piece<'_> {
    Piece::Part(Box::new(part))
}

/// A thought, or the seal of the text ahead of it: an empty text, as streams have it.
pub(super) fn thought<'a>(text: &'a str, seal: Option<&'a str>) -> WirePart<'a> {
    let thought = (!text.is_empty()).then_some(true);
    WirePart { text: Some(text.into()), thought, thought_signature: seal.map(Text::from), ..WirePart::default() }
}

/// A call, without a seal. Arguments are an object; what is none is left out.
pub(super) fn function_call<'a>(call: &'a ToolUse<'a>) -> WirePart<'a> {
    let is_object = call.input.get().starts_with('{');
    let args = if is_object { call.input.lend() } else { Json::empty_object() };
    let wire =
        WireCall { id: Some(call.id.lend()), name: Some(call.name.lend()), args: Some(args), ..WireCall::default() };
    WirePart { function_call: Some(wire), ..WirePart::default() }
}
