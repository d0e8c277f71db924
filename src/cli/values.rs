//! Readers of option values that several commands share.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::spec::extension::Rebalance;
use crate::spec::extension::Strategy;
use crate::spec::policy::RestartCondition;
use crate::spec::schedule::Concurrency;
use crate::spec::service::EndpointMode;
use crate::spec::{Availability, FailureAction, Role, UpdateOrder};

/// A closed list of words and what each means.
fn words<T: Clone + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(word, _)| *word)).try_map(move |got| {
        table
            .iter()
            .find(|(word, _)| *word == got)
            .map(|(_, value)| value.clone())
            .ok_or("not one of the words above")
    })
}

pub(crate) fn availability() -> impl TypedValueParser<Value = Availability> {
    words(&[
        ("active", Availability::Active),
        ("pause", Availability::Pause),
        ("drain", Availability::Drain),
    ])
}

pub(crate) fn role() -> impl TypedValueParser<Value = Role> {
    words(&[("worker", Role::Worker), ("manager", Role::Manager)])
}

pub(crate) fn rebalance() -> impl TypedValueParser<Value = Rebalance> {
    words(&[("auto", Rebalance::Auto), ("off", Rebalance::Off)])
}

pub(crate) fn update_order() -> impl TypedValueParser<Value = UpdateOrder> {
    words(&[
        ("stop-first", UpdateOrder::StopFirst),
        ("start-first", UpdateOrder::StartFirst),
    ])
}

pub(crate) fn strategy() -> impl TypedValueParser<Value = Strategy> {
    words(&[("spread", Strategy::Spread), ("binpack", Strategy::Binpack)])
}

pub(crate) fn update_failure_action() -> impl TypedValueParser<Value = FailureAction> {
    words(&[
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ])
}

pub(crate) fn rollback_failure_action() -> impl TypedValueParser<Value = FailureAction> {
    words(&[
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
    ])
}

pub(crate) fn restart_condition() -> impl TypedValueParser<Value = RestartCondition> {
    words(&[
        ("none", RestartCondition::None),
        ("on-failure", RestartCondition::OnFailure),
        ("any", RestartCondition::Any),
    ])
}

pub(crate) fn endpoint_mode() -> impl TypedValueParser<Value = EndpointMode> {
    words(&[("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)])
}

pub(crate) fn concurrency() -> impl TypedValueParser<Value = Concurrency> {
    words(&[
        ("allow", Concurrency::Allow),
        ("forbid", Concurrency::Forbid),
        ("replace", Concurrency::Replace),
    ])
}
