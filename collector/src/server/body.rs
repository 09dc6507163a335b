//! Request bodies: read up to a limit, or read and thrown away.

use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody};

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than the limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// Reads the whole body, at most `limit` bytes.
pub(super) async fn read(body: &mut Body, limit: usize) -> Result<Vec<u8>, Unread> {
    // Grown as it arrives: a length that is only announced costs nothing.
    let mut bytes = Vec::new();
    while let Some(chunk) = next(body).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(Unread::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Throws away up to `limit` bytes of the body.
///
/// A connection that is closed with unread data is reset, and then the other side may never see
/// the answer that was sent: an agent would send a refused batch again and again.
pub(super) async fn discard(body: &mut Body, limit: usize) {
    let mut left = limit;
    while let Ok(Some(chunk)) = next(body).await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The next data; `None` at the end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Unread::Broken),
            // Trailers carry nothing for us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
