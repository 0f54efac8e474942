//! `groundingMetadata` and `citationMetadata`: what an answer rests on, both ways.
//!
//! The API lists sources for the answer as a whole, and says of each which pieces of text rest on it; the hub has them at the text. A
//! source without such a piece belongs to the last text.

use serde::{Deserialize, Serialize};

use crate::hub::{Block, Citation, Text};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireGrounding<'a> {
    #[serde(alias = "grounding_chunks", borrow)]
    grounding_chunks: Vec<WireChunk<'a>>,
    #[serde(alias = "grounding_supports")]
    grounding_supports: Vec<WireSupport<'a>>,
    #[serde(alias = "web_search_queries", skip_serializing_if = "Vec::is_empty")]
    web_search_queries: Vec<Text<'a>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct WireChunk<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    web: Option<WireSource<'a>>,
    #[serde(alias = "retrieved_context", skip_serializing_if = "Option::is_none")]
    retrieved_context: Option<WireSource<'a>>,
    #[serde(skip_serializing)]
    maps: Option<WireSource<'a>>,
}

/// A source, of whatever kind.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct WireSource<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    uri: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct WireSupport<'a> {
    #[serde(borrow)]
    segment: WireSegment<'a>,
    #[serde(alias = "grounding_chunk_indices")]
    grounding_chunk_indices: Vec<usize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct WireSegment<'a> {
    #[serde(alias = "part_index", skip_serializing_if = "Option::is_none")]
    part_index: Option<usize>,
    #[serde(alias = "start_index", skip_serializing_if = "Option::is_none")]
    start_index: Option<usize>,
    #[serde(alias = "end_index", skip_serializing_if = "Option::is_none")]
    end_index: Option<usize>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
}

/// `citationMetadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCited<'a> {
    #[serde(alias = "citationSources", borrow)]
    citations: Vec<WireSource<'a>>,
}

impl<'a> WireSource<'a> {
    fn citation(self) -> Citation<'a> {
        Citation { url: self.uri, title: self.title, cited_text: self.text, native: None }
    }
}

impl<'a> WireGrounding<'a> {
    /// How often the provider searched the web.
    pub(super) fn web_searches(&self) -> u64 {
        self.web_search_queries.len().try_into().unwrap_or_default()
    }

    /// The sources, each with the piece of text that rests on it, where that is told.
    pub(super) fn citations(self) -> Vec<(Option<Text<'a>>, Citation<'a>)> {
        let source =
            |WireChunk { web, retrieved_context, maps }| web.or(retrieved_context).or(maps).unwrap_or_default();
        let mut sources: Vec<Option<Citation<'a>>> =
            self.grounding_chunks.into_iter().map(|chunk| Some(source(chunk).citation())).collect();
        let mut told = Vec::new();
        let mut is_used = vec![false; sources.len()];
        for WireSupport { segment, grounding_chunk_indices } in self.grounding_supports {
            for index in grounding_chunk_indices {
                let Some(Some(citation)) = sources.get(index) else { continue };
                told.push((segment.text.clone(), citation.clone()));
                is_used.get_mut(index).into_iter().for_each(|used| *used = true);
            }
        }
        let unused = sources.iter_mut().zip(is_used).filter(|(_, is_used)| !is_used);
        told.extend(unused.filter_map(|(source, _)| Some((None, source.take()?))));
        told
    }
}

impl<'a> WireCited<'a> {
    /// The sources.
    pub(super) fn citations(self) -> impl Iterator<Item = Citation<'a>> {
        self.citations.into_iter().map(WireSource::citation)
    }
}

/// Puts each citation at the text that it is of, once.
pub(super) fn attach<'a>(blocks: &mut Vec<Block<'a>>, told: Vec<(Option<Text<'a>>, Citation<'a>)>) {
    for (segment, citation) in told {
        let has = |block: &Block<'a>, segment: &Text<'a>| matches!(block, Block::Text { text, .. } if text.contains(&**segment));
        let found = segment.as_ref().and_then(|segment| blocks.iter().position(|block| has(block, segment)));
        let place = found.or_else(|| blocks.iter().rposition(|block| matches!(block, Block::Text { .. })));
        let place = place.unwrap_or_else(|| {
            blocks.push(Block::text(""));
            blocks.len().saturating_sub(1)
        });
        if let Some(Block::Text { citations, .. }) = blocks.get_mut(place)
            && !citations.contains(&citation)
        {
            citations.push(citation);
        }
    }
}

/// Gathers what an answer rests on, to be written.
#[derive(Debug, Default)]
pub(super) struct Sources {
    chunks: Vec<WireChunk<'static>>,
    supports: Vec<WireSupport<'static>>,
}

impl Sources {
    /// A citation of the text that is part number `part` and has so many bytes by now.
    pub(super) fn cite(&mut self, part: usize, text_bytes: usize, text: Option<&str>, citation: &Citation<'_>) {
        let owned = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
        let Citation { url, title, cited_text, native: _ } = citation;
        let source = Some(WireSource { uri: owned(url), title: owned(title), text: owned(cited_text) });
        // Pages have no place for what is cited of them.
        let chunk = if cited_text.is_none() {
            WireChunk { web: source, ..WireChunk::default() }
        } else {
            WireChunk { retrieved_context: source, ..WireChunk::default() }
        };
        let segment = WireSegment {
            part_index: Some(part).filter(|part| *part > 0),
            start_index: None,
            end_index: Some(text_bytes),
            text: text.map(|text| text.to_owned().into()),
        };
        self.supports.push(WireSupport { segment, grounding_chunk_indices: vec![self.chunks.len()] });
        self.chunks.push(chunk);
    }

    /// What is to be written; `None` where nothing is cited and nothing was searched. The words of searches are not known.
    pub(super) fn written(self, web_searches: u64) -> Option<WireGrounding<'static>> {
        let queries = usize::try_from(web_searches.min(64)).unwrap_or_default();
        (queries > 0 || !self.chunks.is_empty()).then(|| WireGrounding {
            grounding_chunks: self.chunks,
            grounding_supports: self.supports,
            web_search_queries: vec![Text::default(); queries],
        })
    }
}
