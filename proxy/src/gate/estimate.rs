//! How many tokens a request has, where no provider within reach counts: an estimate, and said to be one.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tollgate_dialect::{Weight, count};

use super::{
    authorize::Granted,
    ticket::{End, Verdict},
    translate::APPROXIMATED,
};
use crate::refuse;

// Text has about four bytes a token, and most images have so many tokens.
const BYTES_PER_TOKEN: u64 = 4;
const IMAGE_TOKENS: u64 = 1_600;

/// Whether some provider that the request may go to counts tokens.
pub(super) fn is_counted(granted: &Granted) -> bool {
    granted.ticket.operation.is_asked_of(&granted.grant)
}

/// Answers with an estimate.
pub(super) fn estimate(granted: Granted) -> Verdict<Response<Bytes>> {
    let Granted { mut ticket, weight, .. } = granted;
    let body = count::encode_answer(ticket.operation.body(), tokens(&weight));
    let mut answer = refuse::json(StatusCode::OK, body, &ticket.request_id);
    answer.headers_mut().insert(APPROXIMATED, HeaderValue::from_static("input_tokens=approximated"));
    ticket.status = answer.status().as_u16();
    ticket.close(End::Completed);
    Ok(answer)
}

const fn tokens(weight: &Weight) -> u64 {
    weight.text_bytes.div_ceil(BYTES_PER_TOKEN).saturating_add(weight.images.saturating_mul(IMAGE_TOKENS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_images_are_counted() {
        for (text_bytes, images, expect) in [(0, 0, 0), (1, 0, 1), (4_000, 2, 4_200)] {
            assert_eq!(tokens(&Weight { text_bytes, images, ..Weight::default() }), expect);
        }
    }
}
