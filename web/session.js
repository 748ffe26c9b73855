// The identity of this tab: the tokens of one login. They live in sessionStorage, so that a reload comes back without a new
// login (and without a new use of the link) and closing the tab forgets them. They never stand in an address.

import { noAnswer, post, RpcError } from "./rpc.js";

/** How long a reloaded page waits for its former self to let go of the session. */
const LOCK_WAIT_MS = 800;

/**
 * @typedef {{loginId: string, accessToken: string, refreshToken: string, userId: string, name: string}} Tokens
 * `loginId` is this page's own: it tells a duplicated tab from a second login of the same user.
 */

export class Session {
  /** @type {Tokens|null} */
  #tokens = null;
  /** @type {Promise<void>|null} */
  #refreshing = null;

  /**
   * @param {string} scope what the login is for: a link's path, or `""` for a user of the EIM
   * @param {{storage?: Pick<Storage, "getItem"|"setItem"|"removeItem">, send?: typeof post}} [parts] tests pass their own
   */
  constructor(scope, { storage = tabStorage(), send = post } = {}) {
    this.key = `confgate.session:${scope}`;
    this.storage = storage;
    this.send = send;
  }

  get userId() {
    return this.#tokens?.userId ?? null;
  }

  get name() {
    return this.#tokens?.name ?? "";
  }

  get accessToken() {
    return this.#tokens?.accessToken ?? null;
  }

  get canRefresh() {
    return Boolean(this.#tokens?.refreshToken);
  }

  /**
   * Takes up what this tab left behind. A duplicated tab carries a copy of the tokens; a refresh token used twice ends
   * the login for both, so the copy is left alone.
   * @returns {Promise<boolean>} whether there is a login
   */
  async restore() {
    const stored = parse(this.storage.getItem(this.key));
    if (!stored || !(await holdAlone(stored.loginId))) return false;
    this.#tokens = stored;
    return true;
  }

  /** @param {object} params of `auth.http.login` @throws {RpcError} */
  async login(params) {
    const loginId = crypto.randomUUID();
    this.#keep(loginId, await this.send("auth.http.login", params, null));
    await holdAlone(loginId);
  }

  /**
   * New tokens for old; calls at the same time share one request.
   * @param {(method: string, params: object) => Promise<any>} [call] the event socket's, so that its deadline moves too
   * @throws {RpcError} when refused, the login is over and forgotten
   */
  refresh(call = (method, params) => this.send(method, params, null)) {
    this.#refreshing ??= this.#refresh(call).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** @param {(method: string, params: object) => Promise<any>} call */
  async #refresh(call) {
    const { loginId, refreshToken } = this.#tokens ?? {};
    if (!loginId || !refreshToken) throw noAnswer("auth.required", "there is no login to renew");
    try {
      this.#keep(loginId, await call("auth.http.login", { grantType: "refresh_token", refreshToken }));
    } catch (error) {
      if (error instanceof RpcError && !error.isPassing) this.forget();
      throw error;
    }
  }

  /** Ends the login, here and at the server. The server's answer changes nothing for us, so it is not waited for. */
  logout() {
    const token = this.accessToken;
    this.forget();
    if (token) this.send("auth.http.logout", {}, token).catch(() => {});
  }

  /** Keeps the login for this page only: a reload starts anew, as after leaving. */
  park() {
    this.storage.removeItem(this.key);
  }

  /** Makes a parked login last over a reload again. */
  unpark() {
    if (this.#tokens) this.storage.setItem(this.key, JSON.stringify(this.#tokens));
  }

  forget() {
    this.#tokens = null;
    this.storage.removeItem(this.key);
  }

  /** @param {string} loginId @param {Tokens} result of `auth.http.login` */
  #keep(loginId, { accessToken, refreshToken, userId, name }) {
    this.#tokens = { loginId, accessToken, refreshToken, userId, name };
    this.storage.setItem(this.key, JSON.stringify(this.#tokens));
  }
}

/** Where the browser allows no storage, a login lasts as long as the page. */
function tabStorage() {
  try {
    return globalThis.sessionStorage ?? new PageStorage();
  } catch {
    return new PageStorage();
  }
}

class PageStorage {
  #items = new Map();

  /** @param {string} key @returns {string|null} */
  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    this.#items.set(key, value);
  }

  /** @param {string} key */
  removeItem(key) {
    this.#items.delete(key);
  }
}

/** @param {string|null} text @returns {Tokens|null} */
function parse(text) {
  try {
    const tokens = JSON.parse(text ?? "null");
    return typeof tokens?.accessToken === "string" && typeof tokens.loginId === "string" ? tokens : null;
  } catch {
    return null;
  }
}

/**
 * Holds the login's lock as long as this page lives. False: another tab of this browser holds it.
 * @param {string} loginId
 * @returns {Promise<boolean>}
 */
function holdAlone(loginId) {
  const locks = globalThis.navigator?.locks;
  if (!locks) return Promise.resolve(true); // an insecure context: nothing better can be known
  return new Promise((resolve) => {
    const held = () => {
      resolve(true);
      return new Promise(() => {}); // never settled: released with the page
    };
    const signal = AbortSignal.timeout(LOCK_WAIT_MS);
    locks.request(`confgate.login:${loginId}`, { signal }, held).catch(() => resolve(false));
  });
}
