// Reads a CSV as `--mode=stream` does: a header with channels by name, a column with the time, one row per sample.
import { InputError } from "./errors.js";
import { columnsOf, listed } from "./channels.js";

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const DATE =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?\s*(Z|[+-]\d\d:?\d\d)?$/;
const SECONDS = { s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 };
const LARGEST = 1e18; // larger ones have squares that are infinite in single precision
const ZONE = /(Z|[+-]\d\d:?\d\d)$/;

// Returns the fields of a line; quotes enclose fields as in RFC 4180. Null where a quote is not closed.
export function splitLine(line, delimiter) {
  if (!line.includes('"')) return line.split(delimiter);
  const fields = [];
  let field = "";
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const character = line[i];
    if (quoted && character === '"' && line[i + 1] === '"') field += line[++i];
    else if (character === '"' && (quoted || field === "")) quoted = !quoted;
    else if (character === delimiter && !quoted) {
      fields.push(field);
      field = "";
    } else field += character;
  }
  fields.push(field);
  return quoted ? null : fields;
}

// Returns the text of a file. Throws InputError where it is not UTF-8, or cannot be read.
export async function readText(file) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch (error) {
    if (error instanceof TypeError) throw new InputError(`${file.name}: not UTF-8 text; save the table as UTF-8`);
    if (error instanceof DOMException) {
      throw new InputError(`${file.name}: cannot be read; it was changed or removed, choose it again`);
    }
    throw error;
  }
}

// Reads the rows of a table.
//
// where: name of the file, for messages.
// card: content of card.json; `card.reading` holds the fields of `data.table`.
//
// Returns {time, values, absent}: seconds of each row since the first, a Float32Array of the model's inputs for each row,
// NaN where a cell is empty, and the positions of the inputs that no column holds.
//
// Throws InputError for the first line that cannot be read; the message names file, line and column.
export function readTable(where, text, card) {
  const reading = card.reading;
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  let at = reading.skip_lines;
  const header = reading.header.length ? reading.header : splitLine(lines[at++] ?? "", reading.delimiter);
  if (!header || (header.length === 1 && !header[0].trim())) {
    throw new InputError(`${where}, line ${at}: empty, expected the names of the columns`);
  }
  at += reading.units_rows;
  const columns = columnsOf(`${where}, line ${at}`, header, card);
  const places = columns.map((column) => (column === null ? -1 : header.indexOf(column)));
  const absent = places.flatMap((place, input) => (place < 0 ? [input] : []));
  const timePlace = reading.time ? header.indexOf(reading.time) : -1;
  if (reading.time && timePlace < 0) {
    throw new InputError(
      `${where}: no column '${reading.time}' with the time; the columns are ${header.join(", ")}; ` +
        `the model reads ${listed(card.inputs)}`,
    );
  }
  const named = [reading.subject, reading.recording].filter((name) => header.includes(name));
  const missing = new Set(reading.missing_texts);
  const time = [];
  const values = [];
  let first = null;
  let zoned = null;
  let recording = null;
  for (; at < lines.length; at++) {
    let line = lines[at];
    if (reading.line_end && line.endsWith(reading.line_end)) line = line.slice(0, -reading.line_end.length);
    if (!line.trim()) continue;
    const here = `${where}, line ${at + 1}`;
    const fields = splitLine(line, reading.delimiter);
    if (!fields) throw new InputError(`${here}: a quote is not closed`);
    if (fields.length !== header.length) {
      throw new InputError(`${here}: ${fields.length} fields, expected ${header.length} as in the header`);
    }
    const name = named.map((column) => fields[header.indexOf(column)].trim()).join("-");
    recording ??= name;
    if (name !== recording) {
      throw new InputError(`${here}: the recording '${name}' after '${recording}', expected one recording in a file`);
    }
    const row = new Float32Array(places.length).fill(NaN);
    places.forEach((place, input) => {
      if (place >= 0) row[input] = readValue(fields[place], `${here}, column '${header[place]}'`, missing, reading);
    });
    if (timePlace < 0) {
      time.push(values.length / card.input_rate);
    } else {
      const cell = fields[timePlace].trim();
      if (missing.has(cell) && row.every(Number.isNaN)) continue;
      const stamp = readStamp(cell, `${here}, column '${reading.time}'`, reading);
      first ??= stamp;
      zoned ??= ZONE.test(cell);
      if (reading.time_unit === "datetime" && ZONE.test(cell) !== zoned) {
        const has = zoned ? "no" : "a";
        throw new InputError(`${here}, column '${reading.time}': '${cell}' has ${has} time zone or offset, unlike the rows before`);
      }
      const factor = reading.time_unit === "datetime" ? 1e-9 : SECONDS[reading.time_unit];
      const passed = Number(stamp - first) * factor;
      if (passed < time[time.length - 1]) {
        const back = time[time.length - 1] - passed;
        throw new InputError(`${here}, column '${reading.time}': time goes back by ${+back.toPrecision(6)} s`);
      }
      time.push(passed);
    }
    values.push(row);
  }
  if (!values.length) throw new InputError(`${where}: no rows below the header`);
  return { time, values, absent };
}

function readValue(cell, here, missing, reading) {
  const text = cell.trim();
  const value = missing.has(text) ? NaN : readNumber(text, here, reading);
  if (Number.isNaN(value) || reading.missing_values.some((code) => Math.fround(code) === Math.fround(value))) {
    if (reading.missing === "error") throw new InputError(`${here}: no value`);
    return NaN;
  }
  if (Math.abs(value) > LARGEST) throw new InputError(`${here}: '${text.slice(0, 40)}' is larger than 1e+18`);
  return value;
}

function readNumber(text, here, reading) {
  const plain = reading.decimal === "." ? text : text.replace(/[.,]/g, (mark) => (mark === "," ? "." : ","));
  const number = NUMBER.test(plain) ? Number(plain) : NaN;
  if (!Number.isFinite(number)) throw new InputError(`${here}: '${text.slice(0, 40)}' is not a finite number`);
  return number;
}

// Returns a number in the unit of the column, or for dates the nanoseconds since 1970, which a Number cannot hold.
function readStamp(text, here, reading) {
  const wrong = new InputError(text ? `${here}: '${text.slice(0, 40)}' is not a time (${reading.time_unit})` : `${here}: no time`);
  if (reading.time_unit !== "datetime") {
    if (!text) throw wrong;
    return readNumber(text, here, reading);
  }
  const match = DATE.exec(text);
  if (!match) throw wrong;
  const [, year, month, day, hour = 0, minute = 0, second = 0, fraction = "", zone = "Z"] = match;
  const whole = Date.UTC(year, month - 1, day, hour, minute, second);
  const date = new Date(whole);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== Number(day) || hour > 23 || minute > 59) throw wrong;
  const offset = zone === "Z" ? 0 : Number(zone[0] + "1") * (60 * Number(zone.slice(1, 3)) + Number(zone.slice(-2)));
  return BigInt(whole - 60000 * offset) * 1000000n + BigInt(fraction.padEnd(9, "0"));
}
