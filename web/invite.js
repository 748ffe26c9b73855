// Links into a conference: making, copying, showing as a QR code, revoking. For its chair.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { currentLanguage, localize, t } from "./i18n.js";
import { openWindow } from "./dialog.js";

/** A link as it is handed out: its address is told only now. @typedef {{linkId: string, url: string, qr?: string}} NewLink */
/**
 * @typedef {{linkId: string, role: string, notBefore: number|null, expiresAt: number|null, maxUses: number|null,
 *   uses: number, revoked: boolean}} Link
 */

const HOUR_MS = 3_600_000;
/** How long a link may serve, by the choice's key. */
const LIFETIMES = { unlimited: 0, hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS };

/**
 * @param {string} confId
 * @param {import("./rpc.js").Rpc} rpc
 * @param {import("./toasts.js").Toasts} toasts
 */
export function openInvite(confId, rpc, toasts) {
  const window = new InviteWindow(confId, rpc, toasts);
  openWindow("invite.title", window.element);
  window.refresh();
}

class InviteWindow {
  #fresh = h("div", { class: "invite-fresh", hidden: true });
  #list = h("ul", { class: "rows links", testid: "links" });
  #none = h("p", { class: "empty", localize: "invite.none" });

  /** @param {string} confId @param {import("./rpc.js").Rpc} rpc @param {import("./toasts.js").Toasts} toasts */
  constructor(confId, rpc, toasts) {
    this.confId = confId;
    this.rpc = rpc;
    this.toasts = toasts;
    this.form = this.#form();
    const existing = h("section", {}, h("h3", { localize: "invite.existing" }), this.#none, this.#list);
    this.element = h("div", { class: "invite-body" }, this.#fresh, this.form, existing);
  }

  #form() {
    const role = select("role", { guest: "role.guest", member: "role.member", chair: "role.chair" }, "link-role");
    const life = select("life", { unlimited: "invite.unlimited", hour: "invite.hour", day: "invite.day", week: "invite.week" }, "link-life");
    const uses = h("input", { class: "field", type: "number", min: "1", max: "1000000", name: "uses", inputmode: "numeric", testid: "link-uses", sayPlaceholder: "invite.unlimited" });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#create({ role: role.value, life: /** @type {keyof typeof LIFETIMES} */ (life.value), maxUses: uses.valueAsNumber });
    };
    return h(
      "form",
      { class: "invite-form", on: { submit } },
      labelled("invite.role", role),
      labelled("invite.life", life),
      labelled("invite.uses", uses),
      h("button", { class: "button primary", type: "submit", testid: "create-link" }, icon("plus"), h("span", { localize: "invite.create" })),
    );
  }

  /** @param {{role: string, life: keyof typeof LIFETIMES, maxUses: number}} wish */
  async #create({ role, life, maxUses }) {
    const lifetime = LIFETIMES[life];
    const limits = { ...(lifetime && { expiresAt: Date.now() + lifetime }), ...(maxUses > 0 && { maxUses }) };
    const params = { confId: this.confId, role, qr: true, ...limits };
    const link = await this.toasts.attempt(() => this.rpc.call("conference.createLink", params));
    if (!link) return;
    this.show(link);
    await this.refresh();
  }

  /** Shows a link that was just made, with its QR code. @param {NewLink} link */
  show(link) {
    this.#fresh.hidden = false;
    this.#fresh.replaceChildren(...linkCard(link, this.toasts));
  }

  async refresh() {
    const answer = await this.toasts.attempt(() => this.rpc.call("conference.listLinks", { confId: this.confId }));
    if (!answer) return;
    const links = answer.links.filter((/** @type {Link} */ { revoked }) => !revoked);
    this.#none.hidden = links.length > 0;
    this.#list.replaceChildren(...links.map((/** @type {Link} */ link) => this.#row(link)));
  }

  /** @param {Link} link */
  #row(link) {
    const role = h("span", { class: "row-name" });
    localize(role, `role.${link.role}`);
    const facts = h("span", { class: "row-notes" }, factsOf(link));
    const revoke = h("button", { class: "button small danger-quiet", type: "button", localize: "invite.revoke", testid: `revoke-${link.linkId}`, on: { click: () => this.#revoke(link) } });
    return h("li", { class: "row", testid: `link-${link.linkId}` }, h("span", { class: "row-who" }, role, facts), revoke);
  }

  /** @param {Link} link */
  async #revoke({ linkId }) {
    await this.toasts.attempt(() => this.rpc.call("conference.revokeLink", { confId: this.confId, linkId }));
    this.#fresh.hidden = true;
    await this.refresh();
  }
}

/**
 * A link to read, copy, and scan.
 * @param {NewLink} link
 * @param {import("./toasts.js").Toasts} toasts
 * @returns {HTMLElement[]}
 */
export function linkCard(link, toasts) {
  const url = h("input", { class: "field url", readonly: true, testid: "link-url", sayLabel: "invite.url" });
  url.value = link.url;
  url.addEventListener("focus", () => url.select());
  const line = h("div", { class: "url-line" }, url, copyButton(link.url, toasts));
  return link.qr ? [line, qrPicture(link.qr)] : [line];
}

/** As an image the SVG can neither run nor load anything. @param {string} svg */
function qrPicture(svg) {
  const image = h("img", { class: "qr", width: "240", height: "240", testid: "qr", src: `data:image/svg+xml,${encodeURIComponent(svg)}` });
  localize(image, "invite.qr", {}, "alt");
  return image;
}

/** @param {string} url @param {import("./toasts.js").Toasts} toasts */
function copyButton(url, toasts) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(url);
      toasts.show("invite.copied");
    } catch {
      toasts.show("invite.notCopied"); // not allowed here: the address can be marked by hand
    }
  };
  return h("button", { class: "button primary", type: "button", testid: "copy-link", on: { click: copy } }, icon("copy"), h("span", { localize: "invite.copy" }));
}

/** @param {Link} link */
function factsOf({ expiresAt, maxUses, uses }) {
  const used = maxUses ? t("invite.usedOf", { uses, maxUses }) : t("invite.used", { uses });
  if (!expiresAt) return used;
  const when = new Date(expiresAt).toLocaleString(currentLanguage() === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" });
  return `${used} · ${t("invite.until", { when })}`;
}

/** @param {string} name @param {Record<string, string>} choices value -> catalogue key @param {string} testid */
export function select(name, choices, testid) {
  const options = Object.entries(choices).map(([value, key]) => h("option", { value, localize: key }));
  return h("select", { class: "field", name, testid }, ...options);
}

/** @param {string} key @param {HTMLElement} field */
export function labelled(key, field) {
  return h("label", { class: "labelled" }, h("span", { class: "label", localize: key }), field);
}
