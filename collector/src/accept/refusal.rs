//! Why a request is turned away.

use axum::http::StatusCode;

/// Why a request is turned away. Each has a counter, a status and a fate for the agent's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Neither a valid token nor a client certificate.
    Unauthorized,
    /// A credential that was revoked.
    Revoked,
    /// A valid credential that is for something else.
    Forbidden,
    /// A request that a browser may have sent for a page of somebody else.
    CrossSite,
    /// A credential that speaks for another host.
    Foreign,
    /// Not the media type of a batch.
    MediaType,
    /// No idempotency key, or not one that can be read.
    Key,
    /// The idempotency key names another batch than the header inside.
    KeyMismatch,
    /// More bytes or rows than the configured limit.
    TooLarge,
    /// Bytes that are not a batch, or rows that contradict the format.
    Malformed,
    /// A format version, schema or dictionary this collector does not have.
    Unsupported,
    /// Other content under the key of a stored batch.
    Conflict,
    /// This peer has as much in flight as may be left for all others.
    Busy,
    /// Others have as much in flight as there may be.
    Full,
    /// The body did not arrive in time.
    Slow,
    /// The connection broke before the body was complete.
    Broken,
    /// The store could not take it now.
    Store,
    /// A host that is not known, and there are as many as configured.
    Hosts,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Unauthorized,
        Self::Revoked,
        Self::Forbidden,
        Self::CrossSite,
        Self::Foreign,
        Self::MediaType,
        Self::Key,
        Self::KeyMismatch,
        Self::TooLarge,
        Self::Malformed,
        Self::Unsupported,
        Self::Conflict,
        Self::Busy,
        Self::Full,
        Self::Slow,
        Self::Broken,
        Self::Store,
        Self::Hosts,
    ];

    /// The name in metrics, logs and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Revoked => "revoked",
            Self::Forbidden => "forbidden",
            Self::CrossSite => "cross_site",
            Self::Foreign => "foreign",
            Self::MediaType => "media_type",
            Self::Key => "key",
            Self::KeyMismatch => "key_mismatch",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Store => "store",
            Self::Hosts => "hosts",
        }
    }

    /// The status it is answered with.
    ///
    /// Agents before [`wire::answer`] read the status alone: 400, 413 and 415 tell them to give the
    /// batch up; everything else, to keep it. A conflict is a 400 and not a 409, and a slow body a
    /// 503 and not a 408, because of that.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::Revoked => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossSite | Self::Foreign => StatusCode::FORBIDDEN,
            Self::MediaType | Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Key | Self::KeyMismatch | Self::Malformed | Self::Conflict => {
                StatusCode::BAD_REQUEST
            }
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::Slow | Self::Broken | Self::Store | Self::Hosts => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether the batch will never be taken, however often it comes.
    ///
    /// Agents always send a key and the media type, so where these are wrong something on the way
    /// took or changed them, and the batch is as good as before.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::KeyMismatch
            | Self::TooLarge
            | Self::Malformed
            | Self::Unsupported
            | Self::Conflict => true,
            Self::Unauthorized
            | Self::Revoked
            | Self::Forbidden
            | Self::CrossSite
            | Self::Foreign
            | Self::MediaType
            | Self::Key
            | Self::Busy
            | Self::Full
            | Self::Slow
            | Self::Broken
            | Self::Store
            | Self::Hosts => false,
        }
    }

    /// Seconds after which trying again makes sense, where it does.
    #[must_use]
    pub fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Busy | Self::Full => Some(2),
            Self::Slow | Self::Broken | Self::Store => Some(10),
            Self::Hosts => Some(60),
            Self::Unauthorized
            | Self::Revoked
            | Self::Forbidden
            | Self::CrossSite
            | Self::Foreign
            | Self::MediaType
            | Self::Key
            | Self::KeyMismatch
            | Self::TooLarge
            | Self::Malformed
            | Self::Unsupported
            | Self::Conflict => None,
        }
    }
}

/// A request that is turned away, with a sentence for the other side and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind.
    pub reason: Reason,
    /// What exactly.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, detail)
    }
}
