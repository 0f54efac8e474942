//! The most that a request can come to, found from the hub: for clients whose dialect has no weigher of its own.
//!
//! As in [`crate::weight`], text counts as its bytes. What a provider adds or makes larger is bounded by the dearest that is
//! documented of any of them.

use super::request::{Block, Hosted, Media, MediaKind, Request, Source, Tool};
use crate::weight::Weight;

/// The most tokens of an image with any provider: the dearest of OpenAI's small models, in tiles at high detail, with a margin.
/// <https://platform.openai.com/docs/guides/images-vision>
pub const IMAGE_TOKENS: u64 = 50_000;
/// The most tokens of what a provider adds to a request: marks of roles, and prompts for tools.
pub const PROMPT_TOKENS: u64 = 4_096;
/// How often a provider is taken to run the model for one request with tools that it runs itself.
pub const LOOP_SAMPLES: u64 = 11;
/// How often it is taken to search the web where the request does not say.
pub const SEARCHES: u64 = 10;

/// Finds what bounds the cost of a request whose body has so many bytes, and which wants so many answers.
#[must_use]
pub fn weigh(request: &Request<'_>, body_bytes: usize, answers: u64) -> Weight {
    let mut seen = Seen::default();
    request.system.iter().for_each(|block| seen.block(block));
    request.turns.iter().flat_map(|turn| &turn.blocks).for_each(|block| seen.block(block));
    request.tools.iter().for_each(|tool| seen.tool(tool));
    Weight {
        text_bytes: (body_bytes as u64).saturating_sub(seen.data_bytes),
        hidden_tokens: seen.images.saturating_mul(IMAGE_TOKENS).saturating_add(PROMPT_TOKENS),
        images: seen.images,
        is_unresolvable: seen.is_unresolvable || seen.loops,
        samples: if seen.loops { LOOP_SAMPLES } else { 1 }.saturating_mul(answers.max(1)),
        web_searches: if seen.searches { SEARCHES } else { 0 },
        // Providers that cache unasked do not bill it; with the others the marks say it, the client's or those that are set for it.
        cache_write_5m: seen.caches || request.is_cached_unasked(),
        cache_write_1h: seen.caches,
        output_tokens: request.output_tokens_max,
        is_fast: false,
        is_regional: false,
        // A model may think unasked, where nobody sees it.
        is_output_hidden: true,
        is_open_to_other_models: false,
        is_open_to_any_uses: seen.searches,
    }
}

/// What was found so far. All of it only grows.
#[derive(Debug, Default)]
struct Seen {
    data_bytes: u64,
    images: u64,
    is_unresolvable: bool,
    loops: bool,
    searches: bool,
    caches: bool,
}

impl Seen {
    fn block(&mut self, block: &Block<'_>) {
        self.caches |= block.cache().is_some();
        match block {
            Block::Media(media) => self.media(media),
            Block::ToolResult(result) => result.blocks.iter().for_each(|block| self.block(block)),
            // What only its own dialect has may be anything, such as the result of a search.
            Block::Other { .. } => self.is_unresolvable = true,
            Block::Text { .. } | Block::ToolUse(_) | Block::Thinking { .. } | Block::RedactedThinking { .. } => {}
        }
    }

    fn media(&mut self, media: &Media<'_>) {
        match (media.kind, &media.source) {
            (MediaKind::Image, source) => {
                self.images = self.images.saturating_add(1);
                if let Source::Base64 { data, .. } = source {
                    self.data_bytes = self.data_bytes.saturating_add(data.len() as u64);
                }
            }
            (MediaKind::Document, Source::Text { .. }) => {}
            (MediaKind::Document, Source::Blocks { blocks }) => blocks.iter().for_each(|block| self.block(block)),
            // The pages of a PDF, and seconds of sound and film, show in no count of bytes.
            _ => self.is_unresolvable = true,
        }
    }

    fn tool(&mut self, tool: &Tool<'_>) {
        match tool {
            Tool::Function { cache, .. } => self.caches |= cache.is_some(),
            Tool::Hosted { hosted, .. } => {
                self.loops = true;
                self.searches |= *hosted == Hosted::WebSearch;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Cache, Json, Role, Turn};

    fn asked(blocks: Vec<Block<'static>>, tools: Vec<Tool<'static>>) -> Weight {
        let turns = vec![Turn { role: Role::User, blocks }];
        weigh(&Request { turns, tools, output_tokens_max: Some(9), ..Request::default() }, 1_000, 1)
    }

    fn media(kind: MediaKind, source: Source<'static>) -> Block<'static> {
        Block::Media(Box::new(Media::new(kind, source)))
    }

    #[test]
    fn what_the_bytes_do_not_show_is_counted_or_said() {
        let data =
            |media_type: &'static str| Source::Base64 { media_type: media_type.into(), data: "x".repeat(400).into() };
        let plain = asked(vec![Block::text("hello")], vec![]);
        assert_eq!((plain.text_bytes, plain.hidden_tokens, plain.output_tokens), (1_000, PROMPT_TOKENS, Some(9)));
        assert_eq!((plain.is_unresolvable, plain.samples, plain.cache_write_5m), (false, 1, false));
        let image = asked(vec![media(MediaKind::Image, data("image/png"))], vec![]);
        assert_eq!((image.text_bytes, image.images), (600, 1));
        assert_eq!(image.hidden_tokens, PROMPT_TOKENS + IMAGE_TOKENS);
        for block in [
            media(MediaKind::Document, data("application/pdf")),
            media(MediaKind::Audio, data("audio/wav")),
            Block::Other { kind: "search_result".into(), json: Json::empty_object() },
        ] {
            assert!(asked(vec![block], vec![]).is_unresolvable);
        }
        let search = Tool::Hosted { hosted: Hosted::WebSearch, kind: "web_search".into(), json: Json::empty_object() };
        let searched = asked(vec![], vec![search]);
        assert_eq!((searched.samples, searched.web_searches, searched.is_unresolvable), (LOOP_SAMPLES, SEARCHES, true));
        let marked = Block::Text { text: "x".into(), citations: vec![], cache: Some(Cache::Default) };
        assert!(asked(vec![marked], vec![]).cache_write_5m);
        assert_eq!(weigh(&Request::default(), 0, 3).samples, 3);
    }
}
