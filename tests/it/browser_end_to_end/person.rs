//! A person on the page: sees and does what the page offers, in any language.

use serde_json::json;

use crate::support::browser::{Browser, DESKTOP, PHONE};

/// The element with that test id.
pub fn id(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

impl Browser {
    pub async fn press(&self, name: &str) {
        self.click(&id(name)).await;
    }

    pub async fn is_on(&self, screen: &str) {
        self.holds(&format!("document.body.dataset.screen === '{screen}'")).await;
    }

    pub async fn type_name(&self, name: &str) {
        self.is_on("door").await;
        self.fill(&id("name-input"), name).await;
        self.press("enter").await;
    }

    /// Opens the link and goes in under that name, ready to speak.
    pub async fn enter(&self, link: &str, name: &str) {
        self.goto(link).await;
        self.switches("microphone", true).await;
        self.type_name(name).await;
        self.is_on("conference").await;
    }

    /// At the door: has the device open from the start, or not.
    pub async fn switches(&self, device: &str, on: bool) {
        self.is_on("door").await;
        if self.is_switched_on(device).await != on {
            self.click(&format!("label:has({})", id(&format!("door-{device}")))).await;
        }
        assert_eq!(self.is_switched_on(device).await, on);
    }

    /// At the door: whether the device is to be open.
    pub async fn is_switched_on(&self, device: &str) -> bool {
        self.is_on("door").await;
        let checked = format!("return document.querySelector('{}').checked", id(&format!("door-{device}")));
        self.run(&checked).await.as_bool().expect("a switch is on or off")
    }

    /// The id of whoever has that name in the list, there or waiting.
    pub async fn user_named(&self, name: &str) -> String {
        self.shows(".people", name).await;
        let find = format!(
            "return [...document.querySelectorAll('.people .row')].find(row => row.innerText.includes({}))
                .dataset.testid.replace(/^(member|waiting)-/, '')",
            json!(name)
        );
        self.run(&find).await.as_str().expect("rows have test ids").to_owned()
    }

    /// Waits until the list says so of the member.
    pub async fn sees(&self, user: &str, what: &str, value: &str) {
        self.holds(&format!(
            "document.querySelector('{}')?.dataset.{what} === '{value}'",
            id(&format!("member-{user}"))
        ))
        .await;
    }

    /// As the chair: an entry of the member's menu.
    pub async fn does_to(&self, user: &str, action: &str) {
        self.press(&format!("menu-{user}")).await;
        self.press(&format!("{action}-{user}")).await;
    }

    /// As the chair: an entry of the conference's menu.
    pub async fn manages(&self, action: &str) {
        self.press("manage").await;
        self.press(action).await;
    }

    pub async fn says(&self, text: &str) {
        self.fill(&id("chat-input"), text).await;
        self.press("chat-send").await;
    }

    pub async fn hears(&self, text: &str) {
        self.shows(&id("messages"), text).await;
    }

    /// Waits until there is, or is not, something to be seen.
    pub async fn has(&self, name: &str, shown: bool) {
        let visible = format!("document.querySelector('{}')?.checkVisibility() ?? false", id(name));
        self.holds(&format!("({visible}) === {shown}")).await;
    }

    /// The user and the login of this tab.
    pub async fn login(&self) -> serde_json::Value {
        let login = "const [key] = Object.keys(sessionStorage).filter(key => key.startsWith('confgate.session:'));
            const { userId, loginId } = JSON.parse(sessionStorage.getItem(key)); return [userId, loginId]";
        self.run(login).await
    }

    /// Takes pictures of what is seen on a desk and on a telephone, for people to look at; nothing may be cut off.
    pub async fn look(&self, name: &str) {
        for (form, size) in [("phone", PHONE), ("desk", DESKTOP)] {
            self.resize(size).await;
            self.holds(&format!("innerWidth === {}", size.0)).await;
            self.screenshot(&format!("{name}-{form}")).await;
            let wider = self.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wider.as_i64() <= Some(0), "{name} is {wider} px wider than the screen of a {form}");
        }
    }

    /// The same in both languages.
    pub async fn look_in_both_languages(&self, name: &str) {
        for _ in 0..2 {
            let language = self.run("return document.documentElement.lang.slice(0, 2)").await;
            self.look(&format!("{name}-{}", language.as_str().expect("a page has a language"))).await;
            self.speaks_one_language().await;
            self.press("lang").await;
        }
    }

    /// No text of the page's own is left in the other language. Roles may be names of people; what says which language it
    /// is in is none of the page's own.
    async fn speaks_one_language(&self) {
        let left = "const assets = document.querySelector('script[type=module]').src.replace(/[^/]*$/, '');
            const [{ en }, { zh }] = await Promise.all(['en.js', 'zh.js'].map(file => import(assets + file)));
            const [own, other] = document.documentElement.lang === 'en' ? [en, zh] : [zh, en];
            const here = new Set(Object.values(own));
            const foreign = new Set(Object.values(other).filter(text => !here.has(text)));
            return [...document.querySelectorAll('body *')]
                .filter(element => element.dataset.testid !== 'lang' && !element.children.length)
                .filter(element => !element.closest('body [lang]'))
                .map(({ textContent, placeholder }) => placeholder || textContent)
                .filter(text => foreign.has(text) && !['Chair', 'Guest'].includes(text));";
        let left = self.run(&format!("return (async () => {{ {left} }})()")).await;
        assert_eq!(left, serde_json::json!([]), "texts in the other language");
    }

    /// Tries the link, and stays outside.
    pub async fn enter_in_vain(&self, link: &str) {
        self.goto(link).await;
        self.type_name("Somebody else").await;
        self.holds(&format!("document.querySelector('{}').textContent !== ''", id("error-text"))).await;
        self.is_on("door").await;
    }
}
