// A client for Node, without packages: it logs in, makes an account, sends an IQ and reads its answer, then opens the
// event socket and makes a conference, whose first event comes over that socket.
//
// Start a gateway that knows the client, in a folder of its own:
//
//   CONFGATE_AUTH__CLIENTS='[{"id":"hr","secret":"a long random text","scopes":["user.create","conference.create"]}]' cargo run --release
//
// Then, in the same folder (Node 22 or newer; Node 20 with the option, for its WebSocket):
//
//   NODE_EXTRA_CA_CERTS=certs/cert.pem node --experimental-websocket examples/client.mjs

const base = process.env.BASE ?? "https://127.0.0.1:9092/gzbwclient";

let lastId = 0;
/** @param {string} method @param {object} params @param {string} [token] */
async function call(method, params, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const body = JSON.stringify({ jsonrpc: "2.0", id: ++lastId, method, params });
  const reply = await (await fetch(`${base}/jsonrpc`, { method: "POST", headers, body })).json();
  if (reply.error) throw new Error(`${method}: ${reply.error.message} (${reply.error.data.key})`);
  return reply.result;
}

// 1. A program logs in with its own secret, and gets a token.
const login = { grantType: "client_credentials", clientId: "hr", clientSecret: "a long random text" };
const { accessToken, userId } = await call("auth.http.login", login);
console.log(`logged in as ${userId}`);

// 2. An account at the EIM.
const account = await call("org.user.createUser", { name: "张三", password: "a first password" }, accessToken);
console.log(`created ${account.userId}: ${account.name}`);

// 3. Any IQ that the EIM understands; an error of the EIM's is an answer, too.
const reqXml = `<iq to="jeprivacy.ips3000" type="get" id="01">
  <jeExtension xmlns="je:x:client:config"><getMainTabs/></jeExtension></iq>`;
const { xml } = await call("org.user.processIQ", { reqXml }, accessToken);
console.log(`answered ${xml}`);

// 4. The event socket: JSON-RPC both ways. The token goes into the subprotocol, never into the address.
const socket = new WebSocket(`${base.replace("https", "wss")}/websck`, ["confgate", `bearer.${accessToken}`]);
socket.onmessage = ({ data }) => {
  const { method, params } = JSON.parse(data);
  if (method === "hello") {
    console.log(`connected to ${params.node}`);
    socket.send(JSON.stringify({ id: 1, method: "conference.create", params: { name: "Weekly" } }));
  }
  if (method === "conference.event") {
    console.log(`event ${params.seq}: ${params.type} ${params.data.confName}`);
    socket.close();
  }
};
socket.onclose = ({ code }) => console.log(`closed (${code})`);
