// The few words of a session description that browsers give no other way to say.

/**
 * Asks the sender for Opus DTX (RFC 7587 section 6.1): silence then costs next to nothing. A browser takes that from the
 * other side's description only, so it is put into the gateway's answer.
 * @param {string} sdp
 */
export function withDtx(sdp) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000/gim)].map(([, payload]) => payload);
  return opus.reduce((text, payload) => {
    const fmtp = new RegExp(`^(a=fmtp:${payload} )(?!.*usedtx)(.*?)(\r?)$`, "m");
    if (fmtp.test(text)) return text.replace(fmtp, "$1$2;usedtx=1$3");
    if (new RegExp(`^a=fmtp:${payload} `, "m").test(text)) return text;
    return text.replace(new RegExp(`^(a=rtpmap:${payload} [^\r\n]*)(\r?)$`, "m"), `$1$2\na=fmtp:${payload} usedtx=1$2`);
  }, sdp);
}
