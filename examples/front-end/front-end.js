// See index.html: how to run it, and what it shows.

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/** The gateway's address: all of a link before `/conference/`. */
let base = "";
let accessToken = "";
let confId = "";
let lastId = 0;
/** The conference as the server tells it: the last snapshot, and every event since. @type {any} */
let roster = null;

/** @param {string} method @param {object} params */
async function call(method, params) {
  const headers = accessToken ? { Authorization: `Bearer ${accessToken}` } : {};
  const body = JSON.stringify({ jsonrpc: "2.0", id: ++lastId, method, params });
  const reply = await (await fetch(`${base}/jsonrpc`, { method: "POST", headers, body })).json();
  if (reply.error) throw new Error(`${reply.error.message} (${reply.error.data.key})`);
  return reply.result;
}

/** Enters by the link, joins, and follows the conference. @param {string} link @param {string} name */
async function enter(link, name) {
  base = link.split("/conference/")[0];
  ({ accessToken, confId } = await call("auth.http.login", { grantType: "conference_link", link, name }));
  await call("conference.join", { confId });
  // The token goes into the subprotocol, never into the address, where logs would keep it.
  const socket = new WebSocket(`${base.replace("https", "wss")}/websck`, ["confgate", `bearer.${accessToken}`]);
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = ({ code }) => show(`The connection is closed (${code}).`);
}

/** @param {{method?: string, params?: any}} message */
function receive({ method, params }) {
  if (method === "conference.snapshot") roster = { waiting: [], messages: [], ...params };
  if (method === "conference.event") apply(params);
  if (roster) draw();
}

/** Events are numbered without a gap; each changes the roster by this table. @param {{type: string, data: any}} event */
function apply({ type, data }) {
  const put = (/** @type {any[]} */ list) => [...list.filter(({ userId }) => userId !== data.userId), data];
  const without = (/** @type {any[]} */ list) => list.filter(({ userId }) => userId !== data.userId);
  if (type.startsWith("conference.")) roster.conference = data;
  if (type === "member.joined" || type === "member.updated") roster.members = put(roster.members);
  if (type === "member.left") roster.members = without(roster.members);
  if (type === "message") roster.messages.push(data);
}

function draw() {
  const item = (/** @type {string} */ text) => Object.assign(document.createElement("li"), { textContent: text });
  const nameOf = (/** @type {string} */ id) => roster.members.find((/** @type {any} */ m) => m.userId === id)?.name ?? id;
  show(`You are in "${roster.conference.confName}".`);
  byId("members").replaceChildren(...roster.members.map((/** @type {any} */ m) => item(`${m.name} (${m.role})`)));
  byId("messages").replaceChildren(...roster.messages.map((/** @type {any} */ m) => item(`${nameOf(m.userId)}: ${m.text}`)));
  byId("write").hidden = false;
}

/** @param {string} text */
function show(text) {
  byId("state").textContent = text;
}

byId("enter").onsubmit = (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const { link, name } = byId("enter").elements;
  enter(link.value, name.value).catch((error) => show(error.message));
};

byId("write").onsubmit = (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const { text } = byId("write").elements;
  call("conference.sendMessage", { confId, text: text.value }).catch((error) => show(error.message));
  text.value = "";
};
