//! The collector from outside: HTTPS on loopback, the command, and golden scenarios.

#![forbid(unsafe_code)]

mod alerting;
mod api;
mod binding;
mod clickhouse;
mod command;
mod concurrency;
mod crash;
mod doctor;
mod enrolment;
mod evidence;
mod fairness;
mod followed;
mod hostile;
mod import;
mod ingest;
mod joined;
mod loss;
mod matrix;
mod memory;
mod metrics;
mod openapi;
mod operation;
mod orders;
mod outputs;
mod page;
mod people;
mod permits;
mod restarts;
mod revoked;
mod rules;
mod scenarios;
mod scopes;
mod support;
mod upkeep;
