// The others' sound. Apart from the pictures: what is closed, small or out of sight is still heard.

/** Owner: `Media`. One audio element for each stream. */
export class Loudspeakers {
  element = document.createElement("div");
  /** @type {Map<string, {audio: HTMLAudioElement, stream: MediaStream|null}>} */
  #players = new Map();
  #volume = 100;

  /** @param {{onBlocked: () => void}} owner told when the browser wants a press on the page before it plays anything */
  constructor({ onBlocked }) {
    this.onBlocked = onBlocked;
    this.element.hidden = true;
  }

  /** @param {Map<string, MediaStream>} streams */
  update(streams) {
    for (const [name, player] of this.#players) {
      if (streams.has(name)) continue;
      player.audio.srcObject = null;
      player.audio.remove();
      this.#players.delete(name);
    }
    for (const [name, stream] of streams) this.#play(name, stream);
  }

  /** @param {number} percent 0 to 100 */
  setVolume(percent) {
    this.#volume = percent;
    for (const { audio } of this.#players.values()) audio.volume = percent / 100;
  }

  /** After the reader pressed something. */
  unblock() {
    for (const { audio } of this.#players.values()) audio.play().catch(() => {});
  }

  /** @param {string} name @param {MediaStream} stream */
  #play(name, stream) {
    let player = this.#players.get(name);
    if (!player) {
      player = { audio: document.createElement("audio"), stream: null };
      player.audio.dataset.stream = name;
      player.audio.volume = this.#volume / 100;
      this.#players.set(name, player);
      this.element.append(player.audio);
    }
    if (player.stream === stream) return;
    player.stream = stream;
    player.audio.srcObject = new MediaStream(stream.getAudioTracks());
    player.audio.play().catch(({ name: reason }) => reason === "NotAllowedError" && this.onBlocked());
  }
}
