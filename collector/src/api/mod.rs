//! API v1: what can be asked, what is answered, and the OpenAPI document of both.
//!
//! An operation is data (`operation`): its address, its parameters and the form of its answer, from
//! which requests are checked (`given`) and the document is written (`document`). What it answers is
//! a function of the store, the parameters and the time; the server and the commands call the same.

mod alert_shown;
mod alerts;
mod alerts_answer;
mod audit;
mod beside;
mod chain;
mod columns;
mod declared;
mod diagnosis;
mod distribution;
mod document;
mod edge;
mod enrolment;
mod events;
mod failure;
mod filter;
mod fleet;
mod given;
mod group;
mod key;
mod map;
mod marks;
mod matrix;
mod mutes;
mod node;
mod operation;
mod others;
mod page;
mod parameter;
mod people;
mod search;
mod series;
mod settings;
mod tables;
mod tokens;
mod topology;
mod tuple;
mod users;

pub use alert_shown::{
    AlertShown, CandidateShown, GroupShown, Language, RuleShown, TransitionShown,
};
pub use alerts::{
    ACKNOWLEDGE, ALERT, ALERTS, Acknowledge, AlertDetail, Alerts, RULES, Removed, Rules,
    UNACKNOWLEDGE,
};
pub use alerts_answer::{Unanswered, alert as alert_detail, alerts as alert_list};
pub use audit::AUDIT;
pub use beside::Beside;
pub use chain::CHAIN;
pub use declared::{
    DECLARE, Declared, FlowShown, MATRIX, MATRIX_FILE, MATRIX_REPORT, Matrix, VersionShown,
};
pub use diagnosis::DIAGNOSIS;
pub use document::{AGENTS, Listed, SESSION_COOKIE, document};
pub use edge::EDGE;
pub use enrolment::{
    ENROLL, ENROLMENTS, Enrolments, INVITE, Invite, Invited, InvitedShown, RENEW, WITHDRAW,
};
pub use events::EVENTS;
pub use failure::{Failure, Problem};
pub use fleet::FLEET;
pub use given::{Given, parts};
pub use matrix::{Learned, MATRIX_CHECK, MATRIX_LEARNED};
pub use mutes::{
    ADD_MAINTENANCE, ADD_SILENCE, CHANGE_MAINTENANCE, CHANGE_SILENCE, END_SILENCE, MAINTENANCE,
    REMOVE_MAINTENANCE, SILENCES, Silences, Windows,
};
pub use node::NODE;
pub use operation::{Answers, Asking, Operation};
pub use others::{BATCHES, Check, DOCUMENT, HEALTH, HOSTS, METRICS, READY, Readiness};
pub use people::{
    By, ChangePassword, END_SESSION, Ended, LOGIN, LOGOUT, Login, PASSWORD, SESSIONS, SessionShown,
    Sessions, WHOAMI, Whoami,
};
pub use search::SEARCH;
pub use series::SERIES;
pub use settings::{Bounds, Keeping, SETTINGS, Settings};
pub use tables::{ROWS, TABLES};
pub use tokens::{ADD_TOKEN, AddToken, REVOKE_TOKEN, TOKENS, TokenMade, TokenShown, Tokens};
pub use topology::TOPOLOGY;
pub use tuple::Tuple;
pub use users::{
    ADD_USER, AddUser, CHANGE_USER, ChangeUser, REMOVE_USER, USERS, UserChanged, UserShown, Users,
};
