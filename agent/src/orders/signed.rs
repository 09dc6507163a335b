//! Orders before anybody looked into them.

/// Orders as they came: text and signature, both untrusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// See [`wire::orders`].
    pub body: String,
    /// 128 hex digits.
    pub signature: String,
}
