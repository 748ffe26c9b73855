// The page's pictures, drawn on a 24 x 24 grid with a 1.75 pen. Decoration only: the text beside an icon names it.

const SVG = "http://www.w3.org/2000/svg";

/** Path data by name; several strokes are one path. @type {Record<string, string>} */
const PATHS = {
  mic: "M12 4a2.5 2.5 0 0 0-2.5 2.5v5a2.5 2.5 0 0 0 5 0v-5A2.5 2.5 0 0 0 12 4M6 11.5a6 6 0 0 0 12 0M12 17.5V21M9 21h6",
  micOff: "M9.5 9v2.5a2.5 2.5 0 0 0 4.1 1.9M14.5 10.2V6.5a2.5 2.5 0 0 0-4.7-1.2M6 11.5a6 6 0 0 0 9.6 4.8M17.6 13.6a6 6 0 0 0 .4-2.1M12 17.5V21M9 21h6M4 4l16 16",
  micHeld: "M10 4.6a2.5 2.5 0 0 1 2.5 1.9v4M7.5 8v3.5a2.5 2.5 0 0 0 2.5 2.5M4 11.5A6 6 0 0 0 10 17.5V21M7 21h4M14.5 15.5h6v5h-6zM15.8 15.5V14a1.7 1.7 0 0 1 3.4 0v1.5",
  camera: "M5 6.5h8.5a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2M15.5 11l5.5-3v8l-5.5-3",
  cameraOff: "M8 6.5h5.5a2 2 0 0 1 2 2V14M14.6 17.2a2 2 0 0 1-1.1.3H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 1.2-1.8M15.5 11l5.5-3v8l-3-1.6M4 4l16 16",
  hand: "M8 12.5V6.2a1.4 1.4 0 0 1 2.8 0V11M10.8 11V4.700a1.4 1.4 0 0 1 2.8 0V11M13.6 11V6a1.4 1.4 0 0 1 2.8 0v6.500M16.4 12V9.200a1.3 1.3 0 0 1 2.6 0V14.500a6.5 6.5 0 0 1-6.5 6.500c-2.6 0-4.2-1-5.5-3L4.3 13.800a1.4 1.4 0 0 1 2.3-1.600L8 14",
  leave: "M10 4H6a1.5 1.5 0 0 0-1.5 1.500v13A1.5 1.5 0 0 0 6 20h4M15 8l4 4-4 4M9.5 12H19",
  people: "M9 11a3.2 3.2 0 1 0 0-6.400A3.2 3.2 0 0 0 9 11M3 19.500c0-3.3 2.7-5.5 6-5.500s6 2.2 6 5.500M15.5 5a3 3 0 0 1 0 5.800M17 14.300c2.4.6 4 2.5 4 5.2",
  chat: "M6 5h12a2 2 0 0 1 2 2v7.500a2 2 0 0 1-2 2h-6.500L7 20v-3.500H6a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2M8 9.300h8M8 12.500h5",
  more: "M5.3 12a.7.7 0 1 0 1.4 0a.7.7 0 1 0-1.4 0M11.3 12a.7.7 0 1 0 1.4 0a.7.7 0 1 0-1.4 0M17.3 12a.7.7 0 1 0 1.4 0a.7.7 0 1 0-1.4 0",
  lock: "M6.5 10.500h11v9h-11zM8.5 10.500V8a3.5 3.5 0 0 1 7 0v2.500M12 14v2.2",
  unlock: "M6.5 10.500h11v9h-11zM8.5 10.500V7.500A3.5 3.5 0 0 1 15 5.800M12 14v2.2",
  lobby: "M6 20V5.500A1.5 1.5 0 0 1 7.5 4h9A1.5 1.5 0 0 1 18 5.500V20M3.5 20h17M14.5 12v1",
  chair: "M12 4.500l2.3 4.7 5.2.7-3.8 3.6.9 5.100L12 16.200l-4.6 2.4.9-5.100L4.5 9.900l5.2-.7z",
  shield: "M12 3.800l7 2.700v5c0 4.2-2.9 7.2-7 8.7-4.1-1.5-7-4.5-7-8.700v-5zM9 12l2.2 2.200L15.2 10",
  link: "M10 14a3.8 3.8 0 0 0 5.5.3l3-3a3.8 3.8 0 0 0-5.4-5.400l-1.5 1.500M14 10a3.8 3.8 0 0 0-5.5-.3l-3 3a3.8 3.8 0 0 0 5.4 5.400l1.5-1.5",
  copy: "M9 9h10.500v10.500H9zM15 9V4.500H4.500V15H9",
  qr: "M4.5 4.500h5.500v5.500H4.500zM14 4.500h5.500v5.500H14zM4.5 14h5.500v5.500H4.500zM14 14h2.500v2.500M19.5 14v5.500H17M14 19.500h.01",
  close: "M6 6l12 12M18 6L6 18",
  send: "M4.5 12L3.8 4.8 20.5 12 3.8 19.200zM4.5 12H12",
  check: "M5 12.500l4.5 4.500L19 7.5",
  plus: "M12 5v14M5 12h14",
  pin: "M9 4h6l-.8 6 3.3 3.500H6.500L9.8 10zM12 13.500V20",
  hide: "M4 4l16 16M9.8 6.300A9 9 0 0 1 12 6c5 0 8.5 6 8.5 6a16 16 0 0 1-2.7 3.300M6.5 8A15 15 0 0 0 3.5 12s3.5 6 8.5 6a8.7 8.7 0 0 0 3.7-.8M10.3 10.300a2.5 2.5 0 0 0 3.5 3.5",
  show: "M3.5 12S7 6 12 6s8.5 6 8.5 6-3.5 6-8.5 6-8.5-6-8.5-6M12 14.500a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5",
  screen: "M3.5 5h17v11h-17zM9 20h6M12 16v4",
  sliders: "M4 7h9M17 7h3M15 5v4M4 12h3M11 12h9M9 10v4M4 17h7M15 17h5M13 15v4",
  speaker: "M4 9.500h3.500L12 5.500v13L7.500 14.500H4zM15.500 9a4.200 4.200 0 0 1 0 6M18 6.500a7.800 7.800 0 0 1 0 11",
  remove: "M10 11a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.400M4 19.500c0-3.3 2.7-5.5 6-5.5 1.5 0 2.9.5 4 1.300M16 18h5",
  ban: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16M6.5 6.500l11 11",
  end: "M5 5h14v14H5zM9 9l6 6M15 9l-6 6",
  clock: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16M12 7.500V12l3 2",
  down: "M12 5v14M6 13l6 6 6-6",
  warn: "M12 4.500L21 19.500H3zM12 10v4.500M12 17h.01",
  book: "M5 5.500A1.5 1.5 0 0 1 6.5 4H19v13H6.500A1.5 1.5 0 0 0 5 18.500zM5 18.500A1.5 1.5 0 0 0 6.5 20H19v-3",
  out: "M14 4h4.500A1.5 1.5 0 0 1 20 5.500v13a1.5 1.5 0 0 1-1.5 1.500H14M10 8l-4 4 4 4M6 12h9",
};

/**
 * @param {string} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? "");
  svg.append(path);
  return svg;
}

/** Changes what an icon shows. @param {Element} svg @param {string} name */
export function redraw(svg, name) {
  const path = svg.firstElementChild;
  const d = PATHS[name] ?? "";
  if (path && path.getAttribute("d") !== d) path.setAttribute("d", d);
}
