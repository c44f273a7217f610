// log-text.js — what an agent wrote, as nodes: colours read, other escapes gone, controls shown; and what JSON says of
// itself. It is only ever put in as text.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- Text of agents ----------------------------------------------------------------------------------------------

  // SGR · other CSI · OSC, DCS and the like with an end · other escapes · controls, C1, line and bidi marks
  const SPECIAL =
    /(?:\x1b\[|\x9b)([0-9;:]*)m|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-Z\\`-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

  /** A control character as something that can be seen. */
  function visible(char) {
    const code = char.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? '␡' : `⟦U+${code.toString(16).toUpperCase().padStart(4, '0')}⟧`;
  }

  const FLAGS = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse', 9: 'strike' };
  const OFF = { 22: ['bold', 'dim'], 23: ['italic'], 24: ['underline'], 27: ['inverse'], 29: ['strike'] };

  function palette(n) {
    if (n < 16) return n;
    if (n > 231) return `rgb(${Array(3).fill(8 + (n - 232) * 10)})`;
    const level = (step) => (step ? 55 + step * 40 : 0);
    const cube = n - 16;
    return `rgb(${[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level)})`;
  }

  /** The colour behind 38 or 48, and how many numbers it took. */
  function colour(codes, i) {
    if (codes[i + 1] === 5) return [palette(clamp(codes[i + 2] || 0, 0, 255)), 2];
    if (codes[i + 1] === 2) return [`rgb(${[2, 3, 4].map((k) => clamp(codes[i + k] || 0, 0, 255))})`, 4];
    return [undefined, 1];
  }

  function applySgr(pen, text) {
    // 38:2::r:g:b has a colour space that 38;2;r;g;b has not; 4:3 is a kind of underline.
    const plain = text.replace(/([345]8):2:[0-9]*:(\d+:\d+:\d+)/g, '$1:2:$2').replace(/\b4:\d/g, (mode) => (mode === '4:0' ? '24' : '4'));
    const codes = plain.split(/[;:]/).map(Number);
    for (let i = 0; i < codes.length; i += 1) {
      const code = codes[i];
      if (code === 0) pen = {};
      else if (FLAGS[code]) pen = { ...pen, [FLAGS[code]]: true };
      else if (OFF[code]) pen = { ...pen, ...Object.fromEntries(OFF[code].map((flag) => [flag, false])) };
      else if (code === 38 || code === 48 || code === 58) {
        const [value, used] = colour(codes, i);
        i += used;
        if (code !== 58) pen = { ...pen, [code === 38 ? 'fg' : 'bg']: value };
      } else if (code === 39) pen = { ...pen, fg: undefined };
      else if (code === 49) pen = { ...pen, bg: undefined };
      else if ((code >= 30 && code < 38) || (code >= 90 && code < 98)) pen = { ...pen, fg: code < 90 ? code - 30 : code - 82 };
      else if ((code >= 40 && code < 48) || (code >= 100 && code < 108)) pen = { ...pen, bg: code < 100 ? code - 40 : code - 92 };
    }
    return pen;
  }

  const HAS_ESCAPE = /[\x1b\x9b]/;
  const TORN = /(?:\x1b|(?:\x1b\[|\x9b)[0-?]{0,60}[ -/]{0,4})$/; // an escape that goes on in the next piece of its line

  /** A text and the beginning of an escape at its end. */
  function cutTorn(text) {
    const tail = TORN.exec(text)?.[0] ?? '';
    return [text.slice(0, text.length - tail.length), tail];
  }

  /** How text is written behind a text: `{pen, held}`, undefined for plain. `held` is an escape that is not whole yet. */
  function behind(text, before, isPartial) {
    let pen = before?.pen ?? {};
    let held = '';
    let raw = (before?.held ?? '') + text;
    if (!HAS_ESCAPE.test(raw)) return Object.keys(pen).length ? { pen, held } : undefined;
    if (isPartial) [raw, held] = cutTorn(raw);
    for (const match of raw.matchAll(SPECIAL)) if (match[1] !== undefined) pen = applySgr(pen, match[1]);
    pen = Object.fromEntries(Object.entries(pen).filter(([, value]) => value !== false && value !== undefined));
    return held || Object.keys(pen).length ? { pen, held } : undefined;
  }

  /** Text as pieces `{text, pen}`, written on from `pen`; what is not text is gone or made visible. */
  function pieces(raw, pen = {}) {
    const found = [];
    let from = 0;
    const put = (text) => text && found.push({ text, pen });
    const text = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    for (const match of text.matchAll(SPECIAL)) {
      put(text.slice(from, match.index));
      from = match.index + match[0].length;
      if (match[1] !== undefined) pen = applySgr(pen, match[1]);
      else if (match[0].length === 1) put(visible(match[0]));
    }
    put(text.slice(from));
    return found;
  }

  const plain = (raw) => pieces(raw).map(({ text }) => text).join('');

  function dressed(text, pen) {
    const flags = Object.values(FLAGS).filter((flag) => pen[flag]).map((flag) => `ansi-${flag}`);
    const classes = ['fg', 'bg'].filter((key) => typeof pen[key] === 'number').map((key) => `ansi-${key}-${pen[key]}`);
    const isPlain = !flags.length && pen.fg === undefined && pen.bg === undefined;
    if (isPlain) return document.createTextNode(text);
    const span = wakeful.make('span', { textContent: text });
    if (flags.length + classes.length) span.className = [...flags, ...classes].join(' ');
    if (typeof pen.fg === 'string') span.style.color = pen.fg;
    if (typeof pen.bg === 'string') span.style.backgroundColor = pen.bg;
    return span;
  }

  /** The nodes of a text, with what `find` matches marked. */
  function nodesOf(raw, find, isNow, pen) {
    const all = pieces(raw, pen);
    const hits = find ? [...all.map(({ text }) => text).join('').matchAll(find)].map(({ index, 0: hit }) => [index, index + hit.length]) : [];
    const nodes = [];
    let at = 0;
    for (const { text, pen } of all) {
      const end = at + text.length;
      let from = at;
      for (const [start, stop] of hits) {
        if (stop <= from || start >= end || start === stop) continue;
        if (start > from) nodes.push(dressed(text.slice(from - at, start - at), pen));
        const [a, b] = [Math.max(start, from), Math.min(stop, end)];
        nodes.push(wakeful.make('mark', { className: isNow ? 'now' : '' }, dressed(text.slice(a - at, b - at), pen)));
        from = b;
      }
      if (from < end) nodes.push(dressed(text.slice(from - at), pen));
      at = end;
    }
    return nodes;
  }

  function textOf(record) {
    if (record.text !== undefined) return record.text;
    const bytes = Uint8Array.from(atob(record.base64 ?? ''), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  }

  // ---- Lines of JSON that agents write about themselves ------------------------------------------------------------

  function jsonOf(record) {
    if (record.json !== undefined) return record.json;
    record.json = null;
    if (record.stream !== 'wakeful' && !record.partial) record.json = parsed(record.text ?? '');
    return record.json;
  }

  function parsed(text) {
    if (text[0] !== '{' || !text.trimEnd().endsWith('}')) return null;
    try {
      return JSON.parse(text);
    } catch {
      return null; // Then it is text like any other.
    }
  }

  const partsOf = (json) => (Array.isArray(json.message?.content) ? json.message.content : [json.item ?? json]);
  const isText = (value) => typeof value === 'string' && value !== '';
  const short = (value) => (isText(value) ? value : (JSON.stringify(value) ?? '')).slice(0, 300).replace(/\s+/g, ' ');

  function toolOf(json) {
    if (isText(json.parent_tool_use_id)) return json.parent_tool_use_id;
    const [part] = partsOf(json);
    const id = part?.tool_use_id ?? (part?.type === 'tool_use' ? part.id : (part?.tool_call_id ?? part?.call_id));
    return isText(id) ? id : null;
  }

  /** `[label, text]` in one line, or null when the JSON says nothing of itself. */
  function summary(json) {
    const label = [json.type, json.event, json.kind, json.level].find(isText);
    if (!label) return null;
    const said = partsOf(json).map((part) => {
      if (isText(part.name)) return `${part.name} ${short(part.input ?? part.arguments ?? part.args ?? '')}`;
      return short([part.text, part.thinking, part.command, part.result, part.content, part.msg, part.message, part.error, part.status, part.subtype].find((value) => isText(value) || Array.isArray(value)) ?? '');
    });
    const inner = partsOf(json).map((part) => part.type).filter((type) => isText(type) && type !== label && type !== 'text');
    return [[label, ...inner].join(' · '), said.filter((text) => text && text !== '""').join(' · ')];
  }

  wakeful.logText = { behind, cutTorn, plain, nodesOf, textOf, jsonOf, parsed, toolOf, summary };
})();
