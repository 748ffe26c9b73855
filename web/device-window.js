// The window for sound and camera: which devices, how loud the others are, how much of one's own microphone is sent.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { openWindow } from "./dialog.js";

/** How often the meter moves: as often as an eye follows without effort. */
const METER_MS = 100;

/**
 * @param {import("./call/media.js").Media} media
 * @param {import("./toasts.js").Toasts} toasts
 */
export async function openDevices(media, toasts) {
  const { own } = media;
  const meter = h("meter", { class: "meter", min: 0, max: 1, value: 0, sayLabel: "devices.loudness", testid: "loudness" });
  const content = h(
    "div",
    { class: "devices-body" },
    h("section", { class: "device" }, await chooser(media, "microphone", toasts), slider("devices.level", "level", own.devices.choice.level, (percent) => void own.setLevel(percent)), meter),
    h("section", { class: "device" }, await chooser(media, "camera", toasts)),
    h("section", { class: "device" }, slider("devices.volume", "volume", own.devices.choice.volume, (percent) => media.setVolume(percent), "speaker")),
  );
  openWindow("devices.title", content);
  await own.measure(true);
  const done = () => {
    clearInterval(measuring);
    own.measure(false);
  };
  const measuring = setInterval(() => {
    if (content.isConnected) meter.value = own.loudness();
    else done();
  }, METER_MS);
}

/**
 * All devices of a kind, with the open one chosen, else that of last time.
 * @param {import("./call/media.js").Media} media
 * @param {import("./call/devices.js").Device} device
 * @param {import("./toasts.js").Toasts} toasts
 */
async function chooser({ own }, device, toasts) {
  const id = `choose-${device}`;
  const found = await own.devices.list(device);
  const known = found.filter((each) => each.id);
  const options = known.map(({ id: value, label }, at) => h("option", { value }, label || `${t(`devices.${device}`)} ${at + 1}`));
  const none = h("option", { value: "", localize: found.length > 0 ? "devices.unnamed" : "devices.none" });
  const select = h("select", { class: "field", id, testid: id, disabled: known.length === 0 }, ...(known.length > 0 ? options : [none]));
  const current = own.openDevice(device) ?? own.devices.choice[device];
  if (known.some((each) => each.id === current)) select.value = current;
  select.addEventListener("change", async () => {
    const trouble = await own.choose(device, select.value);
    if (trouble) toasts.show(trouble);
  });
  return h("div", { class: "device-choice" }, h("label", { for: id }, icon(device === "camera" ? "camera" : "mic"), h("span", { localize: `devices.${device}` })), select);
}

/**
 * @param {string} key its catalogue key
 * @param {string} name
 * @param {number} value 0 to 100
 * @param {(percent: number) => void} onInput
 * @param {string} [picture] an icon's name
 */
function slider(key, name, value, onInput, picture) {
  const shown = h("output", { class: "percent" }, String(value));
  const input = h("input", { type: "range", id: name, min: 0, max: 100, step: 1, testid: name });
  input.value = String(value);
  input.addEventListener("input", () => {
    shown.textContent = input.value;
    onInput(Number(input.value));
  });
  return h("div", { class: "slider" }, h("label", { for: name }, picture && icon(picture), h("span", { localize: key })), input, shown);
}
