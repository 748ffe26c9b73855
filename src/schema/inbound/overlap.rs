//! Files that take the same message, and such that take none or every one. Decided by what the files demand, without a
//! message: two are apart where a demand of one excludes a demand of the other.

use super::x_event::{Condition, Demand, Errors, EventBody, EventRules, KindRule, XEvent};
use crate::schema::value::{KeyPart, Pointer, ValueSource, Where};

/// What must hold of a message, or of an entry, for one alternative of a file.
struct Case<'e, P> {
    demands: Vec<(At<'e, P>, Demand)>,
    /// It takes what no other one takes.
    is_last: bool,
}

/// Where a demand is on.
#[derive(PartialEq)]
enum At<'e, P> {
    Body(&'e P),
    Entry(&'e P),
    Key(KeyPart),
}

/// Whether nothing fits both.
fn excludes(one: &Demand, other: &Demand) -> bool {
    match (one, other) {
        (Demand::Absent, Demand::Absent) => false,
        (Demand::Absent, _) | (_, Demand::Absent) => true,
        (Demand::OneOf(one), Demand::OneOf(other)) => !one.iter().any(|value| other.contains(value)),
        _ => false,
    }
}

impl<P: PartialEq> Case<'_, P> {
    fn is_apart(&self, other: &Self) -> bool {
        let excluded = |(at, demand): &(At<'_, P>, Demand)| {
            other.demands.iter().any(|(theirs, other)| at == theirs && excludes(demand, other))
        };
        self.is_last != other.is_last || self.demands.iter().any(excluded)
    }

    /// Whether it demands what can't be.
    fn contradicts_itself(&self) -> bool {
        let mut pairs = self.demands.iter().enumerate();
        pairs.any(|(i, (at, demand))| {
            self.demands[i + 1..].iter().any(|(theirs, other)| at == theirs && excludes(demand, other))
        })
    }
}

fn of_conditions<'e, P>(
    conditions: &'e [Condition<P>],
    at: fn(&'e P) -> At<'e, P>,
) -> impl Iterator<Item = (At<'e, P>, Demand)> {
    conditions.iter().map(move |condition| (at(&condition.place), condition.demand.clone()))
}

/// What each alternative demands of an entry; without `each` that is the body.
fn of_entry<P>(rules: &EventRules<P>) -> Vec<Case<'_, P>> {
    let at = if rules.each.is_some() { At::Entry } else { At::Body };
    let mut cases = Vec::new();
    for event in &rules.events {
        let mut demands: Vec<_> = of_conditions(&event.matches, at).collect();
        let (rule, demand) = match &event.kind {
            KindRule::Const(_) => (None, Demand::Present),
            KindRule::Own(rule) => (Some(rule), Demand::Present),
            KindRule::Words(rule, words) => {
                (Some(rule), Demand::OneOf(words.known.iter().map(|(word, _)| word.clone()).collect()))
            }
        };
        match rule.map(|rule| &rule.source) {
            Some(ValueSource::Path { place, root: true }) => demands.push((At::Body(place), demand)),
            Some(ValueSource::Path { place, root: false }) => demands.push((at(place), demand)),
            Some(ValueSource::Key(part)) => demands.push((At::Key(*part), demand)),
            Some(ValueSource::Const(_)) | None => {}
        }
        cases.push(Case { demands, is_last: matches!(event.kind, KindRule::Own(_)) });
    }
    cases
}

/// What each alternative demands of a message. Of entries, a message may hold any.
fn of_message<P>(rules: &EventRules<P>) -> Vec<Case<'_, P>> {
    let body = || of_conditions(&rules.matches, At::Body);
    if rules.each.is_some() {
        return vec![Case { demands: body().collect(), is_last: false }];
    }
    let mut cases = of_entry(rules);
    cases.iter_mut().for_each(|case| case.demands.extend(body()));
    cases
}

/// A file alone: alternatives that overlap, that nothing fits, or that everything fits.
pub(super) fn check_alone(event: &XEvent, errors: &mut Errors<'_>) {
    let is_bound_to_all = event.amqp && event.element.is_none() && event.keys.iter().any(|key| !key.is_particular());
    match &event.body {
        EventBody::Vocabulary if is_bound_to_all => errors.push("keys", EVERYTHING),
        EventBody::Vocabulary => {}
        EventBody::Xml(rules) => check_rules(rules, false, errors),
        EventBody::Json(rules) => check_rules(rules, is_bound_to_all, errors),
    }
}

const EVERYTHING: &str = "takes every message: a word of the key, or a `match`, must be particular";

fn check_rules<P: PartialEq>(rules: &EventRules<P>, is_bound_to_all: bool, errors: &mut Errors<'_>) {
    let of_entry = of_entry(rules);
    for (i, case) in of_entry.iter().enumerate() {
        let place = format!("events[{i}]");
        if let Some(before) = of_entry[..i].iter().position(|before| !before.is_apart(case)) {
            errors.push(
                &place,
                format!("overlaps events[{before}]: a `match` or `type` on the same place must tell them apart"),
            );
        }
        let whole = Case { demands: of_conditions(&rules.matches, At::Body).collect(), is_last: false };
        let excluded = case
            .demands
            .iter()
            .any(|(at, demand)| whole.demands.iter().any(|(theirs, other)| at == theirs && excludes(demand, other)));
        if case.contradicts_itself() || excluded {
            errors.push(&place, "takes nothing: its demands on one place exclude each other");
        }
    }
    if is_bound_to_all && of_message(rules).iter().any(|case| case.demands.is_empty()) {
        errors.push("keys", EVERYTHING);
    }
}

/// How both can come to take the same message, in words.
pub(super) fn overlap(one: &XEvent, other: &XEvent) -> Option<String> {
    let (xmpp, amqp) = (over_xmpp(one, other), over_amqp(one, other));
    let way = xmpp.or(amqp)?;
    let is_apart = match (&one.body, &other.body) {
        (EventBody::Xml(one), EventBody::Xml(other)) => are_apart::<Where>(one, other),
        (EventBody::Json(one), EventBody::Json(other)) => are_apart::<Pointer>(one, other),
        _ => false,
    };
    (!is_apart).then_some(way)
}

fn are_apart<P: PartialEq>(one: &EventRules<P>, other: &EventRules<P>) -> bool {
    let others = of_message(other);
    of_message(one).iter().all(|case| others.iter().all(|other| case.is_apart(other)))
}

fn over_xmpp(one: &XEvent, other: &XEvent) -> Option<String> {
    let shares_sender =
        one.from.is_empty() || other.from.is_empty() || one.from.iter().any(|at| other.from.contains(at));
    let element =
        one.element.as_ref().filter(|_| one.xmpp && other.xmpp && shares_sender && one.element == other.element);
    element.map(|element| format!("<{} xmlns='{}'> over xmpp", element.name, element.ns))
}

fn over_amqp(one: &XEvent, other: &XEvent) -> Option<String> {
    let is_xml = |event: &XEvent| matches!(event.body, EventBody::Xml(_));
    let same_form = is_xml(one) == is_xml(other) && (!is_xml(one) || one.element == other.element);
    let mut pairs = one.keys.iter().flat_map(|key| other.keys.iter().map(move |theirs| (key, theirs)));
    let (key, theirs) = pairs.find(|(key, theirs)| same_form && key.overlaps(theirs))?;
    Some(format!("the key {} over amqp, which {} takes too", key.as_str(), theirs.as_str()))
}
