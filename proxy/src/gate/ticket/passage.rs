//! How an answer is passed on: who speaks, to whom, and in what the two carry it.

use tollgate_dialect::{DecodeError, Dialect, Metered, hub::Forms, meter_answer, openai::embeddings};

use crate::upstream::speech::{self, Envelope, Question};

/// How an answer is passed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage {
    /// What the client speaks.
    pub(crate) client: Dialect,
    /// In what the client carries its dialect.
    pub(crate) client_envelope: Option<Envelope>,
    /// What the provider speaks.
    pub(crate) provider: Dialect,
    /// In what the provider carries its dialect.
    pub(crate) envelope: Option<Envelope>,
    /// What the provider was asked for.
    pub(crate) question: Question,
    /// The bytes do not pass as they are: each answer is read and written anew.
    pub(crate) is_translated: bool,
    /// A stream is the elements of one JSON list, and no events: Gemini's, where the client does not ask for events.
    pub(crate) is_list: bool,
    /// Which tools of the client are no functions in its dialect.
    pub(crate) forms: Forms,
    /// The client of a stream does not want to be told its usage.
    pub(crate) is_usage_hidden: bool,
}

impl Passage {
    /// Whether the bytes of an answer pass as they came.
    pub(crate) fn is_plain(&self) -> bool {
        !self.is_translated && self.is_framed() == self.is_client_framed()
    }

    /// Whether the provider's events of Messages lie in frames.
    pub(crate) fn is_framed(&self) -> bool {
        self.envelope == Some(Envelope::Bedrock)
    }

    /// Whether the client's events of Messages lie in frames.
    pub(crate) fn is_client_framed(&self) -> bool {
        self.client_envelope == Some(Envelope::Bedrock)
    }

    /// The type of a stream of the provider's.
    pub(crate) const fn stream_type(&self) -> &'static str {
        speech::stream_type(self.provider, self.envelope)
    }

    /// The type of a stream for the client.
    pub(crate) const fn client_stream_type(&self) -> &'static str {
        match self.is_list {
            true => "application/json",
            false => speech::stream_type(self.client, self.client_envelope),
        }
    }

    /// In which dialect the client is told what is wrong.
    pub(crate) fn client_errors(&self) -> Dialect {
        if self.is_client_framed() { Dialect::BedrockConverse } else { self.client }
    }

    /// In which dialect the provider tells what is wrong.
    pub(crate) fn errors(&self) -> Dialect {
        if self.is_framed() { Dialect::BedrockConverse } else { self.provider }
    }

    /// Reads the counters of a whole answer.
    ///
    /// # Errors
    /// When it is none to the question.
    pub(crate) fn meter(&self, body: &[u8]) -> Result<Metered, DecodeError> {
        match self.question {
            Question::Embeddings => embeddings::meter_answer(body).map_err(DecodeError::from),
            Question::Answer | Question::Count => meter_answer(self.provider, body),
        }
    }
}
