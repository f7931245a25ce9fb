/**
 * Encoders of models, twin of `ml_runtime/encoders/`: the same inputs become the same integers here and in Python.
 *
 * Without dependencies, for browsers and for Node 18 and later. An encoder is decoded from its canonical array as the API
 * shows it; whatever breaks a rule is thrown as an `EncoderError` whose `code` is the one that Python and the node use.
 * Source: docs/spec/ml.md section 8. The vectors in tests/vectors/encoders.json hold both to it.
 */

/** 1 as a fixed-point number with 16 fractional bits ("Q16"). */
const ONE = 65536;

/** Largest absolute value of an encoded feature and of a constant, Q16; far below what a number holds exactly. */
const VALUE_MAX = 2 ** 48;

const FEATURES_MAX = 2 ** 24;
const STANDARDISED_FEATURES_MAX = 4096;
const DEFINITION_BYTES_MAX = 16 * 1024;
const TEXT_BYTES_MAX = 1024 * 1024;
const COLUMNS_MAX = 1024;
const CATEGORIES_MAX = 4096;
const WORDS_PER_TERM_MAX = 3;

/** Most characters of a word or category that a refusal repeats. */
const SHOWN_CHARACTERS_MAX = 64;

/** An input or a definition that breaks a rule. */
export class EncoderError extends Error {
  /**
   * @param {string} code stable identifier of the rule
   * @param {string} message a sentence for people
   * @param {{field?: string, value?: unknown, limit?: unknown}} [details] where, what was found, what is allowed
   */
  constructor(code, message, details = {}) {
    super(message);
    this.name = "EncoderError";
    this.code = code;
    this.field = details.field;
    this.value = details.value;
    this.limit = details.limit;
  }
}

/**
 * Sparse samples in compressed rows: sample i has the entries rowStarts[i] to rowStarts[i + 1].
 * @typedef {{rowStarts: number[], indices: number[], values: number[], featureCount: number}} SparseSamples
 */

/**
 * An encoder. `takes` says which inputs: single `numbers`, `rows` of numbers, `texts`, or rows of `categories`.
 * `featureCount` is null where it is as many as are given.
 * @typedef {{kind: string, takes: string, featureCount: number | null, encode: (rows: unknown) => number[][] | SparseSamples}} Encoder
 */

/**
 * Return the encoder whose canonical array is given, or throw `invalid_encoder`.
 * @param {unknown} fields decoded JSON or canonical bytes; whole numbers may be BigInt
 * @returns {Encoder}
 */
export function decodeEncoder(fields) {
  const kind = Array.isArray(fields) ? fields[0] : undefined;
  if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind)) {
    throw invalidEncoder("kind", `must be one of ${Object.keys(KINDS).join(", ")}`, kind);
  }
  const [count, build] = KINDS[kind];
  if (fields.length !== count) {
    throw invalidEncoder("fields", `must be ${count}, found ${fields.length}`, fields.length, count);
  }
  readInteger(fields[1], "version", 1, 1);
  return Object.freeze({ kind, ...build(fields) });
}

/**
 * Return inputs as an encoder makes features of them: rows of Q16 integers for numbers, sparse samples for all else.
 * @param {Encoder} encoder from `decodeEncoder`
 * @param {unknown} rows what the encoder takes, one entry for each sample
 * @returns {number[][] | SparseSamples}
 */
export function encode(encoder, rows) {
  return encoder.encode(rows);
}

// How many fields the array of each kind has, and who reads what follows kind and version.
const KINDS = {
  embedding: [6, buildEmbedding],
  hashed_words: [7, buildHashedWords],
  one_hot: [4, buildOneHot],
  scale: [4, buildScale],
  standardise: [4, buildStandardise],
  vocabulary: [4, buildVocabulary],
};

// ---- Numbers ----

function buildScale([, , scaleField, offsetField]) {
  const scale = readInteger(scaleField, "scale", -VALUE_MAX, VALUE_MAX);
  const offset = readInteger(offsetField, "offset", -VALUE_MAX, VALUE_MAX);
  return {
    takes: "numbers",
    featureCount: null,
    encode: (given) => roundRows(readRows(given, null), (number) => number * scale + offset),
  };
}

function buildStandardise([, , meanFields, scaleFields]) {
  const means = readIntegers(meanFields, "means", -VALUE_MAX).map((mean) => mean / ONE);
  const scales = readIntegers(scaleFields, "scales", 0);
  if (means.length === 0 || means.length !== scales.length) {
    throw invalidEncoder("scales", "must be one for each of the means, at least one", scales.length, means.length);
  }
  return {
    takes: "rows",
    featureCount: means.length,
    encode: (given) =>
      roundRows(readRows(given, means.length), (number, column) => (number - means[column]) * scales[column]),
  };
}

function buildEmbedding([, , dimensionField, lowField, highField, scaleField]) {
  const dimension = readInteger(dimensionField, "dimension", 1, FEATURES_MAX);
  const normLow = readInteger(lowField, "norm_low", 0, VALUE_MAX);
  const low = normLow / ONE;
  const high = readInteger(highField, "norm_high", normLow, VALUE_MAX) / ONE;
  const scale = readInteger(scaleField, "scale", -VALUE_MAX, VALUE_MAX);
  return {
    takes: "rows",
    featureCount: dimension,
    encode: (given) => {
      const rows = readRows(given, dimension);
      rows.forEach((row, position) => checkNorm(row, position, low, high));
      return roundRows(rows, (number) => number * scale);
    },
  };
}

function checkNorm(row, position, low, high) {
  // From left to right, because the order of a sum decides its last bits; squares, because roots may differ in them.
  const square = row.reduce((sum, number) => sum + number * number, 0);
  if (square < low * low || square > high * high) {
    const norm = Math.sqrt(square);
    throw new EncoderError("norm_out_of_range", `vector ${position} has the norm ${norm}, which must lie in [${low}, ${high}]`, {
      field: `features[${position}]`,
      value: norm,
      limit: square < low * low ? low : high,
    });
  }
}

/** Return finite numbers as arrays; faults are looked for in the order form, width, finiteness, as in Python. */
function readRows(given, width) {
  if (!isList(given) || !Array.from(given).every((row) => isList(row))) {
    throw malformed("features", "must be rows of numbers");
  }
  const rows = Array.from(given, (row) => Array.from(row));
  if (!rows.every((row) => row.length === rows[0].length && row.every((number) => typeof number === "number"))) {
    throw malformed("features", "must be numbers, as many in each row");
  }
  if (width !== null && rows.length > 0 && rows[0].length !== width) {
    throw wrongFeatureCount("features", rows[0].length, width);
  }
  rows.forEach((row, position) => {
    const column = row.findIndex((number) => !Number.isFinite(number));
    if (column >= 0) {
      throw new EncoderError("feature_not_finite", `feature [${position}, ${column}] is ${row[column]}, features must be finite`, {
        field: `features[${position}, ${column}]`,
        value: String(row[column]),
      });
    }
  });
  return rows;
}

function roundRows(rows, scaled) {
  return rows.map((row) =>
    row.map((number, column) => {
      const rounded = Math.floor(scaled(number, column) + 0.5);
      if (Math.abs(rounded) > VALUE_MAX) {
        throw outOfRange("features", number);
      }
      return rounded;
    }),
  );
}

// ---- Texts ----

function buildHashedWords([, , powerField, minField, maxField, signedField, weightField]) {
  const featureCount = 2 ** readInteger(powerField, "log2_features", 8, 24);
  const wordsMin = readInteger(minField, "words_min", 1, WORDS_PER_TERM_MAX);
  const wordsMax = readInteger(maxField, "words_max", wordsMin, WORDS_PER_TERM_MAX);
  const isSigned = readInteger(signedField, "signed", 0, 1) === 1;
  const weight = readInteger(weightField, "weight", 1, VALUE_MAX);
  const countTerms = (text) => {
    const counts = new Map();
    const words = splitWords(text);
    for (let size = wordsMin; size <= wordsMax; size += 1) {
      for (let start = 0; start + size <= words.length; start += 1) {
        const hash = murmurHash3(UTF8.encode(words.slice(start, start + size).join(" ")));
        const index = hash % featureCount;
        counts.set(index, (counts.get(index) ?? 0) + (isSigned && hash >= 2 ** 31 ? -1 : 1));
      }
    }
    return counts;
  };
  return {
    takes: "texts",
    featureCount,
    encode: (given) => buildSamples(readTexts(given), countTerms, weight, featureCount),
  };
}

function buildVocabulary([, , words, weightField]) {
  if (!Array.isArray(words) || words.length === 0 || !words.every((word) => typeof word === "string")) {
    throw invalidEncoder("words", "must hold text alone, and at least one word");
  }
  const size = words.reduce((sum, word) => sum + countBytes(word), 0);
  if (size > DEFINITION_BYTES_MAX) {
    throw invalidEncoder("words", `have ${size} bytes, more than the limit of ${DEFINITION_BYTES_MAX}`, size, DEFINITION_BYTES_MAX);
  }
  const wrong = words.find((word) => splitWords(word).length !== 1 || splitWords(word)[0] !== word);
  if (wrong !== undefined) {
    throw invalidEncoder("words", "must be lower-case words", wrong.slice(0, SHOWN_CHARACTERS_MAX));
  }
  const places = new Map(words.map((word, place) => [word, place]));
  if (places.size !== words.length) {
    throw invalidEncoder("words", "must differ from each other", words.length);
  }
  const weight = readInteger(weightField, "weight", 1, VALUE_MAX);
  const countWords = (text) => {
    const counts = new Map();
    for (const word of splitWords(text)) {
      const place = places.get(word);
      if (place !== undefined) {
        counts.set(place, (counts.get(place) ?? 0) + 1);
      }
    }
    return counts;
  };
  return {
    takes: "texts",
    featureCount: words.length,
    encode: (given) => buildSamples(readTexts(given), countWords, weight, words.length),
  };
}

/**
 * Return the words of a text, lower-cased, in order: runs that begin with a letter or a number and go on with letters,
 * numbers and marks, by the tables below and not by those of the engine, whose version of Unicode may be any.
 * @param {string} text
 * @returns {string[]}
 */
export function splitWords(text) {
  const { upper, lower, word } = getTables();
  return text.replace(upper, (character) => lower.get(character)).match(word) ?? [];
}

/**
 * Return MurmurHash3, x86, 32 bit, of bytes.
 * @param {Uint8Array} data
 * @param {number} [seed]
 * @returns {number} in [0, 2^32)
 */
export function murmurHash3(data, seed = 0) {
  const whole = data.length & ~3;
  let state = seed | 0;
  for (let start = 0; start < whole; start += 4) {
    state ^= mix(data[start] | (data[start + 1] << 8) | (data[start + 2] << 16) | (data[start + 3] << 24));
    state = (Math.imul(rotate(state, 13), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let position = data.length - 1; position >= whole; position -= 1) {
    tail = (tail << 8) | data[position];
  }
  // A tail of zeros mixes to zero, and so does none.
  state ^= mix(tail) ^ data.length;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

function mix(block) {
  return Math.imul(rotate(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);
}

function rotate(value, bits) {
  return (value << bits) | (value >>> (32 - bits));
}

function readTexts(given) {
  if (!Array.isArray(given)) {
    throw malformed("rows", "must be a list of texts");
  }
  const texts = Array.from(given);
  texts.forEach((text, position) => checkText(text, `rows[${position}]`));
  return texts;
}

function checkText(text, field) {
  if (typeof text !== "string" || HALF_PAIR.test(text)) {
    throw malformed(field, "must be text");
  }
  const size = countBytes(text);
  if (size > TEXT_BYTES_MAX) {
    const message = `${field} has ${size} bytes, more than the limit of ${TEXT_BYTES_MAX}`;
    throw new EncoderError("too_large", message, { field, value: size, limit: TEXT_BYTES_MAX });
  }
}

// ---- Categories ----

function buildOneHot([, , columnFields, refusesField]) {
  if (!Array.isArray(columnFields) || columnFields.length > COLUMNS_MAX) {
    throw invalidEncoder("columns", `must be an array of at most ${COLUMNS_MAX}`);
  }
  const columns = columnFields.map(readColumn);
  checkDistinct(columns.map((column) => column.name));
  const texts = columns.flatMap(({ name, categories }) => [name, ...categories]);
  const size = texts.reduce((sum, text) => sum + countBytes(text), 0);
  if (size > DEFINITION_BYTES_MAX) {
    throw invalidEncoder("columns", `have ${size} bytes, more than the limit of ${DEFINITION_BYTES_MAX}`, size, DEFINITION_BYTES_MAX);
  }
  const refusesUnknown = readInteger(refusesField, "refuses_unknown", 0, 1) === 1;
  let featureCount = 0;
  for (const column of columns) {
    const start = featureCount;
    column.places = new Map(column.categories.map((category, place) => [category, start + place]));
    featureCount += column.categories.length;
  }
  const countRow = (row, position) => {
    const counts = new Map();
    readCategories(row, columns, `rows[${position}]`).forEach((category, number) => {
      const field = `rows[${position}][${number}]`;
      checkText(category, field);
      const { name, categories, places } = columns[number];
      if (places.has(category)) {
        counts.set(places.get(category), 1);
      } else if (refusesUnknown) {
        const shown = category.slice(0, SHOWN_CHARACTERS_MAX);
        const message = `${field} is "${shown}", which is none of the ${categories.length} categories of "${name}"`;
        throw new EncoderError("unknown_category", message, { field, value: shown, limit: categories.length });
      }
    });
    return counts;
  };
  return {
    takes: "categories",
    featureCount,
    encode: (given) => {
      if (!Array.isArray(given)) {
        throw malformed("rows", "must be a list of rows");
      }
      return buildSamples(Array.from(given), countRow, ONE, featureCount);
    },
  };
}

function readColumn(fields) {
  if (!Array.isArray(fields) || fields.length !== 2 || typeof fields[0] !== "string" || !Array.isArray(fields[1])) {
    throw invalidEncoder("columns", "must be a name and an array of categories each");
  }
  const [name, categories] = fields;
  if (categories.length > CATEGORIES_MAX || !categories.every((category) => typeof category === "string")) {
    throw invalidEncoder("columns", `must hold at most ${CATEGORIES_MAX} texts each`, name, CATEGORIES_MAX);
  }
  checkDistinct(categories);
  return { name, categories };
}

function checkDistinct(names) {
  if (names.length === 0 || new Set(names).size !== names.length) {
    throw invalidEncoder("columns", "must have at least one name and one category each, all different", names.length);
  }
}

/** Return the categories of a row in the order of the columns; a row is an array, or an object by their names. */
function readCategories(row, columns, field) {
  if (typeof row !== "object" || row === null) {
    throw malformed(field, "must be a row of categories");
  }
  if (!Array.isArray(row)) {
    const missing = columns.find(({ name }) => !Object.hasOwn(row, name));
    if (missing !== undefined) {
      throw malformed(field, `must have a column "${missing.name}"`);
    }
  }
  const given = Array.isArray(row) ? row.length : Object.keys(row).length;
  if (given !== columns.length) {
    throw wrongFeatureCount(field, given, columns.length);
  }
  return Array.isArray(row) ? Array.from(row) : columns.map(({ name }) => row[name]);
}

// ---- What all share ----

function buildSamples(rows, count, weight, featureCount) {
  const samples = { rowStarts: [0], indices: [], values: [], featureCount };
  rows.forEach((row, position) => {
    const entries = [...count(row, position)].sort(([left], [right]) => left - right);
    for (const [index, amount] of entries) {
      // Exact up to 2^53, and rounding cannot bring what is larger below the limit.
      const value = amount * weight;
      if (Math.abs(value) > VALUE_MAX) {
        throw outOfRange(`rows[${position}]`, value / ONE);
      }
      if (value !== 0) {
        samples.indices.push(index);
        samples.values.push(value);
      }
    }
    samples.rowStarts.push(samples.indices.length);
  });
  return samples;
}

function readIntegers(fields, name, low) {
  if (!Array.isArray(fields) || fields.length > STANDARDISED_FEATURES_MAX) {
    throw invalidEncoder(name, `must be an array of at most ${STANDARDISED_FEATURES_MAX} integers`);
  }
  return fields.map((field) => readInteger(field, name, low, VALUE_MAX));
}

function readInteger(field, name, low, high) {
  const value = typeof field === "bigint" ? Number(field) : field;
  if (!Number.isInteger(value) || value < low || value > high) {
    throw invalidEncoder(name, `must be an integer in [${low}, ${high}], found ${String(field)}`, field, value < low ? low : high);
  }
  return value;
}

function isList(value) {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

function countBytes(text) {
  return UTF8.encode(text).length;
}

function invalidEncoder(name, rule, value, limit) {
  const field = `encoder.${name}`;
  return new EncoderError("invalid_encoder", `${field} ${rule}`, { field, value, limit });
}

function malformed(field, rule) {
  return new EncoderError("malformed", `${field} ${rule}`, { field });
}

function wrongFeatureCount(field, value, limit) {
  return new EncoderError("wrong_feature_count", `${field} has ${value} features, the encoder takes ${limit}`, { field, value, limit });
}

function outOfRange(field, value) {
  const limit = VALUE_MAX / ONE;
  return new EncoderError("feature_out_of_range", `${field} holds ${value}, beyond the ${limit} that can be encoded`, { field, value, limit });
}

const UTF8 = new TextEncoder();
const HALF_PAIR = /\p{Surrogate}/u;

// ---- Which code points make words: Unicode 14.0 for good, the same text as in word_tables.py ----

let tables = null;

/** Return the tables, unpacked at the first use. */
function getTables() {
  if (tables === null) {
    const lower = unpackLowerCase(LOWER);
    const starts = unpackRanges(STARTS);
    tables = {
      lower,
      upper: new RegExp(`[${[...lower.keys()].join("")}]`, "gu"),
      word: new RegExp(`[${starts}][${starts}${unpackRanges(MARKS)}]*`, "gu"),
    };
  }
  return tables;
}

function unpackNumbers(packed) {
  return packed.trim().split(/\s+/).map((number) => parseInt(number, 36));
}

function unpackRanges(packed) {
  const numbers = unpackNumbers(packed);
  const ranges = [];
  let last = 0;
  for (let position = 0; position < numbers.length; position += 2) {
    const first = last + numbers[position];
    last = first + numbers[position + 1];
    ranges.push(`\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`);
  }
  return ranges.join("");
}

function unpackLowerCase(packed) {
  const numbers = unpackNumbers(packed);
  const lower = new Map();
  let first = 0;
  for (let position = 0; position < numbers.length; position += 4) {
    const [gap, count, step, distance] = numbers.slice(position, position + 4);
    first += gap;
    for (let number = 0; number < count; number += 1) {
      const point = first + number * step;
      lower.set(String.fromCodePoint(point), String.fromCodePoint(point + distance));
    }
  }
  return lower;
}

// Letters and numbers, general categories L and N: ranges as gap and length, in base 36.
const STARTS = `
  1c 9 8 p 7 p 1c 0 8 1 2 0 4 1 2 2 2 m 2 u 2 cp 5 b f 4 8 0 2 0 3m 4 2 1 3 3 2 0 7 0 2 2 2 0
  2 j 2 2a 2 3u 9 4l 2 11 3 0 7 14 20 q 5 3 1a 16 m 9 5 1 2 2q 2 0 g 1 8 e 3 0 h 0 2 t u 2g c
  0 f 16 a 1 5 0 6 l 5 0 a 0 4 0 o o 8 a 6 n 2 5 i 15 1n 1h 4 0 j 0 8 9 5 9 2 f 5 7 3 1 3 l 2
  6 2 0 4 3 4 0 h 0 e 1 2 2 5 b 3 5 3 0 9 5 5 1 3 l 2 6 2 1 2 1 2 1 w 3 2 0 8 9 3 2 h 8 2 2 2
  l 2 6 2 1 2 4 4 0 j 0 g 1 5 9 a 0 c 7 3 1 3 l 2 6 2 1 2 4 4 0 v 1 2 2 5 9 2 6 c 0 2 5 4 2 2
  3 4 1 2 0 2 1 4 1 4 2 4 b n 0 m c j 7 2 2 2 m 2 f 4 0 r 2 3 0 3 1 5 9 9 6 2 0 5 7 2 2 2 m 2
  9 2 4 4 0 w 1 2 1 5 9 2 1 i 8 2 2 2 14 3 0 h 0 6 2 2 9 5 i 2 5 6 h 4 n 2 8 2 0 3 6 w 9 i 1b
  2 1 d 6 a 9 14 1 2 0 2 4 2 n 2 0 2 9 2 1 a 0 3 4 2 0 a 9 3 3 x 0 w j d 7 2 z s 4 38 16 l a 7
  5 5 3 4 0 4 1 8 2 5 c d 0 2 9 7 11 2 0 6 0 3 16 2 98 2 3 3 6 2 0 2 3 3 14 2 3 3 w 2 3 3 6 2
  0 2 3 3 e 2 1k 2 3 3 1u f j 4 f h 2d 3 5 4 h7 3 g 2 p 6 22 4 a 8 h e i f h f c 2 2 g 1f 10 0
  5 0 4 9 7 9 n 9 7 2g 8 4 3 x 2 0 6 1x b u 14 13 3 4 c 17 5 p 7 a 12 m a 1g 18 9 7 9 e 0 2m
  1a i 7 4 9 16 t e 1j r z t 9 4 1c 3 8 8 16 3 2 16 3 2 5 2 1 4 0 6 5b 1t 7p 3 5 3 11 3 5 3 7
  2 0 2 0 2 0 2 u 3 1g 2 6 2 0 4 2 2 6 4 3 3 5 5 c 6 2 2 6 38 1 3 5 6 a 7 c 2u 0 5 0 3 9 2 0 4
  4 7 0 2 0 2 0 2 3 2 a 3 3 6 4 5 0 2 1l k7 1n 27 l hj t vh 6c 7 3 4 1 a 0 3 11 2 0 6 0 3 1j 8
  0 h m a 6 2 6 2 6 2 6 2 6 2 6 2 6 2 6 29 0 d2 2 q 8 8 4 3 4 5 2d 7 2 2 2h 2 3 6 16 2 2l 4 3
  b v 1d f x 9 v 7 2 e x 9 14 e 8x 533 1t h3g 1w 19 3 7g 4 r l 1a h u 3 27 14 8 3 2u 3 1r 6 1
  2 0 2 4 p f 2 2 2 3 2 m e 5 b 1f f 1d t 9 p 5 4 0 2 1 2 11 b m q s 8 1a t a 7 4 2 o 2 14 o 2
  2 7 5 9 7 m 4 0 4 1d 2 0 4 1 3 4 3 0 2 0 p 2 3 a 8 2 d 5 3 5 3 5 a 6 2 6 2 16 2 d 7 36 e 9 7
  8mb d m 5 1c 6it a5 3 2x 13 6 d 4 6 0 2 9 2 c 2 4 2 0 2 1 2 1 2 2z y a2 j 1r 3 1h 15 b 39 4
  2 3q k 9 8 p 7 p c 2g 4 5 3 5 3 5 3 2 10 b 2 p 2 i 2 1 2 e 3 d z 3e d 18 d 1k i 1 6t s 4 1c
  h q 5 z a t 6 11 b t 3 z 5 7 2 4 17 4d 3 9 7 z 5 z 5 13 9 1f d a 2 e 2 6 2 1 2 a 2 e 2 6 2 1
  1w 8m a l b 7 p 5 2 15 2 8 1y 5 3 0 2 17 2 1 4 0 3 m 3 u 3 11 9 8 1d i 2 1 6 w 5 p 1z 1j 5 j
  3 1a g 3 2 2 2 s b 8 o u 2 v x 7 2 r 7 4 h 1h b l 3 q 6 p o 6 29 20 1k 1e e 1e 8 15 d 9 87 u
  2 15 7 1 27 13 9 l c 3 s h 1b r l m d 1g r t 2 1 3 0 e 18 x o 8 9 a z g 9 5 0 3 0 9 y 4 0 d
  1b f 3 c a 2 0 5 j c h 2 o 2d 6 2 0 2 3 2 e 2 9 8 1a i 9 c 7 3 1 3 l 2 6 2 1 2 4 4 0 j 0 d 4
  4f 1g j 3 6 9 6 2 v 1b l 1 2 0 9 9 4n 1a 16 3 11 1b l 0 c 9 13 16 e 0 8 9 1j q m b 5 6 56 17
  39 2a d 7 3 0 3 7 2 1 2 n g 0 2 0 f 9 1z 7 3 12 h 0 2 0 t 0 b 13 8 0 m 0 c 19 k 0 j 20 7c 8
  2 10 i 0 g s 6 t 35 6 2 1 2 11 m 0 a 9 7 5 2 1 2 v f 0 8 9 8n i 5a 0 g k 18 pl 2v 32 i 5f
  219 2o g tq 34i g6 6nu fs 8 u 2 9 7 26 2 9 7 t j 1b h 3 d 9 2 6 2 k 6 i j5 2e 2y 22 6 0 1v c
  1t 1 2 0 t 4qf 9 yd 17 8 6w8 3 2 6 2 1 2 82 1a 2 i 3 9 az 1s5 2y 6 c 4 8 8 9 4ef j 31 o 3s
  2c 2 1y 2 1 3 0 3 1 3 3 2 b 2 0 2 6 2 1s 2 3 3 7 2 6 2 r 2 3 2 4 2 0 4 6 2 9f 3 o 2 o 2 u 2
  o 2 u 2 o 2 u 2 o 2 u 2 o 2 7 3 1d 1dt u de 18 b 6 3 9 5 0 8y t j 17 5 9 yv 6 2 3 2 1 2 e 2
  5g 3 8 1d 1v 8 0 5 9 m0 1m 2 2 2 3 25 18 2 e 5f 3 2 q 2 1 2 0 3 0 2 9 2 3 2 0 2 0 7 0 5 0 2
  0 2 0 2 2 2 1 2 0 3 0 2 0 2 0 2 0 2 0 2 1 2 0 3 3 2 6 2 3 2 3 2 0 2 9 2 g 6 2 2 4 2 g g5 c
  25g 9 sn wyn x 37c 8 65 3 4g1 f 5rk 2e8 f1 15v 3t6
`;

// Marks, general category M, in the same form.
const MARKS = `
  lc 33 7o 6 7c 18 2 0 2 1 2 1 2 0 21 a 1d k h 0 2u 6 3 5 3 1 2 3 10 0 v q 2k a 1n 8 a 0 p 3 2
  8 2 2 2 4 18 2 1p 7 17 n 2 w 1j 2 2 h 2 6 b 1 u 2 1l 0 2 6 3 1 3 2 a 0 b 1 r 0 3 2 1l 0 2 4
  5 1 3 2 4 0 v 1 4 0 c 2 1l 0 2 7 2 2 2 2 l 1 n 5 2 2 1l 0 2 6 3 1 3 2 8 2 b 1 v 0 1o 4 4 2 2
  3 a 0 15 4 1k 0 2 6 2 2 2 3 8 1 c 1 u 2 1l 0 2 6 2 2 2 3 8 1 c 1 t 3 1k 1 2 6 2 2 2 3 a 0 b
  1 u 2 1z 0 5 5 2 0 2 7 j 1 1q 0 3 6 d 7 2r 0 3 8 c 5 23 1 s 0 2 0 2 0 5 1 1e j 2 1 6 a 2 z a
  0 2t j o 3 5 2 2 2 3 6 4 3 e b 2 0 b 3 jk 2 qb 3 t 2 u 1 v 1 1t v a 0 1a 2 2 0 3a 1 z 0 3b b
  5 b 64 4 1m 9 2 s 3 0 1d u 1e 4 1c g 13 8 d 2 v c 1l d 1d j 49 2 2 k 5 0 7 0 3 2 5j 1r k1 w
  2db 2 3y 0 2p v ff 5 2y 1 n9x 3 2 9 x 1 29 1 7l 0 4 0 5 0 o 4 5 0 2c 1 1f h r h e 0 13 7 q c
  19 3 1c d 11 0 1w d d 0 9 1 1a 2 1f 0 2 2 3 1 6 1 2 0 16 4 6 1 6l 7 2 1 fn5 0 ki f h f r2 0
  6b 0 46 4 1af 2 2 1 6 3 15 2 5 0 4m 1 fy 3 as 1 4a a 1e 3 3f 2 1i e 16 0 3 1 b 3 1a a 8 0 1q
  2 11 d h 1 19 0 d 2 1d d 9 3 2 1 2l b 7 0 4h b m 3 1k 1 2 6 3 1 3 2 a 0 b 1 3 6 4 4 5d h o 0
  2a j 6k 6 3 8 s 1 2b g 2z c 2u e 75 e 6u 5 2 1 3 3 2 0 2 1 3y 6 3 6 4 0 t 9 15 6 2 3 9 0 a a
  1b f ba 7 2 7 2b l 2 d 3f 5 4 0 2 1 2 6 2 0 1v 4 2 1 2 4 9o 3 f0a 4 1o 6 t5 0 2 1i 8 3 2a 0
  c 1 f58 1 3mq 19 3 m f3 4 4 5 9 7 3 6 v 3 45 2 1j0 1i 5 1d 9 0 f 0 n 4 2 e 11t 6 2 g 3 6 2 1
  2 4 7a 6 ag 0 1q 3 15t 6 32 6 gzhy 6n
`;

// Simple lower-casing of letters and numbers: runs as gap, count, step and distance, in base 36.
const LOWER = `
  1t q 1 w 3j n 1 w o 7 1 w 14 o 2 1 1c 1 1 -5j 2 3 2 1 7 8 2 1 h n 2 1 1a 1 1 -3d 1 3 2 1 8 1
  1 5u 1 2 2 1 4 1 1 5q 1 1 1 1 2 2 1 5p 2 1 1 1 3 1 1 27 1 1 1 5m 1 1 1 5n 1 1 1 1 2 1 1 5p 1
  1 1 5r 2 1 1 5v 1 1 1 5t 1 1 1 1 4 1 1 5v 1 1 1 5x 2 1 1 5y 1 3 2 1 6 1 1 62 1 1 1 1 2 1 1
  62 3 1 1 1 2 1 1 62 1 1 1 1 2 2 1 61 2 2 2 1 4 1 1 63 1 1 1 1 4 1 1 1 8 1 1 2 1 1 1 1 2 1 1
  2 1 1 1 1 2 1 1 2 1 9 2 1 j 9 2 1 j 1 1 2 1 2 2 1 4 1 1 -2p 1 1 1 -1k 1 k 2 1 14 1 1 -3m 2 9
  2 1 o 1 1 8bv 1 1 1 1 2 1 1 -4j 1 1 1 8bs 3 1 1 1 2 1 1 -5f 1 1 1 1x 1 1 1 1z 1 5 2 1 8a 2 2
  1 6 1 1 1 9 1 1 38 7 1 1 12 2 3 1 11 4 1 1 1s 2 2 1 1r 3 h 1 w i 9 1 w 18 1 1 8 9 c 2 1 s 1
  1 -1o 3 1 1 1 2 1 1 -7 1 1 1 1 3 3 1 -3m 3 g 1 28 g w 1 w 28 h 2 1 16 r 2 1 1i 1 1 f 1 7 2 1
  f 1c 2 1 2p 12 1 1c 29b 12 1 5ls 13 1 1 5ls 6 1 1 5ls k3 28 1 tzk 28 6 1 8 1pc 17 1 -2bk 19
  3 1 -2bk 8z 23 2 1 4e 1 1 -5vj 2 1c 2 1 2w 8 1 -8 g 6 1 -8 g 8 1 -8 g 8 1 -8 g 6 1 -8 h 4 2
  -8 f 8 1 -8 w 8 1 -8 g 8 1 -8 g 8 1 -8 g 2 1 -8 2 2 1 -22 2 1 1 -9 c 4 1 -2e 4 1 1 -9 c 2 1
  -8 2 2 1 -2s e 2 1 -8 2 2 1 -34 2 1 1 -7 c 2 1 -3k 2 2 1 -3i 2 1 1 -9 8a 1 1 -5st 4 1 1 -6gv
  1 1 1 -6di 7 1 1 s 1a g 1 g z 1 1 1 22l 1c 1 1c 2o 1 1 1 2 1 1 -8af 1 1 1 -2xy 1 1 1 -89z 3
  3 2 1 6 1 1 -8bg 1 1 1 -8al 1 1 1 -8bj 1 1 1 -8bi 2 1 1 1 3 1 1 1 9 2 1 -8cf 2 1e 2 1 2z 2 2
  1 7 1 1 1 nym n 2 1 1s e 2 1 4i 7 2 1 g v 2 1 1z 2 2 1 4 1 1 -r9g 1 5 2 1 d 1 1 1 2 1 1 -wmg
  3 2 2 1 6 a 2 1 k 1 1 -wn8 1 1 1 -wnj 1 1 1 -wnf 1 1 1 -wn5 1 1 1 -wn8 2 1 1 -wlu 1 1 1 -wmi
  1 1 1 -wlx 1 1 1 ps 1 8 2 1 g 1 1 -1c 1 1 1 -wn7 1 1 1 -raw 1 2 2 1 9 1 1 1 6 2 2 1 v 1 1 1
  h7w q 1 w yn 14 1 14 4w 10 1 14 5c b 1 13 c f 1 13 g 7 1 13 8 2 1 13 1d8 1f 1 1s 2e8 w 1 w
  gww w 1 w o8w y 1 y
`;
