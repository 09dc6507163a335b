//! System calls: each with who makes it, in which form, and what for.
//!
//! What the agent needs for itself is listed here, and what families need for programs and sockets; what
//! only one family needs it declares itself. `plan` says whose are kept, `jail` refuses all others.

mod agent;
mod beside;
pub(crate) mod call;
mod caller;
mod sources;

pub use call::Call;
pub use caller::Caller;
