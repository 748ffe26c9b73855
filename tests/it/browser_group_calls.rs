//! Group calls from the page, a Chromium for each person: several chosen people or a department are called, who declines
//! ends nothing, and late ones come in.

use serde_json::Value;

use crate::browser_calls::Person;
use crate::browser_end_to_end::person::id;
use crate::fixture::Fixture;

/// Three people of the address book, two of them in a department.
const PEOPLE: &str = r#"
[[eim.users]]
user_id = "anna"
name = "Anna Schmidt"
password = "their password"

[[eim.users]]
user_id = "zhang"
name = "张伟"
password = "their password"
department = "Sales 销售部"

[[eim.users]]
user_id = "ben"
name = "Ben"
password = "their password"
department = "Sales 销售部"
"#;

async fn fixture(more: &str) -> Fixture {
    Fixture::with(&format!("{PEOPLE}{more}")).await
}

/// Where the list of those who were called says so of one of them.
async fn expect_callee_state(caller: &Person, user: &str, state: &str) {
    let row = id(&format!("called-{user}"));
    caller.browser.holds(&format!("document.querySelector('{row}')?.dataset.state === '{state}'")).await;
}

/// The call's id, where it goes on without this person and they may come into it.
async fn goes_on(person: &Person) -> String {
    person.browser.has("going-on", true).await;
    let button = "return document.querySelector('[data-testid=going-on] button').dataset.testid.replace('join-', '')";
    match person.browser.run(button).await {
        Value::String(call) => call,
        other => panic!("no id: {other}"),
    }
}

async fn all_see_and_hear_each_other(people: [&Person; 3]) {
    let [anna, zhang, ben] = people;
    tokio::join!(
        async { tokio::join!(anna.sees_and_hears(zhang), anna.sees_and_hears(ben)) },
        async { tokio::join!(zhang.sees_and_hears(anna), zhang.sees_and_hears(ben)) },
        async { tokio::join!(ben.sees_and_hears(anna), ben.sees_and_hears(zhang)) },
    );
}

#[tokio::test]
async fn several_are_called_who_declines_ends_nothing_and_late_ones_come_in() {
    let fixture = fixture("[callgw]\nthreads = 1\n").await;
    let (anna, zhang, ben) = tokio::join!(
        Person::sign_in(&fixture, "anna", ""),
        Person::sign_in(&fixture, "zhang", ""),
        Person::sign_in(&fixture, "ben", "")
    );
    anna.browser.press("choose-zhang").await;
    // Found by a search, and chosen beside the other.
    anna.browser.fill(&id("people-search"), "ben").await;
    anna.browser.has("person-zhang", false).await;
    anna.browser.press("choose-ben").await;
    anna.browser.shows(&id("chosen"), "张伟").await;
    anna.browser.look_in_both_languages("people-chosen").await;
    anna.browser.press("call-video-chosen").await;
    for callee in [&zhang, &ben] {
        expect_callee_state(&anna, callee.user, "ringing").await;
        callee.browser.shows(&id("incoming"), "Anna Schmidt").await;
    }
    anna.browser.look_in_both_languages("group-out").await;
    zhang.browser.shows(&id("incoming"), "Ben").await;
    zhang.browser.look("group-in").await;

    ben.browser.press("call-decline").await;
    expect_callee_state(&anna, "ben", "declined").await;
    anna.browser.is_on("calling").await;
    zhang.browser.press("call-accept-video").await;
    tokio::join!(anna.browser.is_on("conference"), zhang.browser.is_on("conference"));
    tokio::join!(anna.sees_and_hears(&zhang), zhang.sees_and_hears(&anna));
    expect_callee_state(&anna, "ben", "declined").await;
    anna.browser.look_in_both_languages("group-on").await;

    // Late, out of the call and into it again.
    let call = goes_on(&ben).await;
    ben.browser.look_in_both_languages("group-goes-on").await;
    ben.browser.press(&format!("join-video-{call}")).await;
    ben.browser.is_on("conference").await;
    all_see_and_hear_each_other([&anna, &zhang, &ben]).await;
    anna.browser.has("called-ben", false).await;
    anna.browser.look("group-of-three").await;
    ben.browser.press("leave").await;
    ben.browser.is_on("left").await;
    ben.browser.look("group-left").await;
    ben.browser.press("call-come-back").await;
    all_see_and_hear_each_other([&anna, &zhang, &ben]).await;

    // The last but one ends it for everybody, also for who might have come back.
    zhang.browser.press("leave").await;
    zhang.browser.press("go-home").await;
    goes_on(&zhang).await;
    ben.browser.press("leave").await;
    anna.browser.is_on("ended").await;
    zhang.browser.has("going-on", false).await;
    for person in [&anna, &zhang, &ben] {
        person.browser.assert_quiet_console().await;
    }
}

#[tokio::test]
async fn a_department_is_called_and_the_caller_sees_what_became_of_each() {
    let fixture = fixture("[limits]\nring_ms = 8000\n").await;
    let (anna, zhang) = tokio::join!(Person::sign_in(&fixture, "anna", ""), Person::sign_in(&fixture, "zhang", ""));
    anna.browser.look_in_both_languages("people-groups").await;
    anna.browser.click(".department-open").await;
    anna.browser.has("person-ben", true).await;
    anna.browser.has("people-back", true).await;
    anna.browser.look("people-department").await;
    anna.browser.press("people-back").await;
    anna.browser.click(".department .person-actions button").await;
    anna.browser.shows(&id("call-name"), "Sales 销售部").await;
    expect_callee_state(&anna, "ben", "ringing").await;
    zhang.browser.shows(&id("incoming"), "Sales 销售部").await;
    zhang.browser.press("call-decline").await;
    expect_callee_state(&anna, "zhang", "declined").await;
    // Ben isn't there at all.
    anna.browser.is_on("callOver").await;
    expect_callee_state(&anna, "ben", "missed").await;
    anna.browser.look_in_both_languages("group-unanswered").await;
    zhang.browser.has("going-on", false).await;

    // Again, and one comes after the ringing is over.
    anna.browser.press("call-again").await;
    zhang.browser.press("call-accept").await;
    tokio::join!(anna.browser.is_on("conference"), zhang.browser.is_on("conference"));
    tokio::join!(anna.browser.hears_sound("zhang"), zhang.browser.hears_sound("anna"));
    expect_callee_state(&anna, "ben", "missed").await;
    for person in [&anna, &zhang] {
        person.browser.shows(&id("conf-name"), "Sales 销售部").await;
        person.browser.assert_quiet_console().await;
    }
}
