//! Reads a Converse request into the hub.

use super::{
    additional::{self, PREFIX},
    block::blocks,
    tools,
    wire::{WireFormat, WireInference, WireOutput, WireSchema},
};
use crate::{
    dialects::{
        Called, Dialect,
        read::{Members, each, field, is_null, object, unnested},
    },
    error::{DecodeError, Malformed},
    hub::{Effort, Format, Json, Request, Role, Text, Turn},
};
use serde::Deserialize;
use serde_json::value::RawValue;

type Read<T> = Result<T, DecodeError>;

/// Reads a request. The path names the model and says whether the answer shall be a stream.
///
/// # Errors
/// As [`Dialect::decode_request`].
pub fn decode_request<'a>(called: &Called<'a>, body: &'a [u8]) -> Read<Request<'a>> {
    let Members(members) = object(body)?;
    let mut request = Request {
        dialect: Dialect::BedrockConverse,
        model: Text(called.model.clone().ok_or(Malformed::Missing("modelId"))?),
        stream: called.stream.unwrap_or_default(),
        ..Request::default()
    };
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*name {
            "messages" => request.turns = each("messages", raw, turn)?,
            "system" => request.system = blocks("system", raw)?,
            "inferenceConfig" => inference(field("inferenceConfig", raw)?, &mut request),
            "toolConfig" => tools::read(raw, &mut request).map_err(|error| error.within("toolConfig", None))?,
            "outputConfig" => output(field("outputConfig", raw)?, &mut request)?,
            "additionalModelRequestFields" => additional::read(raw, &mut request)?,
            _ => {
                unnested(&name, &[PREFIX])?;
                request.rest.push((name, field("", raw)?));
            }
        }
    }
    Ok(request)
}

fn turn<'a>(raw: &'a RawValue) -> Read<Turn<'a>> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        role: Text<'a>,
        content: &'a RawValue,
    }
    let Wire { role, content } = field("", raw)?;
    let role = match &*role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(DecodeError::invalid("role", "`user`, `assistant` or `system`")),
    };
    Ok(Turn { role, blocks: blocks("content", content)? })
}

fn inference<'a>(wire: WireInference<'a>, request: &mut Request<'a>) {
    let WireInference { max_tokens, temperature, top_p, stop_sequences } = wire;
    request.output_tokens_max = max_tokens;
    request.sampling.temperature = temperature;
    request.sampling.top_p = top_p;
    request.stop_sequences = stop_sequences;
}

fn output<'a>(wire: WireOutput<'a>, request: &mut Request<'a>) -> Read<()> {
    let WireOutput { text_format, effort: word } = wire;
    if let Some(effort) = word.as_deref().and_then(Effort::from_word) {
        request.thinking.effort = Some(effort);
    }
    if let Some(WireFormat { structure, .. }) = text_format {
        let at = "outputConfig.textFormat.structure.jsonSchema";
        let WireSchema { schema, name, description } =
            structure.json_schema.ok_or_else(|| DecodeError::invalid(at, "there"))?;
        let schema = Json::parse(&schema).map(Json::into_owned);
        let schema = schema.map_err(|_| DecodeError::invalid(format!("{at}.schema"), "a text of JSON"))?;
        request.format = Format::Schema { name, description, schema, strict: None };
    }
    Ok(())
}
