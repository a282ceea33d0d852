// The page: a file or the device's sensors in, signals, segments and the present activity out.
import { settle } from "./clock.js";
import { readTable, readText } from "./csv.js";
import { History, Signals, clock, drawBand, element, nameOf, paint } from "./draw.js";
import { InputError } from "./errors.js";
import { checkBrowser, loadModel } from "./model.js";
import { Motion, whyNoMotion } from "./motion.js";
import { absenceNote, gravityNotes, quantile, rateNotes, repeatedNote, strangeNote, unknownNote } from "./notes.js";
import { keepOffline } from "./offline.js";
import { Recognizer } from "./recognizer.js";
import { mergeEvents } from "./segments.js";

const LIVE_SECONDS = 60; // that are shown of a live recording
const CHUNK = 500; // rows of a file between two looks at the page

const byId = (id) => document.getElementById(id);

// What is shown: the events of the recording and its samples.
export const shown = { events: [], history: new History(), range: [0, 1], live: false, done: true };
export let card = null;
let model = null;
let signals = null;
let motion = null;
let again = null; // begins anew what is shown, as after a change of a switch

function say(text) {
  byId("status").textContent = text;
}

// Shows an error that has a message for the reader; any other is a fault of the page and is thrown.
function fail(error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
  say("");
  shown.done = true;
  if (!(error instanceof InputError)) throw error;
}

function note(sentences) {
  byId("notes").replaceChildren(...sentences.filter(Boolean).map((sentence) => element("li", sentence)));
}

// Starts a recording and returns what is shown of it; what was shown before is no longer added to.
function begin(live) {
  stopMotion();
  again = null;
  Object.assign(shown, { events: [], history: new History(live ? LIVE_SECONDS : Infinity), live, done: false });
  byId("error").hidden = true;
  byId("result").hidden = false;
  note([]);
  draw();
  return shown;
}

function draw() {
  const { history, events, live } = shown;
  const last = history.time.at(-1) ?? 0;
  const first = live ? Math.max(0, last - LIVE_SECONDS) : (history.time[0] ?? 0);
  shown.range = [first, Math.max(last, first + 1, live ? LIVE_SECONDS : 0)];
  signals.draw(history, shown.range);
  const segments = mergeEvents(events);
  drawBand(byId("band"), byId("axis"), segments, card, shown.range);
  byId("segments").replaceChildren(
    ...segments.slice(-200).reverse().map((segment) => {
      const row = element("tr");
      const name = element("td");
      const swatch = element("span", "", "swatch");
      paint(swatch, card, segment.label);
      name.append(swatch, nameOf(card, segment.label));
      row.append(element("th", `${clock(segment.start)} - ${clock(segment.end)}`), name);
      row.append(element("td", segment.confidence.toFixed(2)));
      return row;
    }),
  );
  drawPresent(events.at(-1));
}

// Shows the last answer and its probabilities.
function drawPresent(event) {
  const answered = event && event.label !== -1;
  const name = answered ? nameOf(card, event.label) : shown.done && !shown.live ? "no answer" : "...";
  byId("present").textContent = name;
  byId("bars").replaceChildren(
    ...card.class_names.flatMap((_, label) => {
      const share = answered ? event.probabilities[label] : 0;
      const track = element("dd", "", "bar");
      const bar = element("span");
      paint(bar, card, label);
      bar.style.width = `${100 * share}%`;
      track.append(bar, element("span", answered ? share.toFixed(2) : "", "share"));
      return [element("dt", nameOf(card, label)), track];
    }),
  );
}

// Returns how the switches say that a recording is answered, the same until its end.
function switched() {
  return { adapt: byId("adapt").checked, unknown: byId("unknown").checked };
}

// Opens a file; what fails is shown.
function openFile(file) {
  predictFile(file).catch(fail);
  again = () => openFile(file);
}

async function predictFile(file) {
  const { events, history } = begin(false);
  const how = switched();
  say(`reading ${file.name} ...`);
  const text = await readText(file);
  if (shown.events !== events) return; // another recording was begun
  const { time, values, absent } = readTable(file.name, text, card);
  const { reading } = card;
  const { rows, repeated } = settle(file.name, { time, values }, reading);
  const notes = [
    absenceNote(card, absent, how.adapt),
    ...rateNotes(file.name, rows, card),
    repeatedNote(repeated, time.length),
    strangeNote(values, card),
  ];
  note(notes);
  const recognizer = new Recognizer(model, {
    absent,
    missing: reading.missing,
    keepRows: !reading.time,
    ...how,
    onSamples: (piece) => history.add(piece),
  });
  for (let row = 0; row < rows.time.length; row += CHUNK) {
    const end = row + CHUNK;
    events.push(...(await recognizer.push({ time: rows.time.slice(row, end), values: rows.values.slice(row, end) })));
    if (shown.events !== events) return;
    say(`${file.name}: ${Math.round((100 * row) / rows.time.length)} %`);
    await new Promise((resolve) => setTimeout(resolve));
  }
  events.push(...(await recognizer.finish()));
  if (shown.events !== events) return;
  note([...notes, ...gravityNotes(history.values, card), unknownNote(events, card)]);
  shown.done = true;
  draw();
  const seconds = history.time.length / card.input_rate;
  if (!events.length) {
    throw new InputError(
      `${file.name}: ${seconds.toFixed(1)} s; nothing is predicted: the longest part without a gap has ` +
        `${longestPart(history).toFixed(1)} s, and a window ${(card.window / card.rate).toFixed(2)} s`,
    );
  }
  say(`${file.name}: ${seconds.toFixed(1)} s, ${events.length} windows; ${speed(events)}`);
}

// Returns the seconds of the longest stretch without a gap.
function longestPart({ time, begins }) {
  let [longest, length] = [0, 0];
  time.forEach((_, i) => {
    length = begins[i] ? 1 : length + 1;
    longest = Math.max(longest, length);
  });
  return longest / card.input_rate;
}

function speed(events) {
  return `an answer takes ${quantile(events.map((event) => event.milliseconds), 0.5).toFixed(1)} ms`;
}

function stopMotion() {
  motion?.stop();
  motion = null;
  byId("motion").textContent = "Use this device's motion sensors";
}

// Starts the sensors; what fails is shown.
function startMotion() {
  predictMotion().catch(failMotion);
  again = startMotion;
}

async function predictMotion() {
  const { events, history } = begin(true);
  const how = switched();
  let recognizer = null;
  let queue = Promise.resolve();
  let waiting = false; // whether a frame will be drawn
  motion = new Motion(card, {
    onStart: (absent) => {
      note([absenceNote(card, absent, how.adapt)]);
      recognizer = new Recognizer(model, {
        absent,
        missing: "split",
        ...how,
        onSamples: (piece) => history.add(piece),
      });
    },
    onRows: (rows) => {
      const work = async () => {
        events.push(...(await recognizer.push(rows)));
        if (shown.events !== events || shown.done) return;
        say(events.length ? `live; ${speed(events.slice(-20))}` : `live; the first answer after ${card.window / card.rate} s`);
        if (waiting) return;
        waiting = true;
        requestAnimationFrame(() => {
          waiting = false;
          draw();
        });
      };
      queue = queue.then(work).catch(failMotion);
    },
    onError: failMotion,
  });
  byId("motion").textContent = "Stop";
  say("waiting for the motion sensors ...");
  await motion.start();
}

function failMotion(error) {
  stopMotion();
  again = null;
  fail(error);
}

async function main() {
  checkBrowser();
  say("loading the model ...");
  const offline = await keepOffline();
  card = await (await fetch("card.json")).json();
  model = await loadModel(card);
  signals = new Signals(byId("signals"), card.inputs);
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    byId("file").value = ""; // so that the same file can be chosen again
    if (file) openFile(file);
  });
  byId("motion").addEventListener("click", () => {
    if (motion) {
      shown.done = true;
      again = null;
      stopMotion();
      say("stopped");
    } else startMotion();
  });
  for (const name of ["adapt", "unknown"]) byId(name).addEventListener("change", () => again?.());
  const why = whyNoMotion(card);
  byId("motion").disabled = Boolean(why);
  byId("why").textContent = why ? `No motion sensors: ${why}.` : "";
  byId("file").disabled = false;
  window.addEventListener("resize", () => byId("result").hidden || draw());
  say(offline ? "ready; works without a network from now on" : "ready");
}

main().catch(fail);
