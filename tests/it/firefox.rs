//! The main story in Firefox, as README's seven lines tell it: as the chair and as a guest.

use crate::browser_end_to_end::person::id;
use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::webrtc_browsers::Person;

/// Both see what the other's camera sends and hear what their microphone does.
async fn see_and_hear_each_other(people: [&Person; 2]) {
    let [one, other] = people;
    for (who, whom) in [(one, other), (other, one)] {
        who.browser.sees_moving(&whom.user).await;
        who.browser.hears_sound(&whom.user).await;
    }
}

async fn quiet(people: [&Person; 2]) {
    for person in people {
        person.browser.assert_quiet_console().await;
    }
}

#[tokio::test]
async fn browser_readmes_seven_lines_lead_to_a_call_in_firefox() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    let (anna, zhang) = tokio::join!(Browser::firefox(), Browser::firefox());
    let (anna, zhang) =
        tokio::join!(Person::enter(anna, &printed.chair, "Anna Schmidt"), Person::enter(zhang, &printed.guest, "张伟"));
    see_and_hear_each_other([&anna, &zhang]).await;
    for (person, name) in [(&anna, "chair"), (&zhang, "guest")] {
        person.browser.look_in_both_languages(&format!("firefox-{name}")).await;
    }
    zhang.browser.says("你好").await;
    anna.browser.hears("你好").await;
    zhang.browser.press("hand").await;
    anna.browser.sees(&zhang.user, "hand", "true").await;
    anna.browser.does_to(&zhang.user, "mute").await;
    anna.browser.sees(&zhang.user, "audio", "forcedOff").await;
    anna.browser.hears_nothing(&zhang.user, &zhang.user).await;
    anna.browser.does_to(&zhang.user, "unmute").await;
    zhang.browser.press("ask-accept").await;
    anna.browser.hears_sound(&zhang.user).await;

    zhang.browser.page.refresh().await.expect("a page reloads");
    zhang.browser.is_on("conference").await;
    see_and_hear_each_other([&anna, &zhang]).await;
    anna.browser.does_to(&zhang.user, "kick").await;
    anna.browser.press("confirm-ok").await;
    zhang.browser.is_on("kicked").await;
    anna.browser.manages("end").await;
    anna.browser.press("confirm-ok").await;
    anna.browser.is_on("ended").await;
    anna.browser.holds(&format!("!document.querySelector('{}')?.checkVisibility()", id("banner"))).await;
    quiet([&anna, &zhang]).await;
}
