//! The most that a request can come to, in what providers bill: found before it is sent, from its body alone.

/// What bounds the cost of a request. Every number is an upper bound; what a body does not show is said to be so.
///
/// The text is counted in bytes: a tokenizer with byte fallback never makes more tokens than bytes, and the escapes and brackets
/// of JSON only add to them. They also outweigh the few marks that a provider sets around each message and block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Weight {
    /// The bytes of the body that may be text to the model: all but the base64 of images.
    pub text_bytes: u64,
    /// Tokens of input that the bytes do not show: images, the provider's own prompts, definitions that a reference repeats.
    pub hidden_tokens: u64,
    /// How many of them are images: they are counted above as the client's dialect has them, and other providers count more.
    pub images: u64,
    /// The input holds what only the provider can size, such as a PDF or what a search finds: up to the whole context window.
    pub is_unresolvable: bool,
    /// How often the provider may run the model within the request, each time with the whole input and a whole output.
    pub samples: u64,
    /// How many searches may be billed.
    pub web_searches: u64,
    /// Input may be written to a five-minute cache.
    pub cache_write_5m: bool,
    /// Input may be written to a one-hour cache.
    pub cache_write_1h: bool,
    /// The most tokens of output of one run of the model; none where only the model's own maximum holds.
    pub output_tokens: Option<u64>,
    /// The request asks for a faster service at a higher price.
    pub is_fast: bool,
    /// The request asks to be served in one region, at a higher price.
    pub is_regional: bool,
    /// The model may write what no client sees, such as thinking: bytes that pass do not bound the output.
    pub is_output_hidden: bool,
    /// The request lets the provider bill other models than the one that it names: no price of that model bounds it.
    pub is_open_to_other_models: bool,
    /// The request does not limit how often a tool with a fee is used: `web_searches` is then what is usual, not a bound.
    pub is_open_to_any_uses: bool,
}

impl Default for Weight {
    /// An empty text, answered once.
    fn default() -> Self {
        Self {
            text_bytes: 0,
            hidden_tokens: 0,
            images: 0,
            is_unresolvable: false,
            samples: 1,
            web_searches: 0,
            cache_write_5m: false,
            cache_write_1h: false,
            output_tokens: None,
            is_fast: false,
            is_regional: false,
            is_output_hidden: false,
            is_open_to_other_models: false,
            is_open_to_any_uses: false,
        }
    }
}
